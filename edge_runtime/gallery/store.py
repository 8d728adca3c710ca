"""The gallery: a board's memory of what it has been shown."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from edge_runtime.code import Code, check_codes, words_of
from edge_runtime.errors import GalleryModelMismatchError, NotEnrolledError
from edge_runtime.gallery.labels import check_label
from edge_runtime.gallery.schema import connect, damaged, transaction, translated
from edge_runtime.lookup import Lookup
from edge_runtime.model import ModelInfo
from edge_runtime.types import Match


@dataclass(frozen=True, eq=False)
class Item:
    """One picture to enrol."""

    label: str
    code: Code
    source: str = ""
    """Where the picture came from, for people."""
    digest: bytes | None = None
    """Of the picture's file: the same one under the same label is enrolled once."""


@dataclass(frozen=True)
class Stats:
    """A gallery in numbers."""

    path: str
    model_id: str
    bits: int
    items: int
    labels: int
    generation: int
    """Counts committed changes."""
    size_bytes: int


@dataclass(frozen=True)
class _Snapshot:
    """What is scanned: derived from the database at one generation, in the order of ids."""

    ids: NDArray[np.int64]
    label_ids: NDArray[np.int64]
    lookup: Lookup
    labels: dict[int, str]


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
        self._connection = connect(self.path, create=create, read_only=read_only)
        self._snapshot: _Snapshot | None = None
        self._seen: tuple[int, int] | None = None
        try:
            with translated(self.path):
                self._bind(model)
        except BaseException:
            self._connection.close()
            raise

    def _bind(self, model: ModelInfo | None) -> None:
        meta = dict(self._connection.execute("SELECT key, value FROM meta"))
        if not meta and model is not None:
            with transaction(self._connection):
                self._connection.executemany(
                    "INSERT OR IGNORE INTO meta VALUES (?, ?)",
                    [("model_id", model.id), ("bits", str(model.bits)), ("generation", "0")],
                )
            meta = dict(self._connection.execute("SELECT key, value FROM meta"))
        try:
            self.model_id, self.bits = meta["model_id"], int(meta["bits"])
        except (KeyError, ValueError) as error:
            raise damaged(self.path, "it does not say which model it belongs to") from error
        if model is not None and self.model_id != model.id:
            raise GalleryModelMismatchError(
                f"its codes were made by model {self.model_id[:12]}, not by {model.id[:12]}",
                where=self.path,
                remedy="use that model with --model, or enrol the photos into another --gallery",
            )

    def enroll(self, items: Iterable[Item]) -> list[int | None]:
        """Commit all `items`, or none; gives their ids, None for those that were there already."""
        checked = [
            (check_label(item.label), check_codes(item.code, self.bits)[0], item) for item in items
        ]
        now = datetime.now(UTC).isoformat(timespec="seconds")
        ids: list[int | None] = []
        with translated(self.path), transaction(self._connection):
            execute = self._connection.execute
            for label, code, item in checked:
                execute("INSERT OR IGNORE INTO label (name) VALUES (?)", (label,))
                (label_id,) = execute("SELECT id FROM label WHERE name = ?", (label,)).fetchone()
                blob = code.astype("<u8").tobytes()
                row = execute(
                    "INSERT INTO item (label_id, code, checksum, source, digest, created_at) "
                    "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING id",
                    (label_id, blob, _checksum(label, blob), item.source, item.digest, now),
                ).fetchone()
                ids.append(row[0] if row else None)
            if any(ids):
                self._count_change()
        return ids

    def known(self, label: str, digest: bytes) -> bool:
        """Whether the picture with this `digest` is enrolled under `label`."""
        with translated(self.path):
            row = self._connection.execute(
                "SELECT 1 FROM item JOIN label ON label.id = label_id "
                "WHERE name = ? AND digest = ?",
                (check_label(label), digest),
            ).fetchone()
        return row is not None

    def remove(self, *, label: str | None = None, ids: Sequence[int] = ()) -> int:
        """Forget a label with all its items, or single items; gives how many items went.

        Raises `NotEnrolledError`, and then nothing has changed, if any of them is not there.
        """
        with translated(self.path), transaction(self._connection):
            execute = self._connection.execute
            removed = 0
            if label is not None:
                row = execute(
                    "SELECT id FROM label WHERE name = ?", (check_label(label),)
                ).fetchone()
                if row is None:
                    raise NotEnrolledError(
                        "no such label", where=label, remedy="see: edge-runtime gallery list"
                    )
                removed += execute("DELETE FROM item WHERE label_id = ?", row).rowcount
            for item_id in ids:
                if not execute("DELETE FROM item WHERE id = ?", (item_id,)).rowcount:
                    raise NotEnrolledError(
                        "no such item", where=item_id, remedy="see: edge-runtime gallery list"
                    )
                removed += 1
            execute("DELETE FROM label WHERE id NOT IN (SELECT label_id FROM item)")
            self._count_change()
        return removed

    def labels(self) -> dict[str, int]:
        """How many items each label has, by label."""
        with translated(self.path):
            return dict(
                self._connection.execute(
                    "SELECT name, count(item.id) FROM label JOIN item ON label_id = label.id "
                    "GROUP BY label.id ORDER BY name"
                )
            )

    def stats(self) -> Stats:
        """The gallery in numbers, all of one generation."""
        with translated(self.path), transaction(self._connection, "DEFERRED"):
            value = self._connection.execute(
                "SELECT (SELECT count(*) FROM item), (SELECT count(*) FROM label), "
                "(SELECT value FROM meta WHERE key = 'generation')"
            ).fetchone()
            size = sum(
                file.stat().st_size
                for suffix in ("", "-wal", "-shm")
                if (file := self.path.with_name(self.path.name + suffix)).exists()
            )
        return Stats(
            str(self.path), self.model_id, self.bits, value[0], value[1], int(value[2]), size
        )

    def search(self, code: Code, k: int = 5) -> tuple[Match, ...]:
        """The `k` enrolled items nearest to `code` (uint64 [W]): exact, ties by id."""
        snapshot = self._current()
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

    def close(self) -> None:
        """Close the file; the object cannot be used afterwards."""
        self._connection.close()

    def __enter__(self) -> Gallery:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _count_change(self) -> None:
        self._connection.execute(
            "UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'generation'"
        )

    def _current(self) -> _Snapshot:
        """The snapshot, made anew if this or any other process has committed since.

        Both counters live in memory (data_version for others' commits, total_changes for ours), so
        looking at them costs microseconds.
        """
        with translated(self.path):
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
            seen = (version, self._connection.total_changes)
            if self._snapshot is None or seen != self._seen:
                self._snapshot = self._load()
                self._seen = seen
        return self._snapshot

    def _load(self) -> _Snapshot:
        with transaction(self._connection, "DEFERRED"):
            labels = dict(self._connection.execute("SELECT id, name FROM label"))
            rows = self._connection.execute(
                "SELECT id, label_id, code, checksum FROM item ORDER BY id"
            ).fetchall()
        width = 8 * words_of(self.bits)
        for item_id, label_id, blob, checksum in rows:
            label = labels.get(label_id, "")
            if len(blob) != width or checksum != _checksum(label, blob):
                raise damaged(self.path, f"the checksum of item {item_id} does not match")
        codes = np.frombuffer(b"".join(row[2] for row in rows), dtype="<u8")
        return _Snapshot(
            ids=np.array([row[0] for row in rows], dtype=np.int64),
            label_ids=np.array([row[1] for row in rows], dtype=np.int64),
            lookup=Lookup(
                codes.reshape(len(rows), words_of(self.bits)).astype(np.uint64, copy=False),
                self.bits,
            ),
            labels=labels,
        )


def _checksum(label: str, blob: bytes) -> int:
    return zlib.crc32(blob, zlib.crc32(label.encode()))


def default_path() -> Path:
    """$EDGE_RUNTIME_GALLERY, else gallery.sqlite in the user's data folder."""
    named = os.environ.get("EDGE_RUNTIME_GALLERY")
    if named:
        return Path(named)
    data = os.environ.get("XDG_DATA_HOME")
    folder = Path(data) if data else Path.home() / ".local" / "share"
    return folder / "edge-runtime" / "gallery.sqlite"
