"""The gallery: a board's memory of what it has been shown."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from edge_runtime.code import Code
from edge_runtime.errors import GalleryModelMismatchError, NotEnrolledError
from edge_runtime.gallery import changes, query
from edge_runtime.gallery.content import Content, read_content
from edge_runtime.gallery.labels import check_label
from edge_runtime.gallery.records import Item, Note, Stats
from edge_runtime.gallery.refresh import bring_up_to_date
from edge_runtime.gallery.rows import (
    Generation,
    Meta,
    latest_generation,
    read_meta,
    write_meta,
)
from edge_runtime.gallery.schema import connect, damaged, settle, transaction, translated
from edge_runtime.gallery.snapshot import Snapshot
from edge_runtime.gallery.snapshot_file import load_snapshot, save_snapshot, snapshot_path
from edge_runtime.model import ModelInfo
from edge_runtime.position import QueryPosition
from edge_runtime.types import Match

log = logging.getLogger(__name__)

SNAPSHOT_FROM = 10_000
"""Items from which on a snapshot file is kept: below, loading the rows takes no time."""


class Gallery:
    """Labelled codes in one file, bound to the model that made them.

    A call that changes the gallery has committed when it returns. Changes by other processes are
    picked up by the next `search`. One object serves one thread.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        model: ModelInfo | None = None,
        *,
        create: bool = False,
        read_only: bool = False,
    ) -> None:
        """Open the gallery at `path`; `create` makes it where there is none, and needs `model`.

        Raises `GalleryError` or `StorageError`. Without `model`, it is not checked whose codes
        they are.
        """
        self.path = Path(path)
        self._read_only = read_only
        self._connection = connect(self.path, create=create, read_only=read_only)
        self._snapshot: Snapshot | None = None
        self._saved: Generation | None = None
        self._seen: tuple[int, int] | None = None
        self._closed = False
        self._settled = 0
        """How many changes there had been when the log was emptied."""
        try:
            with translated(self.path):
                self._bind(model)
        except BaseException:
            self._connection.close()
            raise

    def _bind(self, model: ModelInfo | None) -> None:
        try:
            meta = read_meta(self._connection)
            if meta is None and model is not None:
                with transaction(self._connection):
                    write_meta(self._connection, Meta(model.id, model.bits))
                meta = read_meta(self._connection)
        except ValueError as error:
            raise damaged(self.path, f"whose codes it holds cannot be told: {error}") from error
        if meta is None:
            raise damaged(self.path, "it does not say which model it belongs to")
        self.model_id, self.bits = meta.model_id, meta.bits
        if model is not None and self.model_id != model.id:
            raise GalleryModelMismatchError(
                f"its codes were made by model {self.model_id[:12]}, not by {model.id[:12]}",
                where=self.path,
                remedy="use that model with --model, or enrol the photos into another --gallery",
            )

    # -- changes ------------------------------------------------------------------------------

    def enroll(
        self, items: Iterable[Item], notes: Mapping[str, Note] | None = None
    ) -> list[int | None]:
        """Commit all `items`, or none; gives their ids, None for those that were there already.

        `notes` are kept with labels that have nothing like it yet.
        """
        listed = list(items)
        if not listed:
            return []
        batch = changes.Batch(listed, notes or {}, self.bits)
        with self._writing(many=len(listed) > changes.MANY):
            return changes.insert(self._connection, batch)

    def remove(self, *, label: str | None = None, ids: Sequence[int] = ()) -> int:
        """Forget a label with all its items, or single items; gives how many items went.

        Raises `NotEnrolledError`, and then nothing has changed, if any of them is not there.
        """
        with self._writing():
            return changes.delete(self._connection, label, ids)

    def relabel(self, old: str, new: str) -> int:
        """Give all items of `old` the label `new`, joining those it has; gives how many moved.

        A picture that is enrolled under both is kept once. Raises `NotEnrolledError`.
        """
        with self._writing():
            return changes.relabel(self._connection, old, new)

    def merge(self, other: Gallery) -> int:
        """Enrol all that `other` holds, or nothing; gives how many items were new.

        Raises `GalleryModelMismatchError` if its codes were made by another model.
        """
        if (other.model_id, other.bits) != (self.model_id, self.bits):
            raise GalleryModelMismatchError(
                f"its codes were made by model {other.model_id[:12]}, not by {self.model_id[:12]}",
                where=other.path,
                remedy="enrol its photos again with the model that you use now",
            )
        content = other.content()
        ids = self.enroll([item for _, item in content.items], content.notes)
        return len(ids) - ids.count(None)

    def set_note(self, label: str, note: Note) -> None:
        """Keep `note` with `label` in place of what it has; raises `NotEnrolledError`."""
        note.checked(label)
        with self._writing():
            changes.set_note(self._connection, label, note)

    def set_payload(self, label: str, payload: str) -> None:
        """Keep `payload` (JSON text, or empty) with `label`; raises `NotEnrolledError`."""
        self.set_note(label, replace(self.note(label), payload=payload))

    def set_thumbnail(self, label: str, jpeg: bytes) -> None:
        """Keep a small JPEG (or nothing) with `label`; raises `NotEnrolledError`."""
        self.set_note(label, replace(self.note(label), thumbnail=jpeg))

    # -- questions ----------------------------------------------------------------------------

    def known(self, label: str, digest: bytes) -> bool:
        """Whether the picture with this `digest` is enrolled under `label`."""
        with translated(self.path):
            row = self._connection.execute(
                "SELECT id FROM label WHERE name = ?", (check_label(label),)
            ).fetchone()
            return row is not None and changes.has(self._connection, row[0], digest)

    def labels(self) -> dict[str, int]:
        """How many items each label has, by label."""
        with translated(self.path):
            return dict(
                self._connection.execute(
                    "SELECT name, count(item.id) FROM label JOIN item ON label_id = label.id "
                    "GROUP BY label.id ORDER BY name"
                )
            )

    def note(self, label: str) -> Note:
        """What is kept with `label`; raises `NotEnrolledError`."""
        with translated(self.path):
            return changes.note_of(self._connection, label)

    def payload(self, label: str) -> str:
        """The JSON text kept with `label`, or nothing; raises `NotEnrolledError`."""
        return self.note(label).payload

    def thumbnail(self, label: str) -> bytes:
        """The JPEG kept with `label`, or nothing; raises `NotEnrolledError`."""
        return self.note(label).thumbnail

    def stats(self) -> Stats:
        """The gallery in numbers, all of one generation."""
        with translated(self.path), transaction(self._connection, "DEFERRED"):
            items, labels = self._connection.execute(
                "SELECT (SELECT count(*) FROM item), (SELECT count(*) FROM label)"
            ).fetchone()
            generation = latest_generation(self._connection).number
            size = sum(
                file.stat().st_size
                for suffix in ("", "-wal", "-shm", ".codes")
                if (file := self.path.with_name(self.path.name + suffix)).exists()
            )
        return Stats(str(self.path), self.model_id, self.bits, items, labels, int(generation), size)

    def search(
        self,
        code: Code,
        k: int = 5,
        *,
        labels: Collection[str] | None = None,
        near: QueryPosition | None = None,
    ) -> tuple[Match, ...]:
        """The `k` enrolled items nearest to `code` (uint64 [W]): exact, ties by id.

        `labels`: only among these; raises `NotEnrolledError`. `near`: where the query was taken.
        """
        snapshot = self.snapshot()
        return query.nearest(snapshot, code, k, self._label_ids(snapshot, labels), near)

    def within(
        self, code: Code, radius: int, *, labels: Collection[str] | None = None
    ) -> tuple[Match, ...]:
        """All enrolled items within `radius` bits of `code`, nearest first, ties by id."""
        snapshot = self.snapshot()
        return query.within(snapshot, code, radius, self._label_ids(snapshot, labels))

    def sources(self, ids: Sequence[int]) -> dict[int, str]:
        """Where the items with these `ids` came from; items removed meanwhile are left out."""
        marks = ", ".join("?" * len(ids))
        with translated(self.path):
            return dict(
                self._connection.execute(
                    f"SELECT id, source FROM item WHERE id IN ({marks})", list(ids)
                )
            )

    def content(self) -> Content:
        """Everything that it holds, of one generation; raises `GalleryDamagedError`."""
        with translated(self.path), transaction(self._connection, "DEFERRED"):
            return read_content(self._connection, self.path, Meta(self.model_id, self.bits))

    def snapshot(self) -> Snapshot:
        """What is scanned, brought up to date if this or any other process has committed since.

        Both counters that tell live in memory (data_version for others' commits, total_changes for
        ours), so looking at them costs microseconds.
        """
        with translated(self.path):
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
            seen = (version, self._connection.total_changes)
            if self._snapshot is None or seen != self._seen:
                known = self._snapshot
                if known is None:
                    known = load_snapshot(snapshot_path(self.path), self.model_id, self.bits)
                    self._saved = known.generation if known else None
                with transaction(self._connection, "DEFERRED"):
                    self._snapshot = bring_up_to_date(self._connection, self.path, self.bits, known)
                self._seen = seen
        return self._snapshot

    def settle(self) -> None:
        """After changes: leave no log behind that would outlive a replacement of the file."""
        if self._connection.total_changes != self._settled:
            settle(self._connection)
            self._settled = self._connection.total_changes

    def close(self) -> None:
        """Close the file; the object cannot be used afterwards.

        A large gallery that has changed leaves a fresh snapshot behind for the next start.
        """
        if self._closed:
            return
        self._closed = True
        try:
            if not self._read_only:
                self.settle()
                if self._snapshot is not None:
                    self.save_snapshot()
        finally:
            self._connection.close()

    def save_snapshot(self) -> None:
        """Write the snapshot file, where it is worth it; a failure costs only the next start."""
        snapshot = self.snapshot()
        if snapshot.count < SNAPSHOT_FROM or snapshot.generation == self._saved:
            return
        try:
            save_snapshot(snapshot_path(self.path), snapshot, self.model_id)
            self._saved = snapshot.generation
        except OSError as error:
            log.warning("%s: the snapshot could not be written: %s", self.path, error)

    def __enter__(self) -> Gallery:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- inside -------------------------------------------------------------------------------

    @contextmanager
    def _writing(self, *, many: bool = False) -> Iterator[None]:
        """A transaction; `many`: of so many new items that a look for each one's label would cost
        a quarter of the time, though the label was made or found in this very transaction."""
        with translated(self.path):
            if many:
                self._connection.execute("PRAGMA foreign_keys = OFF")
            try:
                with transaction(self._connection):
                    yield
            finally:
                if many:
                    self._connection.execute("PRAGMA foreign_keys = ON")

    def _label_ids(self, snapshot: Snapshot, labels: Collection[str] | None) -> list[int] | None:
        if labels is None:
            return None
        wanted = {check_label(label): label for label in labels}
        ids = {name: number for number, name in snapshot.labels.items() if name in wanted}
        for name, label in wanted.items():
            if name not in ids:
                raise NotEnrolledError(
                    "no such label", where=label, remedy="see: edge-runtime gallery list"
                )
        return list(ids.values())
