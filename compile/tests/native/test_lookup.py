"""The lookup inside libedge.so gives the same results as the runtime's."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.lookup import Lookup


@pytest.mark.parametrize("bits", [64, 128, 192, 256])
def test_the_library_finds_what_the_runtime_finds(small_bundle: Path, bits: int) -> None:
    library = ctypes.CDLL(str(small_bundle / "libedge.so"))
    generator = np.random.default_rng(bits)
    codes = generator.integers(0, 2**64, (1500, bits // 64), dtype=np.uint64)
    codes[500:1000] = codes[:500]  # ties
    lookup = Lookup(codes, bits)
    for k in (0, 1, 10, 2000):
        rows, distances = np.zeros(2000, np.uint32), np.zeros(2000, np.uint32)
        found = library.edge_nearest(
            *(_pointer(codes), 1500, bits // 64, _pointer(codes[7])),
            *(k, _pointer(rows), _pointer(distances)),
        )
        expected = lookup.nearest(codes[7], k)
        assert found == min(k, 1500)
        assert rows[:found].tolist() == expected[0].tolist()
        assert distances[:found].tolist() == expected[1].tolist()


def test_too_wide_codes_are_rejected(small_bundle: Path) -> None:
    library = ctypes.CDLL(str(small_bundle / "libedge.so"))
    codes = np.zeros((3, 5), np.uint64)
    rows = np.zeros(3, np.uint32)
    answer = library.edge_nearest(
        _pointer(codes), 3, 5, _pointer(codes), 1, _pointer(rows), _pointer(rows)
    )
    assert answer == -1


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)
