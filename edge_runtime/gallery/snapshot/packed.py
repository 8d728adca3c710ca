"""The packed codes that are searched, with their ids, labels and positions.

A snapshot is the gallery at one generation. The next one shares its memory: new rows are appended,
and removed rows are marked as dead. The cost of a change therefore depends on the change, not on
the size of the gallery. Searches in an earlier snapshot are not affected.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_runtime.code import Code, words_of
from edge_runtime.gallery.records import UNKNOWN
from edge_runtime.gallery.rows import BEGINNING, Generation
from edge_runtime.lookup import ALL, Lookup, RowFilter, SearchResult
from edge_runtime.lookup.growable_array import GrowableArray
from edge_runtime.position import PositionArray

MAX_DEAD = 0.25
"""Fraction of dead rows above which the living rows are copied."""
FEW = 1000
"""Number of dead rows that never cause a copy."""


@dataclass(frozen=True, eq=False)
class Columns:
    """Rows as plain arrays of equal length."""

    ids: NDArray[np.int64]
    label_ids: NDArray[np.uint32]
    codes: Code
    """uint64 [n, W]"""
    positions: PositionArray | None = None
    """None if no row has a position."""
    pictures: NDArray[np.int64] | None = None
    """The id of the first row of each row's picture; None if each row is a picture of its own."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A gallery at one generation. The rows are in the order of their ids."""

    generation: Generation
    labels: dict[int, str]
    lookup: Lookup
    _ids: GrowableArray[np.int64]
    _label_ids: GrowableArray[np.uint32]
    _positions: GrowableArray[np.float64] | None = None
    _pictures: GrowableArray[np.int64] | None = None
    alive: NDArray[np.bool_] | None = None
    """bool [n]; None if all rows are alive."""
    row_filter: RowFilter = ALL
    ids: NDArray[np.int64] = field(init=False)
    label_ids: NDArray[np.uint32] = field(init=False)
    positions: PositionArray | None = field(init=False)
    pictures: NDArray[np.int64] | None = field(init=False)
    unknown: int | None = field(init=False)
    """The id of the label `UNKNOWN`, if the gallery has it."""

    def __post_init__(self) -> None:
        """Keep the columns at their present length: later snapshots extend them."""
        object.__setattr__(self, "ids", self._ids.rows)
        object.__setattr__(self, "label_ids", self._label_ids.rows)
        positions = None if self._positions is None else self._positions.rows
        object.__setattr__(self, "positions", positions)
        pictures = None if self._pictures is None else self._pictures.rows
        object.__setattr__(self, "pictures", pictures)
        unknown = next((number for number, name in self.labels.items() if name == UNKNOWN), None)
        object.__setattr__(self, "unknown", unknown)

    @property
    def count(self) -> int:
        """The number of codes."""
        return len(self.ids) if self.alive is None else int(np.count_nonzero(self.alive))

    @property
    def last_id(self) -> int:
        """The highest id among all rows, living or dead."""
        return int(self.ids[-1]) if len(self.ids) else 0

    def columns(self) -> Columns:
        """Return the living rows."""
        living = slice(None) if self.alive is None else self.alive
        ids = self.ids[living]
        pictures = None if self.pictures is None else self.pictures[living]
        return Columns(
            ids,
            self.label_ids[living],
            self.lookup.codes[living],
            None if self.positions is None else self.positions[living],
            None if pictures is None or np.array_equal(pictures, ids) else pictures,
        )

    def rows_with_labels(self, labels: Collection[int]) -> RowFilter:
        """Return a filter for the living rows that have one of these label ids."""
        wanted = np.zeros(max(labels, default=0) + 1, np.bool_)
        wanted[list(labels)] = True
        return RowFilter(
            self.row_filter.alive, self.label_ids, np.packbits(wanted, bitorder="little")
        )

    def nearest_rows(
        self, code: Code, count: int, row_filter: RowFilter | None = None
    ) -> SearchResult:
        """Return the `count` codes nearest to `code` (uint64 [W]): rows, and distances in bits.

        Both are int64 [min(count, passing rows)], sorted by distance, then by id. The codes of one
        picture are separate rows. `row_filter` defaults to the living rows.
        """
        return self.lookup.nearest(code, count, row_filter or self.row_filter)

    def owners(self, ids: Collection[int]) -> set[int]:
        """Return the ids of the labels of these rows, all of which must be present."""
        rows = self._rows_of(np.fromiter(ids, np.int64, len(ids)))
        return set(self.label_ids[rows].tolist())

    def companions(self, ids: Collection[int]) -> list[int]:
        """Return the ids of all living rows of the pictures that these rows belong to."""
        if self.pictures is None or not ids:
            return []
        pictures = self.pictures[self._rows_of(np.fromiter(ids, np.int64))]
        wanted = np.isin(self.pictures, pictures)
        return list(self.ids[wanted if self.alive is None else wanted & self.alive].tolist())

    def changed(
        self,
        generation: Generation,
        labels: dict[int, str],
        removed: NDArray[np.int64],
        relabeled: dict[int, int],
        regrouped: dict[int, int],
        new: Columns,
    ) -> Snapshot:
        """Return this snapshot without the ids `removed`, with new label ids, and with `new` rows.

        `relabeled` maps ids of codes to ids of labels, `regrouped` to those of their pictures.
        """
        alive = self.alive
        if len(removed):
            alive = np.ones(len(self.ids), np.bool_) if alive is None else alive.copy()
            alive[self._rows_of(removed)] = False
        label_ids = self._label_ids
        if relabeled:
            moved = self.label_ids.copy()
            moved[self._rows_of(np.fromiter(relabeled, np.int64))] = list(relabeled.values())
            label_ids = GrowableArray(moved)
        positions = self._positions
        if new.positions is not None and positions is None:
            positions = GrowableArray(np.full((len(self.ids), 3), np.nan))
        pictures = self._regrouped(regrouped)
        if new.pictures is not None and pictures is None:
            pictures = GrowableArray(self.ids.copy())
        lookup = self.lookup
        if len(new.ids):
            self._ids.append(new.ids)
            label_ids.append(new.label_ids)
            lookup = lookup.extended(new.codes)
            if positions is not None:
                unknown = np.full((len(new.ids), 3), np.nan)
                positions.append(unknown if new.positions is None else new.positions)
            if pictures is not None:
                pictures.append(new.ids if new.pictures is None else new.pictures)
            if alive is not None:
                alive = np.concatenate([alive, np.ones(len(new.ids), np.bool_)])
        snapshot = Snapshot(
            generation,
            labels,
            lookup,
            self._ids,
            label_ids,
            positions,
            pictures,
            alive,
            _living(alive),
        )
        dead = 0 if alive is None else len(alive) - snapshot.count
        if dead > FEW + MAX_DEAD * len(snapshot.ids):
            return snapshot_of(generation, labels, snapshot.columns(), lookup.bits)
        return snapshot

    def _regrouped(self, regrouped: dict[int, int]) -> GrowableArray[np.int64] | None:
        """Return the column of pictures with changes; this snapshot's own if there are none."""
        rows = self._rows_of(np.fromiter(regrouped, np.int64))
        firsts = np.fromiter(regrouped.values(), np.int64)
        earlier = self.ids if self.pictures is None else self.pictures
        if np.array_equal(earlier[rows], firsts):
            return self._pictures
        moved = earlier.copy()
        moved[rows] = firsts
        return GrowableArray(moved)

    def _rows_of(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the row numbers of these ids, all of which must be present."""
        return np.searchsorted(self.ids, ids)


def snapshot_of(
    generation: Generation, labels: dict[int, str], columns: Columns, bits: int
) -> Snapshot:
    """Return a snapshot of exactly these rows."""
    return Snapshot(
        generation,
        labels,
        Lookup(columns.codes, bits),
        GrowableArray(columns.ids),
        GrowableArray(columns.label_ids),
        None if columns.positions is None else GrowableArray(columns.positions),
        None if columns.pictures is None else GrowableArray(columns.pictures),
    )


def empty(bits: int) -> Snapshot:
    """Return the snapshot of a gallery before its first change."""
    none = Columns(
        np.empty(0, np.int64), np.empty(0, np.uint32), np.empty((0, words_of(bits)), np.uint64)
    )
    return snapshot_of(BEGINNING, {}, none, bits)


def _living(alive: NDArray[np.bool_] | None) -> RowFilter:
    return ALL if alive is None else RowFilter(np.packbits(alive, bitorder="little"))
