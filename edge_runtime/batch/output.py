"""Write what the journal knows: codes as JSON lines or as npz, and the photos that failed.

The formats are those of `edge-runtime gallery export` (edge_runtime.gallery.exchange), so that
`gallery import` reads them. Features, if there are any, are the key "features" (base64 of int8)
of a line, and the array `features` (int8 [n, F]) of an npz. Rows are sorted by path, and only a
part of them is in memory at a time.
"""

from __future__ import annotations

import base64
import json
import os
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from glob import escape
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_runtime.batch.journal import Journal
from edge_runtime.code import words_of
from edge_runtime.errors import InputError, storage_error
from edge_runtime.gallery.exchange.common import FORMAT
from edge_runtime.gallery.pictures import view_digest
from edge_runtime.system.durable import replacing, sync_folder
from edge_runtime.system.printable import printable

SUFFIXES = (".jsonl", ".npz")
BLOCK = 4096
"""Rows of an array in memory."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every array in an npz, so that equal content gives equal bytes."""


class _Row(NamedTuple):
    """One code: one view of a photo."""

    label: str
    source: str
    digest: str
    """Hexadecimal, of the view."""
    code: bytes
    features: bytes


def check_output(output: Path) -> None:
    """Raise `InputError` unless the suffix of `output` names a format."""
    if output.suffix not in SUFFIXES:
        raise InputError(
            f"unknown format '{output.suffix}'",
            where=output,
            remedy=f"choose a name that ends in {' or '.join(SUFFIXES)}",
        )


def failures_path(output: Path) -> Path:
    """Return the path of the list of failures of the file `output`."""
    return output.with_name(output.name + ".failed.jsonl")


def write_output(journal: Journal) -> int:
    """Write the codes and the failures of this run; return the number of codes.

    Each file is replaced as a whole and durably. Raises `StorageError`.
    """
    output = journal.output
    try:
        _remove_leftovers(output)
        _write_failures(failures_path(output), journal)
        photos = journal.select()
        write = _write_lines if output.suffix == ".jsonl" else _write_arrays
        with replacing(output) as temporary, temporary.open("wb") as file:
            write(file, journal, photos * journal.method.views)
            file.flush()
    except OSError as error:
        raise storage_error(error, output) or error from error
    return photos * journal.method.views


def _remove_leftovers(output: Path) -> None:
    """Remove what a killed run was writing; the journal lets only one run write."""
    for leftover in output.parent.glob(f"{escape(output.name)}.*.tmp"):
        leftover.unlink(missing_ok=True)


def _write_failures(path: Path, journal: Journal) -> None:
    failures = journal.failures()
    first = next(failures, None)
    if first is None:
        with suppress(FileNotFoundError):
            path.unlink()
            sync_folder(path.parent)
        return
    with replacing(path) as temporary, temporary.open("wb") as file:
        for photo, what, remedy in (first, *failures):
            file.write(_line({"photo": printable(photo), "what": what, "remedy": remedy}))


def _write_lines(file: IO[bytes], journal: Journal, _count: int) -> None:
    method = journal.method
    head = {"edge_runtime_gallery": FORMAT, "model_id": method.model_id, "bits": method.bits}
    file.write(_line(head))
    octets = (method.bits + 7) // 8
    for row in _rows(journal):
        data: dict[str, Any] = {
            "label": row.label,
            "code": row.code[:octets].hex(),
            "source": row.source,
            "digest": row.digest,
            "position": None,
        }
        if method.features:
            data["features"] = base64.b64encode(row.features).decode()
        file.write(_line(data))


def _line(data: dict[str, Any]) -> bytes:
    return json.dumps(data, ensure_ascii=False).encode() + b"\n"


def _rows(journal: Journal) -> Iterator[_Row]:
    """Yield one row per code, sorted by the paths of the photos."""
    method = journal.method
    width = 8 * words_of(method.bits)
    for path, label, digest, codes, features in journal.rows(
        "chosen.path, chosen.label, code.digest, code.codes, code.features"
    ):
        source = printable(os.fsdecode(path))
        for view in range(method.views):
            yield _Row(
                label,
                source,
                view_digest(digest, view).hex(),
                codes[view * width : (view + 1) * width],
                features[view * method.features : (view + 1) * method.features],
            )


def _write_arrays(file: IO[bytes], journal: Journal, count: int) -> None:
    method = journal.method
    words = words_of(method.bits)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:

        def write(name: str, dtype: np.dtype[Any], shape: tuple[int, ...], rows: Any) -> None:
            _write_array(archive, name, dtype, shape, rows)

        def text(name: str, field: str) -> None:
            longest = max((len(getattr(row, field)) for row in _rows(journal)), default=1)
            write(
                name,
                np.dtype(f"<U{max(longest, 1)}"),
                (count,),
                (getattr(row, field) for row in _rows(journal)),
            )

        write("format", np.dtype("<i8"), (), [FORMAT])
        write("model_id", np.dtype(f"<U{len(method.model_id)}"), (), [method.model_id])
        write("bits", np.dtype("<i8"), (), [method.bits])
        write("ids", np.dtype("<i8"), (count,), range(1, count + 1))
        text("labels", "label")
        text("sources", "source")
        text("digests", "digest")
        codes = (np.frombuffer(row.code, "<u8") for row in _rows(journal))
        write("codes", np.dtype("<u8"), (count, words), codes)
        if method.features:
            features = (np.frombuffer(row.features, np.int8) for row in _rows(journal))
            write("features", np.dtype(np.int8), (count, method.features), features)


def _write_array(
    archive: zipfile.ZipFile,
    name: str,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    rows: Iterable[Any],
) -> None:
    info = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    left = iter(rows)
    with archive.open(info, "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(file, header)
        while block := list(islice(left, BLOCK)):
            array: NDArray[Any] = np.array(block, dtype)
            file.write(array.tobytes())
