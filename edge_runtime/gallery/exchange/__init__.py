"""Export and import a gallery as JSON lines, as numpy's npz, or as a binary index of faiss.

JSON lines: the first line names the model, then one line per label that has a payload or a
thumbnail, then one line per code (a picture has one code per view):

    {"edge_runtime_gallery": 2, "model_id": "...", "bits": 64}
    {"note": "kitchen", "payload": "{\\"floor\\": 3}", "thumbnail": "...base64..."}
    {"label": "kitchen", "code": "91d5...", "source": "a.jpg", "digest": null,
     "position": [52.01, 4.36, null]}

`code` is the packed code's bytes in hexadecimal (bit i is bit i % 8 of byte i // 8), the same order
as in `np.packbits(bits, bitorder="little")` and in faiss. A position is latitude, longitude and
heading in degrees. The npz holds the arrays codes (uint64 [n, W]), ids, labels, sources, digests
(hexadecimal, or empty), positions (float64 [n, 3], NaN where unknown), noted, payloads, thumbnails
(base64), model_id and bits. A faiss file has neither labels nor label data nor the model: the
labels are in NAME.labels, one line per code, and the model cannot be checked.
"""

from __future__ import annotations

import base64
import json
import math
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from edge_runtime.code import check_codes, words_of
from edge_runtime.errors import (
    GalleryModelMismatchError,
    InputError,
    storage_error,
)
from edge_runtime.gallery.content import Content
from edge_runtime.gallery.exchange.faiss_file import FaissCodes, read_faiss, write_faiss
from edge_runtime.gallery.records import LabelData, LabeledCode, check_label
from edge_runtime.gallery.rows import Meta
from edge_runtime.position import Position, position_from_row
from edge_runtime.system.durable import replacing, write_file

FORMAT = 2
"""Format 1 has neither label data nor positions. It can still be read."""
_BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, NotImplementedError, TypeError)
"""What reading a corrupt npz raises: for its directory, for its bytes, for an unknown compression
method, and for a file that is a single array."""
SUFFIXES = (".jsonl", ".npz", ".faiss")

Entry = LabeledCode | tuple[str, LabelData] | str
"""The content of a line: a code, the data of a label, or an error message."""


def export_codes(path: Path, meta: Meta, content: Content) -> int:
    """Write `content` to `path` atomically and durably; return the number of codes.

    The suffix of `path` selects the format. Raises `InputError` for an unknown suffix, and
    `StorageError`.
    """
    write = {".jsonl": _write_lines, ".npz": _write_arrays, ".faiss": _write_index}[_suffix(path)]
    try:
        with replacing(path) as temporary:
            with temporary.open("wb") as file:
                write(file, meta, content)
            if path.suffix == ".faiss":
                labels = "".join(f"{item.label}\n" for _, item in content.codes)
                write_file(labels_path(path), labels.encode())
    except OSError as error:
        raise storage_error(error, path) or error from error
    return len(content.codes)


def labels_path(path: Path) -> Path:
    """Return the path of the labels of the faiss file `path`."""
    return path.with_name(path.name + ".labels")


def import_codes(
    path: Path, meta: Meta, bad: list[str] | None = None
) -> tuple[list[LabeledCode], dict[str, LabelData]]:
    """Return the codes and the label data in `path`, for a gallery of the model `meta`.

    A bad line raises `InputError` with its number. If `bad` is a list, bad lines are skipped and
    their errors appended to it. Raises `GalleryModelMismatchError` for codes of another model.
    """
    read = {".jsonl": _read_lines, ".npz": _read_arrays, ".faiss": _read_index}[_suffix(path)]
    codes: list[LabeledCode] = []
    label_data: dict[str, LabelData] = {}
    try:
        for number, entry in read(path, meta):
            if isinstance(entry, LabeledCode):
                codes.append(entry)
            elif isinstance(entry, tuple):
                label_data[entry[0]] = entry[1]
            elif bad is None:
                raise InputError(
                    f"line {number}: {entry}", where=path, remedy="correct it, or use --skip-bad"
                )
            else:
                bad.append(f"{path}: line {number}: {entry}")
    except OSError as error:
        raise storage_error(error, path) or error from error
    return codes, label_data


def _suffix(path: Path) -> str:
    if path.suffix not in SUFFIXES:
        raise InputError(
            f"unknown format '{path.suffix}'",
            where=path,
            remedy=f"choose a name that ends in {' or '.join(SUFFIXES)}",
        )
    return path.suffix


def _check_model(path: Path, exported: Meta, meta: Meta) -> None:
    if exported != meta:
        raise GalleryModelMismatchError(
            f"its codes ({exported.bits} bits) were made by model {exported.model_id[:12]}, "
            f"those of the gallery ({meta.bits} bits) by {meta.model_id[:12]}",
            where=path,
            remedy="enroll the photos again with the model that you use now",
        )


def _not_a_gallery(path: Path, what: object) -> InputError:
    return InputError(f"not an exported gallery: {what}", where=path, remedy="export it again")


def _write_lines(file: IO[bytes], meta: Meta, content: Content) -> None:
    def line(data: dict[str, Any]) -> None:
        file.write(json.dumps(data, ensure_ascii=False).encode() + b"\n")

    line({"edge_runtime_gallery": FORMAT, **meta._asdict()})
    for label, data in content.label_data.items():
        line({"note": label, "payload": data.payload, "thumbnail": _text(data.thumbnail)})
    octets = (meta.bits + 7) // 8
    for code_id, item in content.codes:
        line(
            {
                "id": code_id,
                "label": item.label,
                "code": item.code.astype("<u8").tobytes()[:octets].hex(),
                "source": item.source,
                "digest": item.digest.hex() if item.digest is not None else None,
                "position": _degrees(item.position),
            }
        )


def _read_lines(path: Path, meta: Meta) -> Iterator[tuple[int, Entry]]:
    with path.open("rb") as file:
        try:
            head = json.loads(next(file, b""))
            version, exported = head["edge_runtime_gallery"], Meta(head["model_id"], head["bits"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise _not_a_gallery(path, "the first line does not name the model") from error
        if version not in range(1, FORMAT + 1):
            raise _not_a_gallery(
                path, f"format {version} is not supported (this version reads 1 to {FORMAT})"
            )
        _check_model(path, exported, meta)
        for number, text in enumerate(file, 2):
            if text.strip():
                yield number, _parse_line(text, meta.bits)


def _parse_line(text: bytes, bits: int) -> Entry:
    octets = (bits + 7) // 8
    try:
        data = json.loads(text)
        if "note" in data:
            label_data = LabelData(str(data.get("payload", "")), _bytes(data.get("thumbnail", "")))
            return check_label(str(data["note"])), label_data.checked(str(data["note"]))
        code = bytes.fromhex(data["code"])
        if len(code) != octets:
            return f"expected a code of {octets} bytes, got {len(code)}"
        digest, position = data.get("digest"), data.get("position")
        words = np.frombuffer(code.ljust(8 * words_of(bits), b"\0"), "<u8").astype(np.uint64)
        return LabeledCode(
            check_label(str(data["label"])),
            check_codes(words, bits)[0],
            str(data.get("source", "")),
            bytes.fromhex(digest) if digest is not None else None,
            Position(*position) if position is not None else None,
        )
    except KeyError as error:
        return f"{error} is missing"
    except InputError as error:
        return str(error)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        return f"malformed: {error}"


def _degrees(position: Position | None) -> list[float | None] | None:
    if position is None:
        return None
    return [position.latitude, position.longitude, position.heading]


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _write_arrays(file: IO[bytes], meta: Meta, content: Content) -> None:
    codes = [code for _, code in content.codes]
    unknown = (math.nan, math.nan, math.nan)
    label_data = content.label_data.values()
    np.savez_compressed(
        file,
        format=FORMAT,
        model_id=meta.model_id,
        bits=meta.bits,
        ids=np.array([code_id for code_id, _ in content.codes], np.int64),
        labels=np.array([code.label for code in codes], np.str_),
        sources=np.array([code.source for code in codes], np.str_),
        digests=np.array([(code.digest or b"").hex() for code in codes], np.str_),
        codes=np.array([code.code for code in codes], np.uint64).reshape(
            len(codes), words_of(meta.bits)
        ),
        positions=np.array(
            [unknown if code.position is None else code.position.to_row() for code in codes]
        ).reshape(len(codes), 3),
        noted=np.array(list(content.label_data), np.str_),
        payloads=np.array([data.payload for data in label_data], np.str_),
        thumbnails=np.array([_text(data.thumbnail) for data in label_data], np.str_),
    )


def _read_arrays(path: Path, meta: Meta) -> Iterator[tuple[int, Entry]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            exported = Meta(str(arrays["model_id"]), int(arrays["bits"]))
            names = ["labels", "codes", "sources", "digests"]
            newer = ["positions", "noted", "payloads", "thumbnails"]
            columns = {name: arrays[name] for name in names}
            columns |= {name: arrays[name] for name in newer if name in arrays}
    except (ValueError, KeyError, EOFError, *_BROKEN_ZIP) as error:
        raise _not_a_gallery(path, error) from error
    _check_model(path, exported, meta)
    codes = columns["codes"]
    count = len(columns["labels"])
    if codes.dtype != np.uint64 or codes.shape != (count, words_of(meta.bits)):
        raise _not_a_gallery(path, f"its array of codes is {codes.dtype} {list(codes.shape)}")
    positions = columns.get("positions", np.full((count, 3), np.nan))
    try:
        for label, payload, jpeg in zip(
            *(columns.get(name, ()) for name in ("noted", "payloads", "thumbnails")), strict=True
        ):
            yield 0, (str(label), LabelData(str(payload), _bytes(str(jpeg))))
        for number, (label, code, source, digest, position) in enumerate(
            zip(*(columns[name] for name in names), positions.tolist(), strict=True), 1
        ):
            octets = bytes.fromhex(str(digest)) if digest else None
            yield (
                number,
                LabeledCode(str(label), code, str(source), octets, position_from_row(position)),
            )
    except (ValueError, TypeError) as error:
        raise _not_a_gallery(path, error) from error


def _write_index(file: IO[bytes], meta: Meta, content: Content) -> None:
    if meta.bits % 8:
        raise InputError(f"faiss cannot store codes of {meta.bits} bits", remedy="export to .jsonl")
    words = np.array([code.code for _, code in content.codes], "<u8").reshape(
        -1, words_of(meta.bits)
    )
    octets = np.ascontiguousarray(words.view(np.uint8)[:, : meta.bits // 8])
    ids = np.array([code_id for code_id, _ in content.codes], np.int64)
    write_faiss(file, FaissCodes(meta.bits, octets, ids))


def _read_index(path: Path, meta: Meta) -> Iterator[tuple[int, Entry]]:
    try:
        index = read_faiss(path.read_bytes())
    except ValueError as error:
        raise _not_a_gallery(path, error) from error
    if index.bits != meta.bits:
        raise InputError(
            f"its codes have {index.bits} bits, those of the gallery have {meta.bits}", where=path
        )
    file = labels_path(path)
    if not file.is_file():
        raise InputError(
            "the file of labels is missing", where=path, remedy=f"write {file}, one line per code"
        )
    labels = file.read_text(encoding="utf-8").splitlines()
    if len(labels) != len(index.octets):
        raise InputError(f"{len(labels)} labels for {len(index.octets)} codes", where=file)
    for number, (label, octets) in enumerate(zip(labels, index.octets, strict=True), 1):
        try:
            checked = check_label(label)
        except InputError as error:
            yield number, str(error)
            continue
        padded = octets.tobytes().ljust(8 * words_of(meta.bits), b"\0")
        code = np.frombuffer(padded, "<u8").astype(np.uint64)
        # The source is unique since the file does not tell which codes belong to one picture.
        yield number, LabeledCode(checked, code, f"{path.name}#{number}")
