"""Read numpy's npz files that may come from elsewhere.

A small file may declare arrays of any size, and they may expand to it. So the type and shape of an
array are checked before any of its content is read, and the content is read in blocks.
"""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.system.files import open_regular

BLOCK_BYTES = 1 << 20
MOST_DIRECTORY_BYTES = 1 << 16
"""Size of the directory of the archive, which zipfile reads as a whole."""
_END, _END_BYTES, _LOCATOR = b"PK\x05\x06", 22, b"PK\x06\x07"
_BROKEN = (
    *(zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError),
    *(ValueError, KeyError, TypeError, OverflowError, SyntaxError, MemoryError, SystemError),
    *(tokenize.TokenError, RecursionError),
)
"""What reading a corrupt npz raises: for its directory, for its bytes, for an unknown compression
method, for an encrypted array, and for a header that is not one."""


class Npz:
    """An open npz."""

    def __init__(self, archive: zipfile.ZipFile, stack: ExitStack) -> None:
        self._archive, self._stack = archive, stack

    def __contains__(self, name: str) -> bool:
        return f"{name}.npy" in self._archive.namelist()

    def array(
        self,
        name: str,
        kinds: str,
        most_bytes: int,
        shape: tuple[int | None, ...],
        most_rows: int = 1,
    ) -> NpzArray:
        """Return the array `name`; raises ValueError or KeyError.

        Its type is one of `kinds` (of `numpy.dtype.kind`) with at most `most_bytes` per item. None
        as the first number of `shape` allows up to `most_rows`.
        """
        info = self._archive.getinfo(f"{name}.npy")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"its array of {name} is compressed in another way than numpy does")
        file = self._stack.enter_context(self._archive.open(info))
        if np.lib.format.read_magic(file) != (1, 0):  # its header has at most 64 KiB
            raise ValueError(f"its array of {name} has an unknown version")
        found, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        expected = tuple(
            real if wanted is None else wanted for wanted, real in zip(shape, found, strict=False)
        )
        wrong = len(found) != len(shape) or found != expected or (fortran and len(found) > 1)
        if wrong or dtype.kind not in kinds or dtype.itemsize > most_bytes:
            raise ValueError(f"its array of {name} is {dtype} {list(found)}")
        array = NpzArray(file, dtype, found)
        if None in shape and not 0 <= array.count <= most_rows:
            raise ValueError(f"its array of {name} is {dtype} {list(found)}")
        if info.file_size != file.tell() + array.count * array.row_bytes:
            raise ValueError(f"its array of {name} is truncated, or data follows it")
        return array


class NpzArray:
    """An array, read once, as a whole or row by row. Iteration yields rows as Python values."""

    def __init__(self, file: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        self._file, self._dtype, self._shape = file, dtype, shape
        self.count = shape[0] if shape else 1
        """Number of rows."""
        self.row_bytes = dtype.itemsize * int(np.prod(shape[1:], dtype=np.int64))

    def __iter__(self) -> Iterator[Any]:
        rows = max(1, BLOCK_BYTES // max(1, self.row_bytes))
        for start in range(0, self.count, rows):
            count = min(rows, self.count - start)
            data = self._exactly(count * self.row_bytes)
            if not self.row_bytes:  # of empty texts only
                yield from [""] * count
                continue
            yield from np.frombuffer(data, self._dtype).reshape(count, *self._shape[1:]).tolist()

    def whole(self) -> NDArray[Any]:
        """Return the array. Only for one whose size is bounded."""
        data = self._exactly(self.count * self.row_bytes)
        return np.frombuffer(data, self._dtype).reshape(self._shape)

    def only(self) -> Any:
        """Return the value of an array without dimensions."""
        (value,) = self
        return value

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size:
            part = self._file.read(size)
            if not part:
                raise ValueError("truncated")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


class BrokenNpzError(ValueError):
    """The file is not an npz with the arrays that are wanted."""


@contextmanager
def open_npz(path: Path) -> Iterator[Npz]:
    """Open the npz at `path`; raises OSError, and `BrokenNpzError`, also in the block."""
    with open_regular(path) as file:
        try:
            _check_directory(file)
            with zipfile.ZipFile(file) as archive, ExitStack() as stack:
                yield Npz(archive, stack)
        except _BROKEN as error:
            raise BrokenNpzError(str(error)) from error


def _check_directory(file: IO[bytes]) -> None:
    """Raise ValueError if the directory of a zip file is larger than that of any export."""
    size = file.seek(0, 2)
    file.seek(max(0, size - (1 << 16) - _END_BYTES - 20))
    tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < _END_BYTES:
        raise ValueError("it has no directory")
    if tail[max(0, at - 20) : at].startswith(_LOCATOR):
        raise ValueError("larger than 4 GB, or with a directory for that")
    if int.from_bytes(tail[at + 12 : at + 16], "little") > MOST_DIRECTORY_BYTES:
        raise ValueError("its directory is too large")
    file.seek(0)
