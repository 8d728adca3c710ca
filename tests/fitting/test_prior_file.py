"""A file that claims to be the feature prior of a model is refused in one line, within memory."""

from __future__ import annotations

import io
import os
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime.errors import ModelInvalidError
from edge_runtime.fitting.prior import read_prior

FEATURES = 8


def _arrays(**changes: Any) -> bytes:
    arrays: dict[str, Any] = {
        "within": np.ones(FEATURES * (FEATURES + 1) // 2, np.float16),
        "within_scale": np.float32(1),
        "background": np.ones((20, FEATURES), np.int8),
        "background_scale": np.ones(20, np.float32),
    }
    arrays |= changes
    file = io.BytesIO()
    np.savez_compressed(file, **{key: value for key, value in arrays.items() if value is not None})
    return file.getvalue()


def _expanding(shape: str, megabytes: int) -> bytes:
    """Return a prior whose background declares this shape and expands to this size."""
    header = f"{{'descr': '|i1', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    result = io.BytesIO(_arrays(background=None))
    with (
        zipfile.ZipFile(result, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open("background.npy", "w", force_zip64=True) as file,
    ):
        file.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
        for _ in range(megabytes):
            file.write(bytes(1 << 20))
    return result.getvalue()


def _encrypted() -> bytes:
    data = bytearray(_arrays())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


BAD: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "a page of the web": lambda: b"<!doctype html><title>404</title>",
    "a truncated file": lambda: _arrays()[:-30],
    "a damaged array": lambda: _arrays().replace(b"\x00\x00", b"\xff\xff"),
    "an encrypted file": _encrypted,
    "10^12 photos": lambda: _expanding(f"({10**12}, {FEATURES})", 1),
    "photos that expand": lambda: _expanding(f"({(200 << 20) // FEATURES}, {FEATURES})", 200),
    "a header of brackets": lambda: _expanding("((((", 0),
    "objects": lambda: _arrays(within=np.array([{}] * 36)),
    "texts": lambda: _arrays(within_scale=np.array("x")),
    "another number of features": lambda: _arrays(within=np.ones(3, np.float16)),
    "another number of photos": lambda: _arrays(background_scale=np.ones(3, np.float32)),
    "an infinite scale": lambda: _arrays(within_scale=np.float32(np.inf)),
    "a scale of NaN": lambda: _arrays(within_scale=np.float32(np.nan)),
    "no background": lambda: _arrays(background=None),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_prior_that_cannot_be_used_is_one_line(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "model.prior.npz"
    path.write_bytes(BAD[kind]())
    tracemalloc.start()
    try:
        with pytest.raises(ModelInvalidError) as caught:
            read_prior(path, FEATURES)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)


def test_a_fifo_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.prior.npz")
    with pytest.raises(ModelInvalidError, match="a FIFO"):
        read_prior(tmp_path / "model.prior.npz", FEATURES)


def test_the_prior_of_these_tests_is_good_without_the_changes(tmp_path: Path) -> None:
    path = tmp_path / "model.prior.npz"
    path.write_bytes(_arrays())
    assert np.isfinite(read_prior(path, FEATURES).within).all()
