"""Galleries as files that other programs read: JSON lines, numpy's npz, faiss's binary index.

JSON lines: first an object that says whose codes they are, then one a label that has a note, then
one a picture:

    {"edge_runtime_gallery": 2, "model_id": "...", "bits": 64}
    {"note": "kitchen", "payload": "{\\"floor\\": 3}", "thumbnail": "...base64..."}
    {"label": "kitchen", "code": "91d5...", "source": "a.jpg", "digest": null,
     "position": [52.01, 4.36, null]}

`code` is the packed code's bytes in hexadecimal (bit i is bit i % 8 of byte i // 8), as
`np.packbits(bits, bitorder="little")` and faiss have them; a position is latitude, longitude and
heading in degrees. The npz holds the arrays codes (uint64 [n, W]), ids, labels, sources, digests
(hexadecimal, or empty), positions (float64 [n, 3], NaN: not known), noted, payloads, thumbnails
(base64), model_id and bits. A faiss file knows neither labels nor notes: labels stand beside it in
NAME.labels, a line each, and whose codes they are is on trust.
"""

from __future__ import annotations

import base64
import json
import math
import os
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
    discard,
    storage_error,
)
from edge_runtime.gallery.content import Content
from edge_runtime.gallery.faiss_file import FaissCodes, read_faiss, write_faiss
from edge_runtime.gallery.labels import check_label
from edge_runtime.gallery.records import Item, Note
from edge_runtime.gallery.rows import Meta
from edge_runtime.position import Position, position_from_row

FORMAT = 2
"""Format 1 had no notes and no positions; it is still read."""
_BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, NotImplementedError, TypeError)
"""What reading a damaged npz raises: of its directory, of its bytes, of a method that it does not
name any more, and of a single array in its place."""
SUFFIXES = (".jsonl", ".npz", ".faiss")

Entry = Item | tuple[str, Note] | str
"""What a line holds: a picture, a label's note, or what is wrong with it."""


def export_items(path: Path, meta: Meta, content: Content) -> int:
    """Write `content` to `path`, whole or not at all; gives how many items. The suffix names the
    format.

    Raises `InputError` for another suffix, `StorageError`.
    """
    write = {".jsonl": _write_lines, ".npz": _write_arrays, ".faiss": _write_index}[_suffix(path)]
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file, meta, content)
            file.flush()
            os.fsync(file.fileno())
        if path.suffix == ".faiss":
            labels_path(path).write_text(
                "".join(f"{item.label}\n" for _, item in content.items), encoding="utf-8"
            )
        temporary.replace(path)
    except OSError as error:
        discard(temporary)
        raise storage_error(error, path) or error from error
    return len(content.items)


def labels_path(path: Path) -> Path:
    """Where the labels of the faiss file `path` stand."""
    return path.with_name(path.name + ".labels")


def import_items(
    path: Path, meta: Meta, bad: list[str] | None = None
) -> tuple[list[Item], dict[str, Note]]:
    """The items and notes in `path`, for a gallery that is `meta`.

    The first bad line raises `InputError` with its number, or, if `bad` is a list, is named in it
    and left out. Raises `GalleryModelMismatchError` for codes of another model.
    """
    read = {".jsonl": _read_lines, ".npz": _read_arrays, ".faiss": _read_index}[_suffix(path)]
    items: list[Item] = []
    notes: dict[str, Note] = {}
    try:
        for number, entry in read(path, meta):
            if isinstance(entry, Item):
                items.append(entry)
            elif isinstance(entry, tuple):
                notes[entry[0]] = entry[1]
            elif bad is None:
                raise InputError(
                    f"line {number}: {entry}", where=path, remedy="mend it, or use --skip-bad"
                )
            else:
                bad.append(f"{path}: line {number}: {entry}")
    except OSError as error:
        raise storage_error(error, path) or error from error
    return items, notes


def _suffix(path: Path) -> str:
    if path.suffix not in SUFFIXES:
        raise InputError(
            f'"{path.suffix}" is no format for galleries',
            where=path,
            remedy=f"name a file that ends in {' or '.join(SUFFIXES)}",
        )
    return path.suffix


def _check_owner(path: Path, found: Meta, meta: Meta) -> None:
    if found != meta:
        raise GalleryModelMismatchError(
            f"its codes ({found.bits} bits) were made by model {found.model_id[:12]}, "
            f"the gallery's ({meta.bits} bits) by {meta.model_id[:12]}",
            where=path,
            remedy="enrol the photos again with the model that you use now",
        )


def _not_a_gallery(path: Path, what: object) -> InputError:
    return InputError(f"not an exported gallery: {what}", where=path, remedy="export it again")


def _write_lines(file: IO[bytes], meta: Meta, content: Content) -> None:
    def line(data: dict[str, Any]) -> None:
        file.write(json.dumps(data, ensure_ascii=False).encode() + b"\n")

    line({"edge_runtime_gallery": FORMAT, **meta._asdict()})
    for label, note in content.notes.items():
        line({"note": label, "payload": note.payload, "thumbnail": _text(note.thumbnail)})
    octets = (meta.bits + 7) // 8
    for item_id, item in content.items:
        at = item.position
        line(
            {
                "id": item_id,
                "label": item.label,
                "code": item.code.astype("<u8").tobytes()[:octets].hex(),
                "source": item.source,
                "digest": item.digest.hex() if item.digest is not None else None,
                "position": [at.latitude, at.longitude, at.heading] if at is not None else None,
            }
        )


def _read_lines(path: Path, meta: Meta) -> Iterator[tuple[int, Entry]]:
    with path.open("rb") as file:
        try:
            head = json.loads(next(file, b""))
            version, found = head["edge_runtime_gallery"], Meta(head["model_id"], head["bits"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise _not_a_gallery(
                path, "its first line does not say whose codes it holds"
            ) from error
        if version not in range(1, FORMAT + 1):
            raise _not_a_gallery(path, f"format {version}, this version knows {FORMAT}")
        _check_owner(path, found, meta)
        for number, text in enumerate(file, 2):
            if text.strip():
                yield number, _parse_line(text, meta.bits)


def _parse_line(text: bytes, bits: int) -> Entry:
    octets = (bits + 7) // 8
    try:
        data = json.loads(text)
        if "note" in data:
            note = Note(str(data.get("payload", "")), _bytes(data.get("thumbnail", "")))
            return check_label(str(data["note"])), note.checked(str(data["note"]))
        code = bytes.fromhex(data["code"])
        if len(code) != octets:
            return f"a code of {len(code)} bytes, expected {octets}"
        digest, position = data.get("digest"), data.get("position")
        words = np.frombuffer(code.ljust(8 * words_of(bits), b"\0"), "<u8").astype(np.uint64)
        return Item(
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


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _write_arrays(file: IO[bytes], meta: Meta, content: Content) -> None:
    items = [item for _, item in content.items]
    unknown = (math.nan, math.nan, math.nan)
    notes = content.notes.values()
    np.savez_compressed(
        file,
        format=FORMAT,
        model_id=meta.model_id,
        bits=meta.bits,
        ids=np.array([item_id for item_id, _ in content.items], np.int64),
        labels=np.array([item.label for item in items], np.str_),
        sources=np.array([item.source for item in items], np.str_),
        digests=np.array([(item.digest or b"").hex() for item in items], np.str_),
        codes=np.array([item.code for item in items], np.uint64).reshape(
            len(items), words_of(meta.bits)
        ),
        positions=np.array(
            [unknown if item.position is None else item.position.to_row() for item in items]
        ).reshape(len(items), 3),
        noted=np.array(list(content.notes), np.str_),
        payloads=np.array([note.payload for note in notes], np.str_),
        thumbnails=np.array([_text(note.thumbnail) for note in notes], np.str_),
    )


def _read_arrays(path: Path, meta: Meta) -> Iterator[tuple[int, Entry]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = Meta(str(arrays["model_id"]), int(arrays["bits"]))
            names = ["labels", "codes", "sources", "digests"]
            newer = ["positions", "noted", "payloads", "thumbnails"]
            columns = {name: arrays[name] for name in names}
            columns |= {name: arrays[name] for name in newer if name in arrays}
    except (ValueError, KeyError, EOFError, *_BROKEN_ZIP) as error:
        raise _not_a_gallery(path, error) from error
    _check_owner(path, found, meta)
    codes = columns["codes"]
    count = len(columns["labels"])
    if codes.dtype != np.uint64 or codes.shape != (count, words_of(meta.bits)):
        raise _not_a_gallery(path, f"its codes are {codes.dtype} {list(codes.shape)}")
    places = columns.get("positions", np.full((count, 3), np.nan))
    try:
        for label, payload, jpeg in zip(
            *(columns.get(name, ()) for name in ("noted", "payloads", "thumbnails")), strict=True
        ):
            yield 0, (str(label), Note(str(payload), _bytes(str(jpeg))))
        for number, (label, code, source, digest, place) in enumerate(
            zip(*(columns[name] for name in names), places.tolist(), strict=True), 1
        ):
            octets = bytes.fromhex(str(digest)) if digest else None
            yield number, Item(str(label), code, str(source), octets, position_from_row(place))
    except (ValueError, TypeError) as error:
        raise _not_a_gallery(path, error) from error


def _write_index(file: IO[bytes], meta: Meta, content: Content) -> None:
    if meta.bits % 8:
        raise InputError(f"faiss cannot hold codes of {meta.bits} bits", remedy="export .jsonl")
    words = np.array([item.code for _, item in content.items], "<u8").reshape(
        -1, words_of(meta.bits)
    )
    octets = np.ascontiguousarray(words.view(np.uint8)[:, : meta.bits // 8])
    ids = np.array([item_id for item_id, _ in content.items], np.int64)
    write_faiss(file, FaissCodes(meta.bits, octets, ids))


def _read_index(path: Path, meta: Meta) -> Iterator[tuple[int, Entry]]:
    try:
        found = read_faiss(path.read_bytes())
    except ValueError as error:
        raise _not_a_gallery(path, error) from error
    if found.bits != meta.bits:
        raise InputError(
            f"its codes have {found.bits} bits, the gallery's have {meta.bits}", where=path
        )
    beside = labels_path(path)
    if not beside.is_file():
        raise InputError("no labels beside it", where=path, remedy=f"write {beside}, a line each")
    labels = beside.read_text(encoding="utf-8").splitlines()
    if len(labels) != len(found.octets):
        raise InputError(f"{len(labels)} labels for {len(found.octets)} codes", where=beside)
    for number, (label, octets) in enumerate(zip(labels, found.octets, strict=True), 1):
        try:
            checked = check_label(label)
        except InputError as error:
            yield number, str(error)
            continue
        padded = octets.tobytes().ljust(8 * words_of(meta.bits), b"\0")
        yield number, Item(checked, np.frombuffer(padded, "<u8").astype(np.uint64), path.name)
