"""Imports are untrusted: one line says what is wrong, and the memory is bounded."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.errors import EdgeRuntimeError, InputError
from edge_runtime.gallery import Gallery, LabelData, LabeledCode
from edge_runtime.gallery.content import Content
from edge_runtime.gallery.exchange import reading
from edge_runtime.gallery.exchange.export import export_codes
from edge_runtime.gallery.exchange.lines import MOST_LINE_BYTES
from edge_runtime.gallery.exchange.reading import import_codes, import_into
from edge_runtime.gallery.maintenance import verify
from edge_runtime.gallery.records import MAX_PAYLOAD_BYTES, EnrollCounts
from tests.gallery.outside.importing import GOOD, HEAD, META, MODEL, MOST_MB, SUFFIXES, import_file


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
        import_file(file, content)
    count, bad = import_file(file, content, skip_bad=True)
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
        import_file(tmp_path / "a.jsonl", head + GOOD)


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


def _faiss(count: int, size: int = 8, *, rows: int = 3, kind: bytes = b"IBxF") -> bytes:
    head = kind + (8 * size).to_bytes(4, "little") + size.to_bytes(4, "little")
    head += count.to_bytes(8, "little", signed=True) + b"\1" + (1).to_bytes(4, "little")
    return head + (rows * size).to_bytes(8, "little") + bytes(rows * size)


@pytest.mark.parametrize("count", [-1, 0, 2, 4, 10**12, 2**62, 2**63 - 1])
def test_a_faiss_file_with_a_wrong_count_is_one_line(tmp_path: Path, count: int) -> None:
    (tmp_path / "a.faiss.labels").write_bytes(b"x\n" * 3)
    with pytest.raises(InputError, match=r"not an exported gallery|labels for"):
        import_file(tmp_path / "a.faiss", _faiss(count))
    assert import_file(tmp_path / "a.faiss", _faiss(3))[0] == 3


@pytest.mark.parametrize(
    "labels", [b"x\n\xff\nx\n", b"x\n" + b"y" * 10**6 + b"\nx\n", b"x\n\x1b\nx"]
)
def test_bad_labels_of_a_faiss_file_are_one_line(tmp_path: Path, labels: bytes) -> None:
    (tmp_path / "a.faiss.labels").write_bytes(labels)
    with pytest.raises(InputError, match=r"a\.faiss"):
        import_file(tmp_path / "a.faiss", _faiss(3))


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
        import_file(tmp_path / "a.jsonl", HEAD + GOOD * 8 + b"nonsense\n")


def test_an_export_of_the_largest_label_data_can_be_imported(tmp_path: Path) -> None:
    payload = json.dumps('"' * ((MAX_PAYLOAD_BYTES - 2) // 2))
    data = {"x": LabelData(payload, b"\xff\xd8\xff" + bytes(65_533))}
    content = Content([(1, LabeledCode("x", np.array([1], np.uint64)))], data)
    for suffix in (".jsonl", ".npz"):
        export_codes(tmp_path / f"a{suffix}", META, content)
        assert import_codes(tmp_path / f"a{suffix}", META)[1] == data


def test_only_the_first_thousand_bad_lines_are_listed(tmp_path: Path) -> None:
    count, bad = import_file(tmp_path / "a.jsonl", HEAD + b"x\n" * 5000 + GOOD, skip_bad=True)
    assert count == 1
    assert len(bad) == 1001
    assert bad[-1].endswith("4000 more bad lines")
