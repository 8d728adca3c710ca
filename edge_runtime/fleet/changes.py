"""What operations do to the rows of a gallery, inside one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edge_runtime.fleet.content import codes_of, find_picture, read_numbered
from edge_runtime.fleet.kinds import Add, Label, Operation, Reject, Relabel, Remove
from edge_runtime.gallery.changes import Batch, add_label_data, insert, label_data_of, label_id
from edge_runtime.gallery.features.rows import read_picture
from edge_runtime.gallery.pictures import DIGEST_BYTES, KEY_SQL, row_key, view_digest
from edge_runtime.gallery.records import LabelData
from edge_runtime.gallery.rows import (
    Meta,
    begin_generation,
    checksum_of,
    read_items,
    write_label,
    write_thumbnail,
)
from edge_runtime.gallery.shared import PENDING, SHARED, mark_shared

PART = 150
"""Pictures that are inserted at a time, and in memory."""
_TOUCHED = 5_000
"""Ids of codes that are reported to readers at a time."""


@dataclass
class Counts:
    """What versions did, in pictures."""

    added: int = 0
    removed: int = 0
    moved: int = 0
    accepted: int = 0
    """Pending ones that are shared now."""
    dropped: int = 0
    """Pending ones that were rejected, or accepted under another label."""


class Changes:
    """Applies operations in their order; `finish` completes the last ones."""

    def __init__(self, connection: sqlite3.Connection, path: Path, meta: Meta) -> None:
        """Read which pictures are pending, so that no operation has to search for them."""
        self._connection, self._path, self._meta = connection, path, meta
        self.counts = Counts()
        self.changed = False
        self._touched: list[int] = []
        self._waiting: dict[tuple[str, bytes], tuple[Add, bytes]] = {}
        """Pictures to insert, each with its kept JPEG."""
        self._pending: dict[bytes, dict[str, list[int]]] = {}
        """Ids of codes by digest and label."""
        self._new_lists()
        for ids, add in read_numbered(connection, path, meta, PENDING):
            self._pending.setdefault(add.digest, {})[add.label] = ids

    def apply(self, operations: Iterable[Operation], *, full: bool) -> None:
        """Apply the operations of one version. After a full file, nothing else is shared."""
        if full:
            self._begin_full()
        for operation in operations:
            match operation:
                case Add():
                    self._add(operation)
                case Remove(label, digest):
                    self._flush()
                    self._remove(label, digest)
                case Relabel(old, new):
                    self._flush()
                    self._relabel(old, new)
                case Label():
                    self._flush()
                    self._label(operation)
                case Reject(digest):
                    self._flush()
                    self._drop(digest)
        self._flush()
        if full:
            self._end_full()

    def finish(self) -> None:
        """Remove the data of labels without shared pictures, and labels without any picture."""
        execute = self._connection.execute
        used = f"EXISTS (SELECT 1 FROM item WHERE label_id = label.id AND {SHARED})"
        for (owner,) in execute(
            f"SELECT label.id FROM label JOIN shared_label ON label_id = label.id WHERE NOT {used}"
        ).fetchall():
            self._withdraw(owner)
        empty = "NOT EXISTS (SELECT 1 FROM item WHERE label_id = label.id)"
        if execute(f"DELETE FROM label WHERE {empty}").rowcount:
            self.changed = True
        if self.changed:
            begin_generation(self._connection, self._touched)

    # -- pictures -----------------------------------------------------------------------------

    def _add(self, add: Add) -> None:
        key = (add.label, add.digest)
        if key in self._waiting:
            self._flush()
        owner = self._owner(add.label)
        found, was_shared = self._found(owner, add)
        if found is not None and replace(found[1], source=add.source) == add:
            ids = found[0]
            if not was_shared:
                self.changed = True
                self.counts.accepted += 1
                self._give_digest(ids, add.digest)
            mark_shared(self._connection, ids)
            self._keep(ids)
        else:
            jpeg = b""
            if found is not None:
                jpeg = read_picture(self._connection, found[0][0])
                self._delete(found[0])
                self.counts.accepted += not was_shared
            self.counts.added += found is None
            self._waiting[key] = (add, jpeg)
            if len(self._waiting) >= PART:
                self._flush()
        self._pending.get(add.digest, {}).pop(add.label, None)
        if not was_shared:
            self._drop(add.digest)

    def _found(self, owner: int | None, add: Add) -> tuple[tuple[list[int], Add] | None, bool]:
        """Return the stored picture with the label and the digest, and whether it is shared."""
        if owner is None:
            return None, False
        label = (owner, add.label)
        found = find_picture(self._connection, self._path, self._meta, label, add.digest)
        if found is None:  # a frame of a camera, whose rows have no digest yet
            ids = self._pending.get(add.digest, {}).get(add.label)
            if ids is None:
                return None, False
            marks = ", ".join("?" * len(ids))
            which = f"item.id IN ({marks})"
            for found in read_numbered(self._connection, self._path, self._meta, which, ids):
                return found, False
            return None, False
        marks = ", ".join("?" * len(found[0]))
        (shared,) = self._connection.execute(
            f"SELECT count(*) FROM shared WHERE item_id IN ({marks})", found[0]
        ).fetchone()
        return found, shared > 0

    def _give_digest(self, ids: Sequence[int], digest: bytes) -> None:
        for view, item_id in enumerate(ids):
            (row,) = read_items(self._connection, "WHERE id = ?", (item_id,))
            if row.digest is None or len(row.digest) < DIGEST_BYTES:
                values = row._replace(digest=view_digest(digest, view))[:-1]
                self._connection.execute(
                    "UPDATE item SET digest = ?, checksum = ? WHERE id = ?",
                    (values[4], checksum_of(values), item_id),
                )
                self._touch([item_id])

    def _flush(self) -> None:
        """Insert the waiting pictures."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, {}
        bits = self._meta.bits
        codes = [code for add, jpeg in waiting.values() for code in codes_of(add, bits, jpeg)]
        ids = insert(self._connection, Batch(codes, {}, self._meta.bits), in_parts=True)
        mark_shared(self._connection, (each for each in ids if each is not None))
        self.changed = True

    def _drop(self, digest: bytes) -> None:
        """Remove the pending pictures with this digest."""
        for ids in self._pending.pop(digest, {}).values():
            self._delete(ids)
            self.counts.dropped += 1

    def _remove(self, label: str, digest: bytes | None) -> None:
        owner = self._owner(label)
        if owner is None:
            return
        rows = read_items(self._connection, f"WHERE label_id = ? AND NOT ({PENDING})", (owner,))
        if digest is not None:
            rows = read_items(
                self._connection,
                f"WHERE label_id = ? AND digest BETWEEN ? AND ? AND NOT ({PENDING})",
                (owner, digest, digest + DIGEST_BYTES * b"\xff"),
            )
        found = [(row.id, row_key(row)) for row in rows]
        self._delete([item_id for item_id, _ in found])
        self.counts.removed += len({key for _, key in found})

    def _delete(self, ids: Sequence[int]) -> None:
        if ids:
            self._connection.executemany("DELETE FROM item WHERE id = ?", ((i,) for i in ids))
            self._touch(ids)

    def _relabel(self, old: str, new: str) -> None:
        """Move the pictures of `old`; of two with one digest, a shared one of `new` stays."""
        source = self._owner(old)
        if source is None or old == new:
            return
        rows = list(read_items(self._connection, "WHERE label_id = ?", (source,)))
        if not rows:
            return
        target = label_id(self._connection, new)
        present = dict(self._keys(target))
        mine = dict(self._keys(source))
        gone = {key for key, shared in present.items() if not shared and mine.get(key)}
        for digest in gone:
            self._delete(self._pending.get(digest, {}).pop(new, []))
        kept = present.keys() - gone
        moved = []
        for row in rows:
            if row.digest is not None and row_key(row) in kept:
                continue
            values = row._replace(label_id=target)[:-1]
            moved.append((target, checksum_of(values), row.id))
        ids = {item_id for *_, item_id in moved}
        self._delete([row.id for row in rows if row.id not in ids])
        self._connection.executemany(
            "UPDATE item SET label_id = ?, checksum = ? WHERE id = ?", moved
        )
        self._touch([row.id for row in rows])
        self.counts.moved += len({row_key(row) for row in rows if row.id in ids})
        for by_label in self._pending.values():
            if old in by_label:
                ids_of = by_label.pop(old)
                if set(ids_of) <= ids:
                    by_label[new] = ids_of
        if not self._marked(source) and not self._marked(target):
            data = label_data_of(self._connection, old)
            add_label_data(self._connection, [(new, data)])

    def _keys(self, owner: int) -> Iterable[tuple[bytes, bool]]:
        """Yield the digests of the pictures of a label, and whether each is shared."""
        return self._connection.execute(
            f"SELECT substr(digest, 1, {DIGEST_BYTES}), max({SHARED}) FROM item "
            "WHERE label_id = ? AND digest NOT NULL GROUP BY 1",
            (owner,),
        ).fetchall()

    # -- labels -------------------------------------------------------------------------------

    def _label(self, operation: Label) -> None:
        owner = self._owner(operation.label)
        if owner is None:
            return
        named = "id NOT IN (SELECT item_id FROM temp.stale)"
        used = f"SELECT 1 FROM item WHERE label_id = ? AND {named} AND {SHARED}"
        if self._connection.execute(used, (owner,)).fetchone() is None:
            return
        self._connection.execute("DELETE FROM temp.stale_label WHERE label_id = ?", (owner,))
        if not (operation.payload or operation.thumbnail):
            if self._marked(owner):
                self._withdraw(owner)
            return
        data = LabelData(operation.payload, operation.thumbnail).checked(operation.label)
        self._connection.execute("INSERT OR IGNORE INTO shared_label VALUES (?)", (owner,))
        if label_data_of(self._connection, operation.label) != data:
            self._store(owner, operation.label, data)

    def _withdraw(self, owner: int) -> None:
        """Remove the data that a version gave to a label."""
        (name,) = self._connection.execute(
            "SELECT name FROM label WHERE id = ?", (owner,)
        ).fetchone()
        self._connection.execute("DELETE FROM shared_label WHERE label_id = ?", (owner,))
        self._store(owner, name, LabelData())

    def _store(self, owner: int, name: str, data: LabelData) -> None:
        write_label(self._connection, (owner, name, data.payload))
        write_thumbnail(self._connection, owner, data.thumbnail)
        self.changed = True

    def _owner(self, label: str) -> int | None:
        row = self._connection.execute("SELECT id FROM label WHERE name = ?", (label,)).fetchone()
        return None if row is None else int(row[0])

    def _marked(self, owner: int) -> bool:
        rows = self._connection.execute("SELECT 1 FROM shared_label WHERE label_id = ?", (owner,))
        return rows.fetchone() is not None

    # -- full files ---------------------------------------------------------------------------

    def _begin_full(self) -> None:
        """Remember all that is shared, to remove what the file does not name."""
        self._new_lists()
        execute = self._connection.execute
        execute("INSERT INTO temp.stale SELECT item_id FROM shared")
        execute("INSERT INTO temp.stale_label SELECT label_id FROM shared_label")

    def _new_lists(self) -> None:
        for table, column in (("stale", "item_id"), ("stale_label", "label_id")):
            self._connection.execute(f"DROP TABLE IF EXISTS temp.{table}")
            self._connection.execute(f"CREATE TEMP TABLE {table} ({column} INTEGER PRIMARY KEY)")

    def _keep(self, ids: Sequence[int]) -> None:
        self._connection.executemany(
            "DELETE FROM temp.stale WHERE item_id = ?", ((i,) for i in ids)
        )

    def _end_full(self) -> None:
        execute = self._connection.execute
        stale = "item.id IN (SELECT item_id FROM temp.stale)"
        (count,) = execute(
            f"SELECT count(*) FROM (SELECT DISTINCT label_id, {KEY_SQL} FROM item WHERE {stale})"
        ).fetchone()
        if count:
            self.counts.removed += count
            self.changed = True
            rows = execute(f"SELECT id FROM item WHERE {stale}")
            begin_generation(self._connection, (item_id for (item_id,) in rows))
            execute(f"DELETE FROM item WHERE {stale}")
        for (owner,) in execute("SELECT label_id FROM temp.stale_label").fetchall():
            if self._marked(owner):
                self._withdraw(owner)
        self._new_lists()

    def _touch(self, ids: Sequence[int]) -> None:
        """Report removed or moved codes to readers."""
        self.changed = True
        self._touched += ids
        if len(self._touched) >= _TOUCHED:
            begin_generation(self._connection, self._touched)
            self._touched = []
