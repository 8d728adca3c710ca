"""The gallery: the enrolled codes of a device, and the search among them."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from edge_runtime.code import Code
from edge_runtime.errors import GalleryModelMismatchError
from edge_runtime.gallery import changes, query
from edge_runtime.gallery.content import Content, read_content
from edge_runtime.gallery.pictures import count_by_label, count_enrolled, group_ids
from edge_runtime.gallery.records import (
    Counts,
    EnrollCounts,
    LabelData,
    LabeledCode,
    Stats,
    check_label,
)
from edge_runtime.gallery.rows import (
    Generation,
    Meta,
    latest_generation,
    read_meta,
    write_meta,
)
from edge_runtime.gallery.schema import checkpoint, connect, damaged, transaction, translated
from edge_runtime.gallery.snapshot import Snapshot
from edge_runtime.gallery.snapshot_file import load_snapshot, save_snapshot, snapshot_path
from edge_runtime.gallery.snapshot_update import update_snapshot
from edge_runtime.model import ModelInfo, specialist_file
from edge_runtime.position import QueryPosition
from edge_runtime.types import Match

log = logging.getLogger(__name__)

SNAPSHOT_FROM = 10_000
"""From this number of codes, a snapshot file is kept. Below, loading the rows is fast enough."""


class Gallery:
    """Labeled codes in one file, bound to the model that computed them.

    A method that changes the gallery has committed when it returns. The next `search` includes the
    changes of other processes. An object must be used by one thread only.
    """

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
        self._snapshot: Snapshot | None = None
        self._snapshot_version: tuple[int, int] | None = None
        self._saved: Generation | None = None
        self._closed = False
        self._checkpointed_changes = 0
        """`total_changes` of the connection at the last checkpoint."""
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
            raise damaged(self.path, f"cannot read which model it belongs to: {error}") from error
        if meta is None:
            raise damaged(self.path, "the model that it belongs to is not recorded")
        self.model_id, self.bits = meta.model_id, meta.bits
        if model is not None and not model.accepts_codes_of(self.model_id):
            specialist = specialist_file(self.model_id)
            theirs = f"--model models/{specialist}" if specialist else "that model with --model"
            raise GalleryModelMismatchError(
                f"its codes were made by model {self.model_id[:12]}, not by {model.id[:12]}",
                where=self.path,
                remedy=f"use {theirs}, or enroll the photos into another --gallery",
            )

    # -- changes ------------------------------------------------------------------------------

    def enroll(
        self, codes: Iterable[LabeledCode], label_data: Mapping[str, LabelData] | None = None
    ) -> list[int | None]:
        """Commit all `codes`, or none, and return their ids.

        The id is None for a code whose digest its label has already. `label_data` is stored with
        labels that have no such data yet.
        """
        listed = list(codes)
        if not listed:
            return []
        batch = changes.Batch(listed, label_data or {}, self.bits)
        with self._writing(many=len(listed) > changes.MANY):
            return changes.insert(self._connection, batch)

    def enroll_counted(
        self, codes: Sequence[LabeledCode], label_data: Mapping[str, LabelData] | None = None
    ) -> EnrollCounts:
        """Commit all `codes`, or none, and count pictures and codes."""
        return count_enrolled(group_ids(codes, self.enroll(codes, label_data)))

    def remove(self, *, label: str | None = None, ids: Sequence[int] = ()) -> Counts:
        """Remove a label with all its codes, or single codes.

        Returns how many codes were removed, and how many pictures lost all of their codes. Raises
        `NotEnrolledError`, and changes nothing, if the label or one of the codes does not exist.
        """
        with self._writing():
            return changes.delete(self._connection, label, ids)

    def relabel(self, old: str, new: str) -> Counts:
        """Move the codes of the label `old` to `new`; return how many pictures and codes moved.

        A picture that is enrolled under both labels is kept once. Raises `NotEnrolledError`.
        """
        with self._writing():
            return changes.relabel(self._connection, old, new)

    def merge(self, other: Gallery) -> EnrollCounts:
        """Enroll the content of `other`, all or nothing, and count pictures and codes.

        Raises `GalleryModelMismatchError` if its codes were made by another model.
        """
        if (other.model_id, other.bits) != (self.model_id, self.bits):
            raise GalleryModelMismatchError(
                f"its codes were made by model {other.model_id[:12]}, not by {self.model_id[:12]}",
                where=other.path,
                remedy="enroll its photos again with the model that you use now",
            )
        content = other.content()
        return self.enroll_counted([code for _, code in content.codes], content.label_data)

    def set_label_data(self, label: str, data: LabelData) -> None:
        """Replace the data stored with `label`; raises `NotEnrolledError` or `InputError`."""
        data.checked(label)
        with self._writing():
            changes.set_label_data(self._connection, label, data)

    def set_payload(self, label: str, payload: str) -> None:
        """Store `payload` (JSON text, or empty) with `label`; raises `NotEnrolledError`."""
        self.set_label_data(label, replace(self.label_data(label), payload=payload))

    def set_thumbnail(self, label: str, jpeg: bytes) -> None:
        """Store a small JPEG (or none, if empty) with `label`; raises `NotEnrolledError`."""
        self.set_label_data(label, replace(self.label_data(label), thumbnail=jpeg))

    # -- queries ------------------------------------------------------------------------------

    def known(self, label: str, digest: bytes) -> bool:
        """Return whether a code with this `digest` is enrolled under `label`."""
        with translated(self.path):
            row = self._connection.execute(
                "SELECT id FROM label WHERE name = ?", (check_label(label),)
            ).fetchone()
            return row is not None and changes.has(self._connection, row[0], digest)

    def labels(self) -> dict[str, int]:
        """Return the number of codes of each label."""
        with translated(self.path):
            return dict(
                self._connection.execute(
                    "SELECT name, count(item.id) FROM label JOIN item ON label_id = label.id "
                    "GROUP BY label.id ORDER BY name"
                )
            )

    def label_counts(self) -> dict[str, Counts]:
        """Return the number of pictures and codes of each label. This reads every row."""
        with translated(self.path):
            return count_by_label(self._connection)

    def label_data(self, label: str) -> LabelData:
        """Return the data stored with `label`; raises `NotEnrolledError`."""
        with translated(self.path):
            return changes.label_data_of(self._connection, label)

    def payload(self, label: str) -> str:
        """Return the JSON text stored with `label`, or ""; raises `NotEnrolledError`."""
        return self.label_data(label).payload

    def thumbnail(self, label: str) -> bytes:
        """Return the JPEG stored with `label`, or b""; raises `NotEnrolledError`."""
        return self.label_data(label).thumbnail

    def stats(self) -> Stats:
        """Return the gallery in numbers, all of one generation. This reads every row."""
        with translated(self.path), transaction(self._connection, "DEFERRED"):
            counts = count_by_label(self._connection).values()
            generation = latest_generation(self._connection).number
            size = sum(
                file.stat().st_size
                for suffix in ("", "-wal", "-shm", ".codes")
                if (file := self.path.with_name(self.path.name + suffix)).exists()
            )
        return Stats(
            path=str(self.path),
            model_id=self.model_id,
            bits=self.bits,
            pictures=sum(count.pictures for count in counts),
            codes=sum(count.codes for count in counts),
            labels=len(counts),
            generation=int(generation),
            size_bytes=size,
        )

    def search(
        self,
        code: Code,
        k: int = 5,
        *,
        labels: Collection[str] | None = None,
        near: QueryPosition | None = None,
    ) -> tuple[Match, ...]:
        """Return the `k` enrolled pictures nearest to `code` (uint64 [W]): exact, ties by id.

        The match of a picture is the nearest of its codes. `labels` restricts the search to these
        labels; raises `NotEnrolledError`. `near` gives the position of the query.
        """
        snapshot = self.snapshot()
        return query.nearest(snapshot, code, k, query.label_ids(snapshot, labels), near)

    def within(
        self, code: Code, radius: int, *, labels: Collection[str] | None = None
    ) -> tuple[Match, ...]:
        """Return all enrolled codes within `radius` bits of `code`, nearest first, ties by id.

        Unlike in `search`, each code of a picture is a match of its own.
        """
        snapshot = self.snapshot()
        return query.within(snapshot, code, radius, query.label_ids(snapshot, labels))

    def sources(self, ids: Sequence[int]) -> dict[int, str]:
        """Return the source of each code in `ids`, without those that have been removed."""
        marks = ", ".join("?" * len(ids))
        with translated(self.path):
            return dict(
                self._connection.execute(
                    f"SELECT id, source FROM item WHERE id IN ({marks})", list(ids)
                )
            )

    def content(self) -> Content:
        """Return the whole content, of one generation; raises `GalleryDamagedError`."""
        with translated(self.path), transaction(self._connection, "DEFERRED"):
            return read_content(self._connection, self.path, Meta(self.model_id, self.bits))

    def snapshot(self) -> Snapshot:
        """Return the packed codes, updated if this or another process has committed since.

        SQLite keeps both counters that reveal a change in memory: data_version counts the commits
        of others, total_changes our own. The check takes microseconds.
        """
        with translated(self.path):
            (data_version,) = self._connection.execute("PRAGMA data_version").fetchone()
            version = (data_version, self._connection.total_changes)
            if self._snapshot is None or version != self._snapshot_version:
                earlier = self._snapshot
                if earlier is None:
                    earlier = load_snapshot(snapshot_path(self.path), self.model_id, self.bits)
                    self._saved = earlier.generation if earlier else None
                with transaction(self._connection, "DEFERRED"):
                    self._snapshot = update_snapshot(
                        self._connection, self.path, self.bits, earlier
                    )
                self._snapshot_version = version
        return self._snapshot

    def checkpoint(self) -> None:
        """After changes: empty the write-ahead log, which must not outlive the file."""
        if self._connection.total_changes != self._checkpointed_changes:
            checkpoint(self._connection)
            self._checkpointed_changes = self._connection.total_changes

    def close(self) -> None:
        """Close the file. The object cannot be used afterwards.

        A large gallery that has changed gets a new snapshot file, for a fast next start.
        """
        if self._closed:
            return
        self._closed = True
        try:
            if not self._read_only:
                self.checkpoint()
                if self._snapshot is not None:
                    self.save_snapshot()
        finally:
            self._connection.close()

    def save_snapshot(self) -> None:
        """Write the snapshot file of a large gallery. A failure only slows down the next start."""
        snapshot = self.snapshot()
        if snapshot.count < SNAPSHOT_FROM or snapshot.generation == self._saved:
            return
        try:
            save_snapshot(snapshot_path(self.path), snapshot, self.model_id)
            self._saved = snapshot.generation
        except OSError as error:
            log.warning("%s: cannot write the snapshot file: %s", self.path, error)

    def __enter__(self) -> Gallery:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- internals ----------------------------------------------------------------------------

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
                    yield
            finally:
                if many:
                    self._connection.execute("PRAGMA foreign_keys = ON")
