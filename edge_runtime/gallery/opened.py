"""An open gallery file: its connection, what it keeps in memory, and its transactions."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self, TypeVar

from edge_runtime.database.transaction import transaction
from edge_runtime.errors import (
    EdgeRuntimeError,
    GalleryDamagedError,
    GalleryModelMismatchError,
)
from edge_runtime.gallery.features.memory import GalleryMemory
from edge_runtime.gallery.rows import Meta, bind, check_still_bound, latest_generation
from edge_runtime.gallery.schema import checkpoint, connect, translated
from edge_runtime.gallery.snapshot.packed import Snapshot
from edge_runtime.model import ModelInfo

T = TypeVar("T")


class OpenGallery:
    """A gallery file, bound to the model that computed its codes; `Gallery` is made of it."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        model: ModelInfo | None = None,
        *,
        create: bool = False,
        read_only: bool = False,
    ) -> None:
        """Open the gallery at `path`; `create` makes a missing one, and requires `model`.

        Without `model`, any model's gallery is accepted. Raises `GalleryError` or `StorageError`.
        """
        self.path = Path(path)
        self._read_only = read_only
        self._connection = connect(self.path, create=create, read_only=read_only)
        self._memory = GalleryMemory(self.path)
        self._closed = False
        self._checked: Snapshot | None = None
        """The latest snapshot that is known to belong to the model."""
        self._checkpointed_changes = 0
        """`total_changes` of the connection at the last checkpoint."""
        try:
            with translated(self.path):
                meta = bind(self._connection, self.path, model)
        except BaseException:
            self._connection.close()
            raise
        self.model_id, self.bits = meta.model_id, meta.bits

    @property
    def _meta(self) -> Meta:
        return Meta(self.model_id, self.bits)

    def snapshot(self) -> Snapshot:
        """Return the packed codes, updated if this or another process has committed since."""
        with translated(self.path):
            try:
                snapshot = self._memory.update(self._connection, self.model_id, self.bits)
            except GalleryDamagedError:  # codes of another model may have another length
                if self._memory.lost():
                    return self.snapshot()
                self._check_still_bound()
                raise
            if snapshot is not self._checked:
                self._check_still_bound()
                self._checked = snapshot
        return snapshot

    def _ask(self, question: Callable[[Snapshot], T]) -> T:
        """Return the answer of `question` to the newest snapshot, of which nothing was lost."""
        while True:
            snapshot = self.snapshot()
            try:
                answer = question(snapshot)
            except Exception:
                if not self._memory.lost():  # what is lost reads as zeros, such as no label's id
                    raise
            else:
                if not self._memory.lost():
                    return answer

    def ask(self, question: Callable[[Snapshot, GalleryMemory], T]) -> T:
        """Return the answer of `question` to the newest snapshot and its features.

        Everything in the answer is of one generation. It may be asked again, so it changes nothing.
        """
        return self._ask(lambda snapshot: question(snapshot, self._memory))

    def checkpoint(self) -> None:
        """After changes: empty the write-ahead log, which must not outlive the file."""
        if self._connection.total_changes != self._checkpointed_changes:
            checkpoint(self._connection)
            self._checkpointed_changes = self._connection.total_changes

    def store_calibration(self) -> None:
        """Measure how similar strangers and known things are, and store it for all processes.

        Call it after changes, so that no query has to measure it; `close` does. Raises
        `GalleryError` or `StorageError`.
        """
        with translated(self.path):
            if self._connection.execute("SELECT 1 FROM feature LIMIT 1").fetchone() is None:
                return
        if self._ask(lambda _: self._memory.measure()):
            with self._writing():
                self._memory.store_calibration(self._connection)

    def close(self) -> None:
        """Close the file. The object cannot be used afterwards.

        A gallery that has changed gets its calibration. A large one that was searched, or has many
        new codes, gets a new snapshot file, for a fast next start.
        """
        if self._closed:
            return
        self._closed = True
        try:
            if not self._read_only:
                if self._connection.total_changes:
                    with suppress(EdgeRuntimeError):
                        self.store_calibration()
                self.checkpoint()
                if self._memory.used or self._lags():
                    self.save_snapshot()
        finally:
            self._connection.close()

    def _lags(self) -> bool:
        if not self._connection.total_changes:
            return False
        with translated(self.path):
            return self._memory.lags(self._connection, self.model_id, self.bits)

    def save_snapshot(self) -> None:
        """Write the snapshot file of a large gallery. A failure only slows down the next start."""
        with suppress(GalleryModelMismatchError):
            self._ask(lambda _: self._memory.save(self.model_id))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection in a transaction that sees one generation.

        Raises `GalleryError` or `StorageError`.
        """
        with translated(self.path), transaction(self._connection, "DEFERRED"):
            yield self._connection

    def generation(self) -> int:
        """Return the number of committed changes."""
        with translated(self.path):
            return latest_generation(self._connection).number

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection in a transaction that is committed unless the block raises.

        Raises `GalleryError` or `StorageError`.
        """
        with self._writing():
            yield self._connection

    # -- internals ----------------------------------------------------------------------------

    def _check_still_bound(self) -> None:
        check_still_bound(self._connection, self.path, Meta(self.model_id, self.bits))

    @contextmanager
    def _writing(self, *, many: bool = False) -> Iterator[None]:
        """Run the block in a transaction.

        With `many` new codes, looking up the label of each would take a quarter of the time, even
        though the label was inserted or found in this very transaction. So it is not checked.
        """
        with translated(self.path):
            if many:
                self._connection.execute("PRAGMA foreign_keys = OFF")
            try:
                with transaction(self._connection):
                    self._check_still_bound()
                    yield
            finally:
                if many:
                    self._connection.execute("PRAGMA foreign_keys = ON")
