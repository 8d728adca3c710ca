"""Arrays that grow at the end without a copy each time."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)


class GrowableArray(Generic[Scalar]):
    """Rows with amortized appends. Views returned earlier never change."""

    def __init__(self, rows: NDArray[Scalar]) -> None:
        """Start with `rows` [n, ...], which may be read-only, such as a mapped file."""
        self._buffer = rows
        self._count = len(rows)

    def __len__(self) -> int:
        return self._count

    @property
    def rows(self) -> NDArray[Scalar]:
        """A view of the current rows, [n, ...]."""
        return self._buffer[: self._count]

    def append(self, rows: NDArray[Scalar]) -> None:
        """Append `rows` [m, ...]."""
        count = self._count + len(rows)
        if count > len(self._buffer) or not self._buffer.flags.writeable:
            wider = np.empty((count + count // 8 + 64, *self._buffer.shape[1:]), self._buffer.dtype)
            wider[: self._count] = self.rows
            self._buffer = wider
        self._buffer[self._count : count] = rows
        self._count = count
