"""What is searched: packed codes and what goes with them, derived from the database.

A snapshot is the gallery at one generation. The next one shares its memory: new items are put
behind the others, those that went are marked as dead, so that a change costs what has changed and
not what is there. Nobody who still searches the earlier one notices.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_runtime.code import Code, words_of
from edge_runtime.gallery.rows import BEGINNING, Generation
from edge_runtime.lookup import ALL, Lookup, RowFilter
from edge_runtime.lookup.growable_array import GrowableArray
from edge_runtime.position import PositionArray

MOST_DEAD = 0.25
"""Of the rows: when more are dead, everything is copied without them."""
FEW = 1000
"""Dead rows that never matter."""


@dataclass(frozen=True, eq=False)
class Columns:
    """Rows that belong together, as plain arrays."""

    ids: NDArray[np.int64]
    label_ids: NDArray[np.uint32]
    codes: Code
    """uint64 [n, W]"""
    places: PositionArray | None = None
    """None: no position is known."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A gallery at one generation; rows are in the order of their ids."""

    generation: Generation
    labels: dict[int, str]
    lookup: Lookup
    _ids: GrowableArray[np.int64]
    _label_ids: GrowableArray[np.uint32]
    _places: GrowableArray[np.float64] | None = None
    alive: NDArray[np.bool_] | None = None
    """[n]; None: all rows are."""
    row_filter: RowFilter = ALL
    ids: NDArray[np.int64] = field(init=False)
    label_ids: NDArray[np.uint32] = field(init=False)
    places: PositionArray | None = field(init=False)

    def __post_init__(self) -> None:
        """Keep the columns as they are now: they may grow."""
        object.__setattr__(self, "ids", self._ids.rows)
        object.__setattr__(self, "label_ids", self._label_ids.rows)
        object.__setattr__(self, "places", None if self._places is None else self._places.rows)

    @property
    def count(self) -> int:
        """Items."""
        return len(self.ids) if self.alive is None else int(np.count_nonzero(self.alive))

    @property
    def last_id(self) -> int:
        """The highest id that has been in it."""
        return int(self.ids[-1]) if len(self.ids) else 0

    def columns(self) -> Columns:
        """Its living rows."""
        if self.alive is None:
            return Columns(self.ids, self.label_ids, self.lookup.codes, self.places)
        places = None if self.places is None else self.places[self.alive]
        return Columns(
            self.ids[self.alive], self.label_ids[self.alive], self.lookup.codes[self.alive], places
        )

    def among_labels(self, labels: Collection[int]) -> RowFilter:
        """Its living rows of these labels (their ids)."""
        wanted = np.zeros(max(labels, default=0) + 1, np.bool_)
        wanted[list(labels)] = True
        return RowFilter(
            self.row_filter.alive, self.label_ids, np.packbits(wanted, bitorder="little")
        )

    def changed(
        self,
        generation: Generation,
        labels: dict[int, str],
        gone: NDArray[np.int64],
        relabelled: dict[int, int],
        new: Columns,
    ) -> Snapshot:
        """This one without the ids `gone`, with new label ids for some, and with `new` rows."""
        alive = self.alive
        if len(gone):
            alive = np.ones(len(self.ids), np.bool_) if alive is None else alive.copy()
            alive[self._rows_of(gone)] = False
        label_ids = self._label_ids
        if relabelled:
            moved = self.label_ids.copy()
            moved[self._rows_of(np.fromiter(relabelled, np.int64))] = list(relabelled.values())
            label_ids = GrowableArray(moved)
        places = self._places
        if new.places is not None and places is None:
            places = GrowableArray(np.full((len(self.ids), 3), np.nan))
        lookup = self.lookup
        if len(new.ids):
            self._ids.append(new.ids)
            label_ids.append(new.label_ids)
            lookup = lookup.extended(new.codes)
            if places is not None:
                unknown = np.full((len(new.ids), 3), np.nan)
                places.append(unknown if new.places is None else new.places)
            if alive is not None:
                alive = np.concatenate([alive, np.ones(len(new.ids), np.bool_)])
        snapshot = Snapshot(
            generation, labels, lookup, self._ids, label_ids, places, alive, _living(alive)
        )
        dead = 0 if alive is None else len(alive) - snapshot.count
        if dead > FEW + MOST_DEAD * len(snapshot.ids):
            return made_of(generation, labels, snapshot.columns(), lookup.bits)
        return snapshot

    def _rows_of(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where the items with these ids stand; all of them are here."""
        return np.searchsorted(self.ids, ids)


def made_of(
    generation: Generation, labels: dict[int, str], columns: Columns, bits: int
) -> Snapshot:
    """A snapshot of just these rows."""
    return Snapshot(
        generation,
        labels,
        Lookup(columns.codes, bits),
        GrowableArray(columns.ids),
        GrowableArray(columns.label_ids),
        None if columns.places is None else GrowableArray(columns.places),
    )


def empty(bits: int) -> Snapshot:
    """Of a gallery before its first change."""
    none = Columns(
        np.empty(0, np.int64), np.empty(0, np.uint32), np.empty((0, words_of(bits)), np.uint64)
    )
    return made_of(BEGINNING, {}, none, bits)


def _living(alive: NDArray[np.bool_] | None) -> RowFilter:
    return ALL if alive is None else RowFilter(np.packbits(alive, bitorder="little"))
