"""Codes: bits, words and distances agree with numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.code import binarize, check_codes, hamming, pack, unpack, words_of
from edge_runtime.errors import CodeError

WIDTHS = (1, 16, 32, 48, 63, 64, 65, 128, 256)


def test_a_bit_is_one_strictly_above_the_threshold() -> None:
    """Qi et al. 2017, equation 4."""
    assert binarize([0.0, 0.5, np.nextafter(0.5, 1), 1.0]).tolist() == [False, False, True, True]


@pytest.mark.parametrize("bits", WIDTHS)
def test_packing_is_numpys_little_bit_order(bits: int) -> None:
    rows = np.random.default_rng(bits).integers(0, 2, (20, bits)).astype(bool)
    packed = pack(rows)
    packed_bytes = np.packbits(rows, axis=1, bitorder="little")
    assert packed.dtype == np.uint64
    assert packed.shape == (20, words_of(bits))
    as_bytes = packed.astype("<u8").view(np.uint8)
    assert (as_bytes[:, : packed_bytes.shape[1]] == packed_bytes).all()
    assert not as_bytes[:, packed_bytes.shape[1] :].any()
    assert (unpack(packed, bits) == rows).all()


def test_the_bit_order() -> None:
    bits = np.zeros(128, dtype=bool)
    bits[[0, 9, 64]] = True
    assert pack(bits).tolist() == [1 + (1 << 9), 1]


def test_hamming_without_bitwise_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """numpy 1 has no `bitwise_count`."""
    codes = np.random.default_rng(1).integers(0, 2**64, (50, 3), dtype=np.uint64)
    expected = [hamming(codes, codes[7]), hamming(codes[0], codes[1]), hamming(codes, codes[::-1])]
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    found = [hamming(codes, codes[7]), hamming(codes[0], codes[1]), hamming(codes, codes[::-1])]
    assert [one.tolist() for one in found] == [one.tolist() for one in expected]


@given(st.data())
def test_hamming_counts_differing_bits(data: st.DataObject) -> None:
    bits = data.draw(st.sampled_from(WIDTHS))
    pair = data.draw(st.lists(st.booleans(), min_size=2 * bits, max_size=2 * bits))
    a, b = np.array(pair).reshape(2, bits)
    assert hamming(pack(a), pack(b)) == (a != b).sum()


@pytest.mark.parametrize(
    ("codes", "what"),
    [
        (np.zeros((2, 2), np.uint64), r"must be uint64 \[n, 1\]"),
        (np.zeros((2, 1), np.int64), "int64"),
        (np.full((1, 1), 2**40, np.uint64), "beyond bit 32"),
    ],
)
def test_codes_of_a_wrong_width_or_type_are_rejected(codes: np.ndarray, what: str) -> None:
    with pytest.raises(CodeError, match=what):
        check_codes(codes, 32)
