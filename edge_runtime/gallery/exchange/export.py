"""Write the content of a gallery in each format."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import IO, Any

import numpy as np

from edge_runtime.code import words_of
from edge_runtime.database.transaction import transaction
from edge_runtime.errors import InputError, storage_error
from edge_runtime.gallery.content import Content, read_codes, read_label_data
from edge_runtime.gallery.exchange.common import FORMAT, labels_path, suffix_of
from edge_runtime.gallery.exchange.faiss_file import FaissCodes, write_faiss
from edge_runtime.gallery.records import LabelData, LabeledCode
from edge_runtime.gallery.rows import Meta, read_meta
from edge_runtime.gallery.schema import connect, damaged, translated
from edge_runtime.position import Position
from edge_runtime.system.durable import replacing, write_file


def export_codes(path: Path, meta: Meta, content: Content) -> int:
    """Write `content` to `path` atomically and durably; return the number of codes.

    The suffix of `path` selects the format. Raises `InputError` for an unknown suffix, and
    `StorageError`.
    """
    write = {".jsonl": _write_content_lines, ".npz": _write_arrays, ".faiss": _write_index}[
        suffix_of(path)
    ]
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


def export_lines(path: Path, file: IO[bytes]) -> int:
    """Write one generation of the gallery `path`, which may be in use, to `file` as JSON lines.

    Only one code is in memory at a time. Returns the number of codes. Raises `GalleryError` or
    `StorageError`.
    """
    with (
        closing(connect(path, create=False, read_only=True)) as connection,
        translated(path),
        transaction(connection, "DEFERRED"),
    ):
        try:
            meta = read_meta(connection)
        except ValueError as error:
            raise damaged(path, f"cannot read which model it belongs to: {error}") from error
        if meta is None:
            raise damaged(path, "the model that it belongs to is not recorded")
        names, label_data = read_label_data(connection, path)
        return _write_lines(file, meta, label_data, read_codes(connection, path, meta, names))


def _write_content_lines(file: IO[bytes], meta: Meta, content: Content) -> None:
    _write_lines(file, meta, content.label_data, content.codes)


def _write_lines(
    file: IO[bytes],
    meta: Meta,
    label_data: Mapping[str, LabelData],
    codes: Iterable[tuple[int, LabeledCode]],
) -> int:
    def line(data: dict[str, Any]) -> None:
        file.write(json.dumps(data, ensure_ascii=False).encode() + b"\n")

    line({"edge_runtime_gallery": FORMAT, **meta._asdict()})
    for label, data in label_data.items():
        line({"note": label, "payload": data.payload, "thumbnail": _text(data.thumbnail)})
    octets = (meta.bits + 7) // 8
    count = 0
    for count, (code_id, item) in enumerate(codes, 1):  # noqa: B007  (the last one is returned)
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
    return count


def _degrees(position: Position | None) -> list[float | None] | None:
    if position is None:
        return None
    return [position.latitude, position.longitude, position.heading]


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


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


def _write_index(file: IO[bytes], meta: Meta, content: Content) -> None:
    if meta.bits % 8:
        raise InputError(f"faiss cannot store codes of {meta.bits} bits", remedy="export to .jsonl")
    words = np.array([code.code for _, code in content.codes], "<u8").reshape(
        -1, words_of(meta.bits)
    )
    octets = np.ascontiguousarray(words.view(np.uint8)[:, : meta.bits // 8])
    ids = np.array([code_id for code_id, _ in content.codes], np.int64)
    write_faiss(file, FaissCodes(meta.bits, octets, ids))
