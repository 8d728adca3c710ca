"""Imports are untrusted: one line says what is wrong, and the memory is bounded."""

from __future__ import annotations

import io
import json
import os
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime.engine.fake import FakeEngine
from edge_runtime.errors import EdgeRuntimeError, InputError
from edge_runtime.gallery import Gallery, LabelData, LabeledCode
from edge_runtime.gallery.content import Content
from edge_runtime.gallery.exchange import reading
from edge_runtime.gallery.exchange.export import export_codes
from edge_runtime.gallery.exchange.lines import MOST_LINE_BYTES
from edge_runtime.gallery.exchange.reading import import_codes, import_into
from edge_runtime.gallery.maintenance import verify
from edge_runtime.gallery.records import MAX_PAYLOAD_BYTES, EnrollCounts
from edge_runtime.gallery.rows import Meta

MODEL = FakeEngine().model
META = Meta(MODEL.id, MODEL.bits)
HEAD = json.dumps({"edge_runtime_gallery": 2, **META._asdict()}).encode() + b"\n"
GOOD = b'{"label": "x", "code": "0000000000000000"}\n'
MOST_MB = 40
SUFFIXES = (".jsonl", ".npz", ".faiss")


def _import(path: Path, content: bytes, *, skip_bad: bool = False) -> tuple[int, list[str]]:
    """Import `content` into a new gallery; return the number of codes and the bad lines."""
    path.write_bytes(content)
    bad: list[str] = []
    gallery_path = path.with_name("imported.sqlite")
    gallery_path.unlink(missing_ok=True)
    with Gallery(gallery_path, MODEL, create=True) as gallery:
        try:
            counts = import_into(gallery, path, bad if skip_bad else None)
        except EdgeRuntimeError as error:
            assert "\n" not in str(error)
            assert str(error).isprintable()
            assert len(str(error)) < 500 + 3 * len(str(path))
            assert gallery.labels() == {}
            raise
    for line in bad:
        assert line.isprintable()
    return counts.codes_added, bad


def _line(**changes: object) -> bytes:
    return json.dumps({"label": "x", "code": "00" * 8, **changes}).encode() + b"\n"


BAD_LINES = {
    "deep lists": b"[" * 500_000 + b"\n",
    "deep objects": b'{"a":' * 100_000 + b"\n",
    "1e400": b'{"label": "x", "code": "0000000000000000", "position": [1e400, 0, 0]}\n',
    "-1e400": b'{"label": "x", "code": "0000000000000000", "position": [0, -1e400, 0]}\n',
    "1e400 elsewhere": b'{"label": "x", "code": "0000000000000000", "id": 1e400}\n',
    "NaN": b'{"label": "x", "code": "0000000000000000", "position": [NaN, 0, 0]}\n',
    "Infinity": b'{"label": "x", "code": "0000000000000000", "position": [0, 0, Infinity]}\n',
    "5,000 digits": b'{"label": "x", "code": "0000000000000000", "id": ' + b"9" * 5000 + b"}\n",
    "10^400": b'{"label": "x", "code": "0000000000000000", "position": [1' + b"0" * 400 + b",0]}\n",
    "a position of texts": _line(position=["a", "b"]),
    "a position of one": _line(position=[1]),
    "a position of a thousand": _line(position=[1] * 1000),
    "a label that is not UTF-8": b'{"label": "\xff\xfe", "code": "0000000000000000"}\n',
    "a label in UTF-16": '{"label": "x", "code": "0000000000000000"}'.encode("utf-16"),
    "half a pair": b'{"label": "\\ud800", "code": "0000000000000000"}\n',
    "a terminal escape": b'{"label": "\\u001b[31m", "code": "0000000000000000"}\n',
    "a label that is a number": _line(label=5),
    "a label that is a list": _line(label=["x"]),
    "a code that is a number": _line(code=5),
    "a code with blanks": _line(code="00 " * 8 + "0"),
    "a source that is an object": _line(source={}),
    "a digest that is a number": _line(digest=5),
    "a digest of a megabyte": _line(digest="00" * 400_000),
    "a long line": _line(source="x" * MOST_LINE_BYTES),
    "a longer line": _line(source="x" * 5 * MOST_LINE_BYTES),
    "a note that is a number": b'{"note": 5}\n',
    "a thumbnail that is not base64": b'{"note": "x", "thumbnail": "?"}\n',
    "a thumbnail in another format": b'{"note": "x", "thumbnail": "AAAA"}\n',
    "a thumbnail of 600 kB": b'{"note": "x", "thumbnail": "' + b"/9j/" * 200_000 + b'"}\n',
    "a payload of plain text": b'{"note": "x", "payload": "{"}\n',
    "a long payload": json.dumps({"note": "x", "payload": f'"{"x" * MAX_PAYLOAD_BYTES}"'}).encode()
    + b"\n",
    "a payload of deep lists": json.dumps({"note": "x", "payload": "[" * 200_000}).encode() + b"\n",
    "a zero byte": b"\0\n",
    "a list": b"[]\n",
    "null": b"null\n",
    "a number": b"1\n",
}


@pytest.mark.parametrize("kind", BAD_LINES)
def test_a_bad_line_is_one_line_or_skipped(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "a.jsonl"
    content = HEAD + GOOD + BAD_LINES[kind].rstrip(b"\n") + b"\n" + GOOD
    with pytest.raises(InputError, match=r"line 3: "):
        _import(file, content)
    count, bad = _import(file, content, skip_bad=True)
    assert count == 2 or kind == "a label in UTF-16"  # which contains a line end
    assert bad[0].startswith(f"{file}: line 3: ")


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\n",
        b"{}",
        b"[]",
        b"[" * 10**6,
        b"\xff\xfe",
        HEAD.replace(b"64", b"1e400"),
        HEAD.replace(b"64", b"NaN"),
        HEAD.replace(b'"bits": 64', b'"bits": ' + b"9" * 4000),
        HEAD.replace(b'"bits": 64', b'"bits": "64"'),
        HEAD.replace(b": 2", b": 3"),
        HEAD.replace(b": 2", b": " + b"9" * 4000),
        HEAD.replace(b": 2", b': "2"'),
        HEAD.replace(MODEL.id.encode(), b"\\u001b[2J"),
        HEAD.replace(f'"{MODEL.id}"'.encode(), b"5"),
        HEAD.replace(f'"{MODEL.id}"'.encode(), b'["a"]'),
        b'{"a": "' + b"x" * 3 * MOST_LINE_BYTES,
    ],
)
def test_a_bad_first_line_is_one_line(tmp_path: Path, head: bytes) -> None:
    with pytest.raises(EdgeRuntimeError, match=r"not an exported gallery|made by model"):
        _import(tmp_path / "a.jsonl", head + GOOD)


@pytest.mark.parametrize("skip_bad", [False, True])
def test_an_endless_line_takes_no_memory(tmp_path: Path, skip_bad: bool) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(HEAD + GOOD)
    os.truncate(file, 100 << 20)
    bad: list[str] = []
    tracemalloc.start()
    try:
        if skip_bad:
            assert len(import_codes(file, META, bad)[0]) == 1
            assert len(bad) == 1
        else:
            with pytest.raises(InputError, match="line 3: malformed: longer than"):
                import_codes(file, META)
        assert tracemalloc.get_traced_memory()[1] < MOST_MB << 20
    finally:
        tracemalloc.stop()


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
            _import(tmp_path / "a.npz", content)
        assert tracemalloc.get_traced_memory()[1] < MOST_MB << 20
    finally:
        tracemalloc.stop()


def test_the_arrays_of_the_tests_above_are_good_without_the_changes(tmp_path: Path) -> None:
    assert _import(tmp_path / "a.npz", _arrays()) == (3, [])
    assert _import(
        tmp_path / "a.npz", _declared("labels", "<U1", "(3,)", "xyz".encode("utf-32-le"))
    )
    assert _import(tmp_path / "a.npz", _arrays(0, noted=None)) == (0, [])


def _faiss(count: int, size: int = 8, *, rows: int = 3, kind: bytes = b"IBxF") -> bytes:
    head = kind + (8 * size).to_bytes(4, "little") + size.to_bytes(4, "little")
    head += count.to_bytes(8, "little", signed=True) + b"\1" + (1).to_bytes(4, "little")
    return head + (rows * size).to_bytes(8, "little") + bytes(rows * size)


@pytest.mark.parametrize("count", [-1, 0, 2, 4, 10**12, 2**62, 2**63 - 1])
def test_a_faiss_file_with_a_wrong_count_is_one_line(tmp_path: Path, count: int) -> None:
    (tmp_path / "a.faiss.labels").write_bytes(b"x\n" * 3)
    with pytest.raises(InputError, match=r"not an exported gallery|labels for"):
        _import(tmp_path / "a.faiss", _faiss(count))
    assert _import(tmp_path / "a.faiss", _faiss(3))[0] == 3


@pytest.mark.parametrize(
    "labels", [b"x\n\xff\nx\n", b"x\n" + b"y" * 10**6 + b"\nx\n", b"x\n\x1b\nx"]
)
def test_bad_labels_of_a_faiss_file_are_one_line(tmp_path: Path, labels: bytes) -> None:
    (tmp_path / "a.faiss.labels").write_bytes(labels)
    with pytest.raises(InputError, match=r"a\.faiss"):
        _import(tmp_path / "a.faiss", _faiss(3))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_fifo_or_a_folder_is_refused_at_once(tmp_path: Path, suffix: str) -> None:
    os.mkfifo(tmp_path / f"fifo{suffix}")
    (tmp_path / f"folder{suffix}").mkdir()
    for name in ("fifo", "folder"):
        with pytest.raises(EdgeRuntimeError, match=r"FIFO|folder"):
            import_codes(tmp_path / f"{name}{suffix}", META)


def _content(count: int) -> Content:
    codes = np.random.default_rng(2).integers(0, 2**64, (count, 1), np.uint64)
    return Content(
        [
            (n + 1, LabeledCode(f"label {n // 6 % 7}", code, f"{n // 6}.jpg", bytes([n // 6]) * 32))
            for n, code in enumerate(codes)
        ],
        {
            f"label {n}": LabelData(f'{{"floor": {n}}}', b"\xff\xd8\xff" + bytes(n))
            for n in range(7)
        },
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("part", [1, 4, 6, 10_000])
def test_parts_equal_an_import_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, part: int
) -> None:
    monkeypatch.setattr(reading, "PART", part)
    file = tmp_path / f"a{suffix}"
    content = _content(60)
    seen = set()
    for index, (n, item) in enumerate(content.codes):  # each digest once, as an export has them
        digest = (index // 6).to_bytes(32, "big") + (bytes([index % 6]) if index % 6 else b"")
        content.codes[index] = (
            n,
            LabeledCode(item.label, item.code, item.source, digest),
        )
        seen.add((item.label, digest))
    assert len(seen) == 60
    export_codes(file, META, content)
    paths = tmp_path / "parts.sqlite", tmp_path / "whole.sqlite"
    for path in paths:
        with Gallery(path, MODEL, create=True) as gallery:
            gallery.enroll([content.codes[7][1]])
            counts = (
                import_into(gallery, file)
                if path == paths[0]
                else gallery.enroll_counted(*import_codes(file, META))
            )
            assert counts.codes_added == (59 if suffix != ".faiss" else 60)
            if suffix != ".faiss":
                assert counts == EnrollCounts(10, 59, 0) or part < 6
                assert import_into(gallery, file).codes_added == 0
            if suffix != ".faiss":
                assert gallery.label_data("label 3") == content.label_data["label 3"]
        assert verify(path) == []
    with Gallery(paths[0], MODEL) as left, Gallery(paths[1], MODEL) as right:
        assert [each for _, each in left.labels().items()] == [*right.labels().values()]


def test_a_bad_line_in_a_late_part_imports_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PART", 2)
    with pytest.raises(InputError, match="line 10: "):
        _import(tmp_path / "a.jsonl", HEAD + GOOD * 8 + b"nonsense\n")


def test_an_export_of_the_largest_label_data_can_be_imported(tmp_path: Path) -> None:
    payload = json.dumps('"' * ((MAX_PAYLOAD_BYTES - 2) // 2))
    data = {"x": LabelData(payload, b"\xff\xd8\xff" + bytes(65_533))}
    content = Content([(1, LabeledCode("x", np.array([1], np.uint64)))], data)
    for suffix in (".jsonl", ".npz"):
        export_codes(tmp_path / f"a{suffix}", META, content)
        assert import_codes(tmp_path / f"a{suffix}", META)[1] == data


def test_only_the_first_thousand_bad_lines_are_listed(tmp_path: Path) -> None:
    count, bad = _import(tmp_path / "a.jsonl", HEAD + b"x\n" * 5000 + GOOD, skip_bad=True)
    assert count == 1
    assert len(bad) == 1001
    assert bad[-1].endswith("4000 more bad lines")
