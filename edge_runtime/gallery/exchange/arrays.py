"""Read an export as numpy's npz, a block of rows at a time.

The file is untrusted: a small one may declare arrays of any size, and they may expand to it. The
types and shapes are checked before any content is read, and the content is never in memory as a
whole.
"""

from __future__ import annotations

import base64
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from edge_runtime.code import check_codes, words_of
from edge_runtime.errors import InputError
from edge_runtime.gallery.exchange.common import (
    MOST_ROWS,
    Code,
    NamedData,
    check_model,
    not_a_gallery,
    printable,
)
from edge_runtime.gallery.exchange.lines import MOST_LINE_BYTES, checked_digest
from edge_runtime.gallery.records import LabelData, LabeledCode, check_label
from edge_runtime.gallery.rows import Meta
from edge_runtime.position import position_from_row
from edge_runtime.system.files import open_regular

BLOCK_BYTES = 1 << 20
MOST_DIRECTORY_BYTES = 1 << 16
"""Size of the directory of the archive, which zipfile reads as a whole."""
_END, _END_BYTES, _LOCATOR = b"PK\x05\x06", 22, b"PK\x06\x07"
_BROKEN = (
    *(zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError),
    *(ValueError, KeyError, TypeError, OverflowError, SyntaxError, MemoryError, SystemError),
)
"""What reading a corrupt npz raises: for its directory, for its bytes, for an unknown compression
method, for an encrypted array, and for a header that is not one."""


class ArraysFile:
    """An npz of a gallery."""

    def __init__(self, path: Path, meta: Meta) -> None:
        """Check the model and all arrays; raises `InputError` or OSError."""
        self._path, self._meta = path, meta
        with self._reading() as (archive, stack):
            model_id = str(_only(_Column(archive, stack, "model_id", "U", 64 * 4, ())))
            bits = int(_only(_Column(archive, stack, "bits", "iu", 8, ())))
        check_model(path, Meta(model_id, bits), meta)

    def codes(self) -> Iterator[Code]:
        """Yield the codes; raises `InputError` for an array that is not valid."""
        words = words_of(self._meta.bits)
        with self._reading() as (archive, stack):
            labels = _Column(archive, stack, "labels", "U", 4 * 1024, (None,))
            rows = (labels.count,)
            columns = [
                labels,
                _Column(archive, stack, "codes", "u", 8, (*rows, words)),
                _Column(archive, stack, "sources", "U", MOST_LINE_BYTES, rows),
                _Column(archive, stack, "digests", "U", 4 * 1024, rows),
            ]
            if "positions.npy" in archive.namelist():
                columns.append(_Column(archive, stack, "positions", "f", 8, (*rows, 3)))
            for number, row in enumerate(zip(*columns, strict=True), 1):
                yield number, self._code(*row)

    def label_data(self) -> Iterator[NamedData]:
        """Yield the data of labels; raises `InputError` for an array that is not valid."""
        with self._reading() as (archive, stack):
            if "noted.npy" not in archive.namelist():
                return
            noted = _Column(archive, stack, "noted", "U", 4 * 1024, (None,))
            payloads = _Column(archive, stack, "payloads", "U", 4 * MOST_LINE_BYTES, (noted.count,))
            jpegs = _Column(archive, stack, "thumbnails", "U", 4 * MOST_LINE_BYTES, (noted.count,))
            for label, payload, jpeg in zip(noted, payloads, jpegs, strict=True):
                try:
                    data = LabelData(payload, base64.b64decode(jpeg, validate=True))
                    named = NamedData(check_label(label), data.checked(label))
                except InputError as error:
                    raise not_a_gallery(self._path, error) from error
                yield named

    def _code(
        self, label: str, code: Any, source: str, digest: str, position: list[float] | None = None
    ) -> LabeledCode | str:
        try:
            return LabeledCode(
                check_label(label),
                check_codes(np.array([code], np.uint64), self._meta.bits)[0],
                source,
                checked_digest(digest) if digest else None,
                None if position is None else position_from_row(position),
            )
        except (InputError, ValueError) as error:
            return printable(str(error))

    @contextmanager
    def _reading(self) -> Iterator[tuple[zipfile.ZipFile, ExitStack]]:
        with open_regular(self._path) as file:
            try:
                _check_directory(file)
                with zipfile.ZipFile(file) as archive, ExitStack() as stack:
                    yield archive, stack
            except InputError:
                raise
            except _BROKEN as error:
                raise not_a_gallery(self._path, error) from error


def _check_directory(file: IO[bytes]) -> None:
    """Raise ValueError if the directory of a zip file is larger than that of any export."""
    size = file.seek(0, 2)
    file.seek(max(0, size - (1 << 16) - _END_BYTES - 20))
    tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < _END_BYTES:
        raise ValueError("it has no directory")
    if tail[max(0, at - 20) : at].startswith(_LOCATOR):
        raise ValueError("larger than 4 GB; export to .jsonl")
    if int.from_bytes(tail[at + 12 : at + 16], "little") > MOST_DIRECTORY_BYTES:
        raise ValueError("its directory is too large")
    file.seek(0)


class _Column:
    """An array, read in blocks. Iteration yields its rows as Python values."""

    def __init__(
        self,
        archive: zipfile.ZipFile,
        stack: ExitStack,
        name: str,
        kinds: str,
        most_bytes: int,
        shape: tuple[int | None, ...],
    ) -> None:
        """Check the array `name`; raises ValueError.

        Its type is one of `kinds` with at most `most_bytes` per item. None in `shape` allows any
        number of rows.
        """
        info = archive.getinfo(f"{name}.npy")
        self._file = stack.enter_context(archive.open(info))
        if np.lib.format.read_magic(self._file) != (1, 0):  # its header has at most 64 KiB
            raise ValueError(f"its array {name} has an unknown version")
        found, fortran, self._dtype = np.lib.format.read_array_header_1_0(self._file)
        expected = tuple(
            real if wanted is None else wanted for wanted, real in zip(shape, found, strict=False)
        )
        if len(found) != len(shape) or found != expected or (fortran and len(found) > 1):
            raise ValueError(f"its array of {name} is {self._dtype} {list(found)}")
        if self._dtype.kind not in kinds or self._dtype.itemsize > most_bytes:
            raise ValueError(f"its array of {name} is {self._dtype} {list(found)}")
        self.count = found[0] if found else 1
        if not 0 <= self.count <= MOST_ROWS:
            raise ValueError(f"its array of {name} is {self._dtype} {list(found)}")
        self._row = found[1:]
        self._row_bytes = self._dtype.itemsize * int(np.prod(self._row, dtype=np.int64))
        if info.file_size != self._file.tell() + self.count * self._row_bytes:
            raise ValueError(f"its array of {name} is truncated, or data follows it")

    def __iter__(self) -> Iterator[Any]:
        rows = max(1, BLOCK_BYTES // max(1, self._row_bytes))
        for start in range(0, self.count, rows):
            count = min(rows, self.count - start)
            data = self._exactly(count * self._row_bytes)
            if not self._row_bytes:  # of empty texts only
                yield from [""] * count
                continue
            yield from np.frombuffer(data, self._dtype).reshape(count, *self._row).tolist()

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size:
            part = self._file.read(size)
            if not part:
                raise ValueError("truncated")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def _only(column: _Column) -> Any:
    (value,) = column
    return value
