"""What a gallery keeps in memory: its snapshot, its features and their calibration."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.code import Embedding
from edge_runtime.database.transaction import transaction
from edge_runtime.fitting.calibration import Calibration
from edge_runtime.gallery.features.calibrate import measure
from edge_runtime.gallery.features.fitted import (
    Fit,
    fit_checksums,
    read_calibration,
    read_fit,
    write_calibration,
)
from edge_runtime.gallery.features.index import FeatureIndex, load_index
from edge_runtime.gallery.features.search import Ranking, rank
from edge_runtime.gallery.query import label_ids, nearest
from edge_runtime.gallery.rows import Generation, in_history, latest_generation
from edge_runtime.gallery.schema import damaged
from edge_runtime.gallery.snapshot.file import (
    CodesFile,
    read_snapshot,
    save_snapshot,
    saved_rows,
    snapshot_path,
)
from edge_runtime.gallery.snapshot.packed import Snapshot
from edge_runtime.gallery.snapshot.update import update_snapshot
from edge_runtime.position import QueryPosition
from edge_runtime.types import Match

log = logging.getLogger(__name__)

SNAPSHOT_FROM = 10_000
"""From this number of codes, a snapshot file is kept. Below, loading the rows is fast enough."""


CHANGED = 0.1
"""From this change of the number of pictures or labels on, an earlier calibration is not used."""


@dataclass(frozen=True)
class _Earlier:
    """A calibration, and the size of the gallery when it was measured."""

    calibration: Calibration
    fit: Fit
    pictures: int
    labels: int

    def holds(self, index: FeatureIndex) -> bool:
        """Return whether the gallery still has the same fit and nearly the same content."""
        now = _size(index)
        return self.fit.checksums == index.fit.checksums and all(
            abs(one - before) < CHANGED * before
            for one, before in zip(now, (self.pictures, self.labels), strict=True)
        )


def _size(index: FeatureIndex) -> tuple[int, int]:
    """Return the number of pictures and of labels."""
    return len(index.first_rows()), len(index.means)


class GalleryMemory:
    """The newest snapshot and the features that belong to it."""

    def __init__(self, path: Path) -> None:
        self.index: FeatureIndex | None = None
        """None if a code has no features, or if there are too many codes."""
        self._path = path
        self._snapshot: Snapshot | None = None
        self._version: tuple[int, int] | None = None
        self._saved: Generation | None = None
        self._file: CodesFile | None = None
        """What the snapshot was read from; None if it was the database."""
        self._trusts_file = True
        self._calibration: Calibration | None = None
        self._stored = False
        """Whether the calibration in the file is that of the snapshot."""
        self._earlier: _Earlier | None = None

    @property
    def used(self) -> bool:
        """Whether a snapshot was ever loaded."""
        return self._snapshot is not None

    def update(self, connection: sqlite3.Connection, model_id: str, bits: int) -> Snapshot:
        """Return the snapshot, updated if this or another process has committed since.

        SQLite keeps both counters that reveal a change in memory: data_version counts the commits
        of others, total_changes our own. The check takes microseconds. Raises
        `GalleryDamagedError`.
        """
        (data_version,) = connection.execute("PRAGMA data_version").fetchone()
        version = (data_version, connection.total_changes)
        if self._snapshot is None or version != self._version:
            earlier = self._snapshot
            if earlier is None:
                earlier = self._from_file(model_id, bits)
                self._saved = earlier.generation if earlier else None
            with transaction(connection, "DEFERRED"):
                snapshot = update_snapshot(connection, self._path, bits, earlier)
                fit = self._current_fit(connection)
                if self.index is None or self.index.snapshot.generation != snapshot.generation:
                    self._remember_calibration()
                    self.index = load_index(connection, self._path, snapshot, fit, self.index)
                if self.index is not None:
                    stored = self._stored_calibration(connection, snapshot.generation)
                    self._stored = stored is not None
                    self._calibration = stored or self._calibration
            self._snapshot, self._version = snapshot, version
        return self._snapshot

    def _from_file(self, model_id: str, bits: int) -> Snapshot | None:
        file = snapshot_path(self._path)
        self._file = CodesFile.at(file) if self._trusts_file else None
        if self._file is None:
            return None
        snapshot = read_snapshot(self._file, model_id, bits)
        if snapshot is None:
            self._file = None
        return snapshot

    def lost(self) -> bool:
        """Return whether the snapshot file was cut or its disk failed since it was mapped.

        Nothing that was computed from the snapshot counts then, and the next one is read from the
        database.
        """
        if self._file is None or self._file.whole():
            return False
        log.warning(
            "%s: the file was cut, or its disk failed; the database is read instead",
            snapshot_path(self._path),
        )
        self._file = self._snapshot = self.index = self._calibration = self._saved = None
        self._trusts_file = False
        return True

    def lags(self, connection: sqlite3.Connection, model_id: str, bits: int) -> bool:
        """Return whether the snapshot file lacks so many codes that the next start takes long."""
        (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM item").fetchone()
        if last < SNAPSHOT_FROM:
            return False
        saved = saved_rows(snapshot_path(self._path), model_id, bits)
        known = saved is not None and in_history(connection, saved[0])
        return bool(last - (saved[1] if saved is not None and known else 0) >= SNAPSHOT_FROM)

    @property
    def calibration(self) -> Calibration | None:
        """How similar strangers and known things are; None without an index.

        It is measured if neither the file has it, nor the gallery is nearly as it was when it was
        measured last. The process that changes a gallery stores it, but a moment later.
        """
        if self._calibration is None and self.index is not None:
            earlier = self._earlier
            if earlier is not None and earlier.holds(self.index):
                return earlier.calibration
            self.measure()
        return self._calibration

    def rank(
        self,
        snapshot: Snapshot,
        embedding: Embedding,
        k: int,
        labels: Collection[str] | None,
        near: QueryPosition | None,
        closer: Embedding | None = None,
    ) -> Ranking | None:
        """See `Gallery.rank`; `snapshot` is the newest one."""
        index, calibration = self.index, self.calibration
        looks = [embedding] if closer is None else [embedding, closer]
        if index is None or calibration is None or any(look.features is None for look in looks):
            return None
        return rank(index, calibration, looks, k, label_ids(snapshot, labels), near)

    def find(
        self,
        snapshot: Snapshot,
        embedding: Embedding,
        k: int,
        labels: Collection[str] | None,
        near: QueryPosition | None,
        closer: Embedding | None = None,
    ) -> Ranking | tuple[Match, ...]:
        """See `Gallery.find`; `snapshot` is the newest one."""
        ranking = self.rank(snapshot, embedding, k, labels, near, closer)
        if ranking is not None:
            return ranking
        return nearest(snapshot, embedding.code, k, label_ids(snapshot, labels), near)

    def measure(self) -> bool:
        """Measure the calibration unless it is known; return whether it is not stored yet."""
        if self._calibration is None and self.index is not None:
            metric = self.index.fit.metric
            self._calibration = measure(self.index, metric, second_look=True).calibration
        return self._calibration is not None and not self._stored

    def store_calibration(self, connection: sqlite3.Connection) -> None:
        """Store the calibration, in a transaction, unless the gallery has changed since."""
        assert self._snapshot is not None and self._calibration is not None
        if latest_generation(connection) == self._snapshot.generation:
            write_calibration(connection, self._snapshot.generation, self._calibration)

    def save(self, model_id: str) -> None:
        """Write the snapshot file of a large gallery, unless it is up to date."""
        snapshot = self._snapshot
        if snapshot is None or snapshot.count < SNAPSHOT_FROM or snapshot.generation == self._saved:
            return
        try:
            save_snapshot(snapshot_path(self._path), snapshot, model_id)
            self._saved = snapshot.generation
        except OSError as error:
            log.warning("%s: cannot write the snapshot file: %s", self._path, error)

    def _remember_calibration(self) -> None:
        if self._calibration is not None and self.index is not None:
            self._earlier = _Earlier(self._calibration, self.index.fit, *_size(self.index))
        self._calibration = None

    def _stored_calibration(
        self, connection: sqlite3.Connection, generation: Generation
    ) -> Calibration | None:
        try:
            return read_calibration(connection, generation)
        except ValueError as error:  # it is measured again
            log.warning("%s: the stored calibration: %s", self._path, error)
            return None

    def _current_fit(self, connection: sqlite3.Connection) -> Fit:
        checksums = fit_checksums(connection)
        if self.index is not None and self.index.fit.checksums == checksums:
            return self.index.fit
        try:
            return read_fit(connection)
        except ValueError as error:
            raise damaged(self._path, f"what was fitted: {error}") from error
