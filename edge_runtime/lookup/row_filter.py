"""Which rows a search may find."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class RowFilter:
    """A row may be found if it is alive and its group is wanted; looked at only for near rows."""

    alive: NDArray[np.uint8] | None = None
    """A bit for each row, least significant first; None: all rows are alive."""
    group: NDArray[np.uint32] | None = None
    """[n]: what each row belongs to (its label)."""
    wanted: NDArray[np.uint8] | None = None
    """A bit for each group; goes together with `group`."""

    def mask(self, count: int) -> NDArray[np.bool_]:
        """Bool [count]."""
        mask = np.ones(count, np.bool_)
        if self.alive is not None:
            mask &= np.unpackbits(self.alive, count=count, bitorder="little").astype(np.bool_)
        if self.group is not None and self.wanted is not None:
            wanted = np.unpackbits(self.wanted, bitorder="little").astype(np.bool_)
            known = self.group < len(wanted)
            mask &= known & wanted[np.where(known, self.group, 0)]
        return mask

    def rows(self, first: int, last: int) -> RowFilter:
        """Of rows `first` to `last` alone, counted from `first`, a multiple of 8."""
        return RowFilter(
            None if self.alive is None else self.alive[first // 8 : -(-last // 8)],
            None if self.group is None else self.group[first:last],
            self.wanted,
        )


def rows_where(mask: NDArray[np.bool_]) -> RowFilter:
    """The rows where `mask` (bool [n]) is true."""
    return RowFilter(np.packbits(mask, bitorder="little"))


ALL = RowFilter()
