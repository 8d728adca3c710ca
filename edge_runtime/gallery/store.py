"""The gallery: a board's memory of what it has been shown."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

import numpy as np

from edge_runtime.code import Code, check_codes, words_of
from edge_runtime.errors import GalleryModelMismatchError, LabelError, NotEnrolledError
from edge_runtime.gallery.labels import check_label
from edge_runtime.gallery.records import Item, Stats
from edge_runtime.gallery.refresh import bring_up_to_date
from edge_runtime.gallery.rows import (
    Generation,
    Meta,
    begin_generation,
    latest_generation,
    read_items,
    read_labels,
    read_meta,
    write_items,
    write_label,
    write_meta,
)
from edge_runtime.gallery.schema import connect, damaged, transaction, translated
from edge_runtime.gallery.snapshot import Snapshot, load_snapshot, save_snapshot, snapshot_path
from edge_runtime.model import ModelInfo
from edge_runtime.types import Match

log = logging.getLogger(__name__)

MANY = 1000
"""Items in one call from which on it is faster to ask for all known pictures at once."""
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

    def enroll(self, items: Iterable[Item]) -> list[int | None]:
        """Commit all `items`, or none; gives their ids, None for those that were there already."""
        items = list(items)
        if not items:
            return []
        codes = check_codes([item.code for item in items], self.bits)
        labels = {item.label: check_label(item.label) for item in items}
        blobs = codes.astype("<u8").view(f"V{8 * codes.shape[1]}")[:, 0].tolist()
        now = datetime.now(UTC).isoformat(timespec="seconds")
        ids: list[int | None] = []
        rows: list[tuple[object, ...]] = []
        fresh: set[tuple[int, bytes]] = set()
        with translated(self.path), transaction(self._connection):
            (last,) = self._connection.execute(
                "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'item'"
            ).fetchone()
            label_ids = {text: self._label_id(label) for text, label in labels.items()}
            known = self._digests(set(label_ids.values())) if len(items) > MANY else None
            for item, blob in zip(items, blobs, strict=True):
                label_id = label_ids[item.label]
                if item.digest is not None:
                    key = (label_id, item.digest)
                    if key in fresh or (self._has(*key) if known is None else key in known):
                        ids.append(None)
                        continue
                    fresh.add(key)
                ids.append(last + len(rows) + 1)
                rows.append((ids[-1], label_id, blob, item.source, item.digest, now))
            if rows:
                write_items(self._connection, rows)
                begin_generation(self._connection)
        return ids

    def remove(self, *, label: str | None = None, ids: Sequence[int] = ()) -> int:
        """Forget a label with all its items, or single items; gives how many items went.

        Raises `NotEnrolledError`, and then nothing has changed, if any of them is not there.
        """
        with translated(self.path), transaction(self._connection):
            execute = self._connection.execute
            gone = list(ids)
            if label is not None:
                label_id = self._existing(label)
                gone += [
                    row[0] for row in execute("SELECT id FROM item WHERE label_id = ?", (label_id,))
                ]
            for item_id in gone:
                if not execute("DELETE FROM item WHERE id = ?", (item_id,)).rowcount:
                    raise NotEnrolledError(
                        "no such item", where=item_id, remedy="see: edge-runtime gallery list"
                    )
            execute("DELETE FROM label WHERE id NOT IN (SELECT label_id FROM item)")
            begin_generation(self._connection, gone)
        return len(gone)

    def relabel(self, old: str, new: str) -> int:
        """Give all items of `old` the label `new`, joining those it has; gives how many moved.

        A picture that is enrolled under both is kept once. Raises `NotEnrolledError`.
        """
        new = check_label(new)
        with translated(self.path), transaction(self._connection):
            old_id = self._existing(old)
            if check_label(old) == new:
                raise LabelError("the new label is the old one", where=old, remedy="choose another")
            new_id = self._label_id(new)
            moved = list(read_items(self._connection, "WHERE label_id = ?", (old_id,)))
            self._connection.execute("DELETE FROM item WHERE label_id = ?", (old_id,))
            kept = [row for row in moved if not (row.digest and self._has(new_id, row.digest))]
            write_items(self._connection, [row._replace(label_id=new_id)[:-1] for row in kept])
            self._connection.execute("DELETE FROM label WHERE id = ?", (old_id,))
            begin_generation(self._connection, [row.id for row in moved])
        return len(kept)

    def set_payload(self, label: str, payload: str) -> None:
        """Keep `payload` (JSON text, or empty) with `label`; raises `NotEnrolledError`."""
        with translated(self.path), transaction(self._connection):
            label_id = self._existing(label)
            write_label(self._connection, (label_id, check_label(label), payload))
            begin_generation(self._connection)

    # -- questions ----------------------------------------------------------------------------

    def known(self, label: str, digest: bytes) -> bool:
        """Whether the picture with this `digest` is enrolled under `label`."""
        with translated(self.path):
            row = self._connection.execute(
                "SELECT id FROM label WHERE name = ?", (check_label(label),)
            ).fetchone()
            return row is not None and self._has(row[0], digest)

    def labels(self) -> dict[str, int]:
        """How many items each label has, by label."""
        with translated(self.path):
            return dict(
                self._connection.execute(
                    "SELECT name, count(item.id) FROM label JOIN item ON label_id = label.id "
                    "GROUP BY label.id ORDER BY name"
                )
            )

    def payload(self, label: str) -> str:
        """What was kept with `label`; raises `NotEnrolledError`."""
        with translated(self.path):
            row = self._connection.execute(
                "SELECT payload FROM label WHERE id = ?", (self._existing(label),)
            ).fetchone()
        return str(row[0])

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

    def search(self, code: Code, k: int = 5) -> tuple[Match, ...]:
        """The `k` enrolled items nearest to `code` (uint64 [W]): exact, ties by id."""
        snapshot = self.snapshot()
        rows, distances = snapshot.lookup.nearest(code, k)
        return tuple(
            Match(
                int(snapshot.ids[row]),
                snapshot.labels[int(snapshot.label_ids[row])],
                int(distance),
            )
            for row, distance in zip(rows, distances, strict=True)
        )

    def sources(self, ids: Sequence[int]) -> dict[int, str]:
        """Where the items with these `ids` came from; items removed meanwhile are left out."""
        marks = ", ".join("?" * len(ids))
        with translated(self.path):
            return dict(
                self._connection.execute(
                    f"SELECT id, source FROM item WHERE id IN ({marks})", list(ids)
                )
            )

    def items(self) -> Iterator[tuple[int, Item]]:
        """Every enrolled item with its id, all of one generation; raises `GalleryDamagedError`."""
        width = 8 * words_of(self.bits)
        with translated(self.path), transaction(self._connection, "DEFERRED"):
            names = {label.id: label.name for label in read_labels(self._connection)}
            for row in read_items(self._connection):
                if not row.intact(width) or row.label_id not in names:
                    raise damaged(self.path, f"the checksum of item {row.id} does not match")
                code = np.frombuffer(row.code, "<u8").astype(np.uint64, copy=False)
                yield row.id, Item(names[row.label_id], code, row.source, row.digest)

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

    def close(self) -> None:
        """Close the file; the object cannot be used afterwards.

        A large gallery that has changed leaves a fresh snapshot behind for the next start.
        """
        try:
            if not self._read_only and self._snapshot is not None:
                self.save_snapshot()
        finally:
            self._connection.close()

    def save_snapshot(self) -> None:
        """Write the snapshot file, where it is worth it; a failure costs only the next start."""
        snapshot = self.snapshot()
        if len(snapshot.ids) < SNAPSHOT_FROM or snapshot.generation == self._saved:
            return
        try:
            save_snapshot(snapshot_path(self.path), snapshot, self.model_id)
            self._saved = snapshot.generation
        except OSError as error:
            log.warning("%s: the snapshot could not be written: %s", self.path, error)

    def __enter__(self) -> Gallery:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- inside a transaction -----------------------------------------------------------------

    def _label_id(self, label: str) -> int:
        """Of a label, made if it is new."""
        execute = self._connection.execute
        row = execute("SELECT id FROM label WHERE name = ?", (label,)).fetchone()
        if row is None:
            row = execute("SELECT coalesce(max(id), 0) + 1 FROM label").fetchone()
            write_label(self._connection, (row[0], label, ""))
        return int(row[0])

    def _existing(self, label: str) -> int:
        row = self._connection.execute(
            "SELECT id FROM label WHERE name = ?", (check_label(label),)
        ).fetchone()
        if row is None:
            raise NotEnrolledError(
                "no such label", where=label, remedy="see: edge-runtime gallery list"
            )
        return int(row[0])

    def _digests(self, label_ids: set[int]) -> set[tuple[int, bytes]]:
        return {
            (label_id, row[0])
            for label_id in label_ids
            for row in self._connection.execute(
                "SELECT digest FROM item WHERE label_id = ? AND digest NOT NULL", (label_id,)
            )
        }

    def _has(self, label_id: int, digest: bytes) -> bool:
        found = self._connection.execute(
            "SELECT 1 FROM item WHERE label_id = ? AND digest = ?", (label_id, digest)
        )
        return found.fetchone() is not None
