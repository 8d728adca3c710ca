"""Filters that restrict a search to some rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class RowFilter:
    """A row passes if it is alive and its group is wanted. Evaluated only for near rows."""

    alive: NDArray[np.uint8] | None = None
    """One bit per row, least significant first; None if all rows are alive."""
    group: NDArray[np.uint32] | None = None
    """The group (label) of each row, [n]."""
    wanted: NDArray[np.uint8] | None = None
    """One bit per group; used together with `group`."""

    def mask(self, count: int) -> NDArray[np.bool_]:
        """Return which of the first `count` rows pass, bool [count]."""
        mask = np.ones(count, np.bool_)
        if self.alive is not None:
            mask &= np.unpackbits(self.alive, count=count, bitorder="little").astype(np.bool_)
        if self.group is not None and self.wanted is not None:
            wanted = np.unpackbits(self.wanted, bitorder="little").astype(np.bool_)
            in_range = self.group < len(wanted)
            mask &= in_range & wanted[np.where(in_range, self.group, 0)]
        return mask

    def rows(self, first: int, last: int) -> RowFilter:
        """Return the filter of rows `first` (a multiple of 8) to `last`, renumbered from 0."""
        return RowFilter(
            None if self.alive is None else self.alive[first // 8 : -(-last // 8)],
            None if self.group is None else self.group[first:last],
            self.wanted,
        )


def rows_where(mask: NDArray[np.bool_]) -> RowFilter:
    """Return the filter that passes the rows where `mask` (bool [n]) is true."""
    return RowFilter(np.packbits(mask, bitorder="little"))


ALL = RowFilter()
