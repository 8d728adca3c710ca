"""Galleries as files that other programs read: JSON lines, numpy's npz, faiss's binary index.

JSON lines: first an object that says whose codes they are, then one object a picture:

    {"edge_runtime_gallery": 1, "model_id": "...", "bits": 64}
    {"label": "kitchen", "code": "91d5...", "source": "a.jpg", "digest": null}

`code` is the packed code's bytes in hexadecimal (bit i is bit i % 8 of byte i // 8), as
`np.packbits(bits, bitorder="little")` and faiss have them. The npz holds the arrays codes (uint64
[n, W]), ids, labels, sources, digests (hexadecimal, or empty), model_id and bits. A faiss file
knows no labels: they stand beside it in NAME.labels, a line each, and whose codes they are is on
trust.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from edge_runtime.code import check_codes, words_of
from edge_runtime.errors import (
    GalleryModelMismatchError,
    InputError,
    storage_error,
)
from edge_runtime.gallery.faiss_file import FaissCodes, read_faiss, write_faiss
from edge_runtime.gallery.labels import check_label
from edge_runtime.gallery.records import Item
from edge_runtime.gallery.rows import Meta

FORMAT = 1
SUFFIXES = (".jsonl", ".npz", ".faiss")

Exported = tuple[int, Item]
"""An item with its id."""


def export_items(path: Path, meta: Meta, items: Iterable[Exported]) -> int:
    """Write `items` to `path`, whole or not at all; gives how many. The suffix names the format.

    Raises `InputError` for another suffix, `StorageError`.
    """
    write = {".jsonl": _write_lines, ".npz": _write_arrays, ".faiss": _write_index}[_suffix(path)]
    listed = list(items)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file, meta, listed)
            file.flush()
            os.fsync(file.fileno())
        if path.suffix == ".faiss":
            labels_path(path).write_text(
                "".join(f"{item.label}\n" for _, item in listed), encoding="utf-8"
            )
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise storage_error(error, path) or error from error
    return len(listed)


def labels_path(path: Path) -> Path:
    """Where the labels of the faiss file `path` stand."""
    return path.with_name(path.name + ".labels")


def import_items(path: Path, meta: Meta, bad: list[str] | None = None) -> list[Item]:
    """The items in `path`, for a gallery that is `meta`.

    The first bad line raises `InputError` with its number, or, if `bad` is a list, is named in it
    and left out. Raises `GalleryModelMismatchError` for codes of another model.
    """
    try:
        read = {".jsonl": _read_lines, ".npz": _read_arrays, ".faiss": _read_index}[_suffix(path)]
        items = []
        for number, item in read(path, meta):
            if isinstance(item, Item):
                items.append(item)
            elif bad is None:
                raise InputError(
                    f"line {number}: {item}", where=path, remedy="mend it, or use --skip-bad"
                )
            else:
                bad.append(f"{path}: line {number}: {item}")
    except OSError as error:
        raise storage_error(error, path) or error from error
    return items


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


def _write_lines(file: IO[bytes], meta: Meta, items: list[Exported]) -> None:
    def line(data: dict[str, Any]) -> None:
        file.write(json.dumps(data, ensure_ascii=False).encode() + b"\n")

    line({"edge_runtime_gallery": FORMAT, **meta._asdict()})
    octets = (meta.bits + 7) // 8
    for item_id, item in items:
        line(
            {
                "id": item_id,
                "label": item.label,
                "code": item.code.astype("<u8").tobytes()[:octets].hex(),
                "source": item.source,
                "digest": item.digest.hex() if item.digest is not None else None,
            }
        )


def _read_lines(path: Path, meta: Meta) -> Iterator[tuple[int, Item | str]]:
    with path.open("rb") as file:
        try:
            head = json.loads(next(file, b""))
            version, found = head["edge_runtime_gallery"], Meta(head["model_id"], head["bits"])
        except (ValueError, KeyError, TypeError) as error:
            raise _not_a_gallery(
                path, "its first line does not say whose codes it holds"
            ) from error
        if version != FORMAT:
            raise _not_a_gallery(path, f"format {version}, this version knows {FORMAT}")
        _check_owner(path, found, meta)
        for number, text in enumerate(file, 2):
            if text.strip():
                yield number, _parse_line(text, meta.bits)


def _parse_line(text: bytes, bits: int) -> Item | str:
    octets = (bits + 7) // 8
    try:
        data = json.loads(text)
        code = bytes.fromhex(data["code"])
        if len(code) != octets:
            return f"a code of {len(code)} bytes, expected {octets}"
        digest = data.get("digest")
        words = np.frombuffer(code.ljust(8 * words_of(bits), b"\0"), "<u8").astype(np.uint64)
        return Item(
            check_label(str(data["label"])),
            check_codes(words, bits)[0],
            str(data.get("source", "")),
            bytes.fromhex(digest) if digest is not None else None,
        )
    except KeyError as error:
        return f"{error} is missing"
    except InputError as error:
        return str(error)
    except (ValueError, TypeError, AttributeError) as error:
        return f"malformed: {error}"


def _write_arrays(file: IO[bytes], meta: Meta, items: list[Exported]) -> None:
    np.savez_compressed(
        file,
        format=FORMAT,
        model_id=meta.model_id,
        bits=meta.bits,
        ids=np.array([item_id for item_id, _ in items], np.int64),
        labels=np.array([item.label for _, item in items], np.str_),
        sources=np.array([item.source for _, item in items], np.str_),
        digests=np.array([(item.digest or b"").hex() for _, item in items], np.str_),
        codes=np.array([item.code for _, item in items], np.uint64).reshape(
            len(items), words_of(meta.bits)
        ),
    )


def _read_arrays(path: Path, meta: Meta) -> Iterator[tuple[int, Item | str]]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = Meta(str(arrays["model_id"]), int(arrays["bits"]))
            columns = [arrays[name] for name in ("labels", "codes", "sources", "digests")]
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise _not_a_gallery(path, error) from error
    _check_owner(path, found, meta)
    labels, codes, sources, digests = columns
    if codes.dtype != np.uint64 or codes.shape != (len(labels), words_of(meta.bits)):
        raise _not_a_gallery(path, f"its codes are {codes.dtype} {list(codes.shape)}")
    for number, (label, code, source, digest) in enumerate(
        zip(labels, codes, sources, digests, strict=True), 1
    ):
        yield (
            number,
            Item(str(label), code, str(source), bytes.fromhex(str(digest)) if digest else None),
        )


def _write_index(file: IO[bytes], meta: Meta, items: list[Exported]) -> None:
    if meta.bits % 8:
        raise InputError(f"faiss cannot hold codes of {meta.bits} bits", remedy="export .jsonl")
    words = np.array([item.code for _, item in items], "<u8").reshape(-1, words_of(meta.bits))
    octets = np.ascontiguousarray(words.view(np.uint8)[:, : meta.bits // 8])
    ids = np.array([item_id for item_id, _ in items], np.int64)
    write_faiss(file, FaissCodes(meta.bits, octets, ids))


def _read_index(path: Path, meta: Meta) -> Iterator[tuple[int, Item | str]]:
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
