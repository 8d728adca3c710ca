"""Imports of numpy's npz are untrusted: their arrays are checked before they are read."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime.errors import InputError
from tests.gallery.outside.importing import MODEL, MOST_MB, import_file


def _arrays(count: int = 3, **changes: Any) -> bytes:
    arrays: dict[str, Any] = {
        "format": 2,
        "model_id": MODEL.id,
        "bits": MODEL.bits,
        "labels": np.array(["x"] * count, np.str_),
        "sources": np.array([f"{n}.jpg" for n in range(count)], np.str_),
        "digests": np.array([""] * count, np.str_),
        "codes": np.arange(count, dtype=np.uint64)[:, np.newaxis],
        "positions": np.full((count, 3), np.nan),
        "noted": np.array(["x"], np.str_),
        "payloads": np.array(["{}"], np.str_),
        "thumbnails": np.array([""], np.str_),
    }
    arrays |= changes
    file = io.BytesIO()
    np.savez_compressed(file, **{key: value for key, value in arrays.items() if value is not None})
    return file.getvalue()


def _declared(name: str, descr: str, shape: str, data: bytes = b"", count: int = 0) -> bytes:
    """Return an npz whose array `name` declares this type and shape, and has `count` zeros."""
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    member = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data
    before = zipfile.ZipFile(io.BytesIO(_arrays()))
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w", zipfile.ZIP_DEFLATED) as archive:
        for info in before.infolist():
            if info.filename != f"{name}.npy":
                archive.writestr(info.filename, before.read(info.filename))
        with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
            file.write(member)
            for _ in range(count >> 20):
                file.write(bytes(1 << 20))
    return result.getvalue()


def _headed(name: str, header: bytes) -> bytes:
    """Return an npz whose array `name` has this header."""
    member = b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header + b"\n"
    return _repacked(zipfile.ZIP_DEFLATED, {f"{name}.npy": member})


def _packed(method: int) -> bytes:
    """Return an npz whose arrays are compressed by `method` of zipfile; LZMA asks for 4 GiB."""
    data = bytearray(_repacked(method, {}))
    at = -1
    while method == zipfile.ZIP_LZMA and (at := data.find(b"\x05\0\x5d", at + 1)) >= 0:
        data[at + 3 : at + 7] = b"\xff\xff\xff\xff"
    return bytes(data)


def _repacked(method: int, changed: dict[str, bytes]) -> bytes:
    before = zipfile.ZipFile(io.BytesIO(_arrays()))
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w", method) as archive:
        for name in before.namelist():
            archive.writestr(name, changed.get(name) or before.read(name))
    return result.getvalue()


ARRAYS: dict[str, Callable[[], bytes]] = {
    "10^12 labels": lambda: _declared("labels", "<U4", "(1000000000000,)"),
    "10^12 codes": lambda: _declared("codes", "<u8", "(1000000000000, 1)"),
    "10^12 words": lambda: _declared("codes", "<u8", "(3, 1000000000000)"),
    "10^30 labels": lambda: _declared("labels", "<U4", f"({10**30},)"),
    "-1 labels": lambda: _declared("labels", "<U4", "(-1,)"),
    "a billion dimensions": lambda: _declared("labels", "<U4", "(" + "1," * 5000 + ")"),
    "long labels": lambda: _declared("labels", "<U100000000", "(3,)"),
    "long sources": lambda: _declared("sources", "<U100000000", "(3,)"),
    "labels that expand": lambda: _declared("labels", "<U256", "(65536,)", count=64 << 20),
    "sources that expand": lambda: _declared("sources", "<U65536", "(3,)", count=80 << 20),
    "a model that expands": lambda: _declared("model_id", "<U50000000", "()", count=80 << 20),
    "objects": lambda: _declared("labels", "|O", "(3,)", b"\x80\x04."),
    "records": lambda: _declared("labels", "V8", "(3,)", bytes(24)),
    "a header of code": lambda: _declared("labels", "<U4", "__import__('os').abort()"),
    "a header of brackets": lambda: _declared("labels", "<U4", "((((((((((", b"("),
    "a header that does not end": lambda: _headed("labels", b"{" * 9000),
    "a header of half a text": lambda: _headed("codes", b"{'descr': 'u8"),
    "an array that LZMA packed": lambda: _packed(zipfile.ZIP_LZMA),
    "an array that bzip2 packed": lambda: _packed(zipfile.ZIP_BZIP2),
    "labels of bytes": lambda: _arrays(labels=np.array([b"x"] * 3)),
    "labels of numbers": lambda: _arrays(labels=np.arange(3)),
    "a label of another type": lambda: _arrays(
        labels=np.full(3, 0x7FFFFFFF, np.uint32).view("<U1").reshape(3)
    ),
    "half pairs": lambda: _arrays(labels=np.array(["\ud800"] * 3)),
    "a label with an escape": lambda: _arrays(labels=np.array(["\x1b[31m"] * 3)),
    "codes of another type": lambda: _arrays(codes=np.zeros((3, 1), np.float64)),
    "codes of another width": lambda: _arrays(codes=np.zeros((3, 2), np.uint64)),
    "fewer codes": lambda: _arrays(codes=np.zeros((2, 1), np.uint64)),
    "infinite positions": lambda: _arrays(positions=np.full((3, 3), np.inf)),
    "positions of 10^300": lambda: _arrays(positions=np.full((3, 3), 1e300)),
    "two columns of positions": lambda: _arrays(positions=np.zeros((3, 2))),
    "digests that are not hexadecimal": lambda: _arrays(digests=np.array(["zz"] * 3)),
    "long digests": lambda: _arrays(digests=np.array(["00" * 500] * 3)),
    "more payloads": lambda: _arrays(payloads=np.array(["{}", "{}"])),
    "a payload of plain text": lambda: _arrays(payloads=np.array(["{"])),
    "a thumbnail in another format": lambda: _arrays(thumbnails=np.array(["AAAA"])),
    "bits of NaN": lambda: _arrays(bits=np.nan),
    "a thousand models": lambda: _arrays(model_id=np.array([MODEL.id] * 1000)),
    "no labels": lambda: _arrays(labels=None),
    "nothing": lambda: b"",
    "an empty archive": lambda: b"PK\x05\x06" + bytes(18),
    "a huge directory": lambda: b"PK\x05\x06" + bytes(8) + b"\xff\xff\xff\x7f" + bytes(6),
    "a large archive": lambda: b"PK\x06\x07" + bytes(16) + b"PK\x05\x06" + bytes(18),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_a_hostile_npz_is_one_line_and_takes_no_memory(tmp_path: Path, kind: str) -> None:
    content = ARRAYS[kind]()
    assert len(content) < 1 << 20
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"not an exported gallery|line 1: "):
            import_file(tmp_path / "a.npz", content)
        assert tracemalloc.get_traced_memory()[1] < MOST_MB << 20
    finally:
        tracemalloc.stop()


def test_the_arrays_of_the_tests_above_are_good_without_the_changes(tmp_path: Path) -> None:
    assert import_file(tmp_path / "a.npz", _arrays()) == (3, [])
    assert import_file(
        tmp_path / "a.npz", _declared("labels", "<U1", "(3,)", "xyz".encode("utf-32-le"))
    )
    assert import_file(tmp_path / "a.npz", _arrays(0, noted=None)) == (0, [])
