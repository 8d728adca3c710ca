"""The journal of an output: what is known of each photo, in a SQLite file beside it.

A commit survives kill -9 and a power cut. Photos that a run found have its number, so that photos
which are no longer there leave the output, and their codes are still known if they return. A photo
is hashed again when its size or its time of change differs.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from edge_runtime.batch.tree import Found
from edge_runtime.batch.work import Failed, Hashed, Method, Outcome, Task
from edge_runtime.database.side_file import DamagedError, SideFile
from edge_runtime.database.transaction import transaction
from edge_runtime.errors import GalleryModelMismatchError, InputError, StorageError

APPLICATION_ID = 0x45524A31  # "ERJ1"
STEPS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE run (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        number INTEGER NOT NULL,
        model_id TEXT NOT NULL,
        bits INTEGER NOT NULL,
        features INTEGER NOT NULL,
        views INTEGER NOT NULL
    )""",
        """CREATE TABLE photo (
        path BLOB PRIMARY KEY,
        label TEXT NOT NULL,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        run INTEGER NOT NULL,
        state INTEGER NOT NULL,
        digest BLOB,
        what TEXT,
        remedy TEXT
    ) WITHOUT ROWID""",
        """CREATE TABLE code (
        digest BLOB PRIMARY KEY,
        codes BLOB NOT NULL,
        features BLOB NOT NULL
    ) WITHOUT ROWID""",
    ),
)
"""The statements from each schema to the next. A released step is never edited."""
WAITING, HASHED, FAILED = 0, 1, 2
"""States of a photo."""
PAGE = 1000
"""Photos that are read from or written to the journal at a time."""


class Counts(NamedTuple):
    """The photos of a run, by state."""

    waiting: int
    hashed: int
    failed: int
    digests: int
    """Different photos among those that are hashed."""


def journal_path(output: Path) -> Path:
    """Return the path of the journal of the file `output`."""
    return output.with_name(output.name + ".journal")


class Journal:
    """The open journal. Only one process can have it open."""

    def __init__(self, output: Path, method: Method) -> None:
        """Open the journal of `output`, or begin one, and begin a run.

        Raises `StorageError`, also if another process has it open; `GalleryModelMismatchError` if
        its codes come from another model; `InputError` if they were made with other options, or
        if `output` is a file of another program.
        """
        self.output = output
        self.method = method
        self._file = SideFile(journal_path(output), APPLICATION_ID, STEPS)
        if output.exists() and not self._file.path.exists():
            raise InputError(
                "the file exists, and there is no journal of it",
                where=output,
                remedy="choose another path, or delete the file",
            )
        with self._guarded():
            self._connection = self._file.open()
        try:
            self._run = self._begin()
        except BaseException:
            self._connection.close()
            raise

    def _begin(self) -> int:
        with self._guarded():
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            with transaction(self._connection):
                self._connection.execute(
                    "INSERT OR IGNORE INTO run VALUES (1, 0, ?, ?, ?, ?)", self.method
                )
                number, *values = self._connection.execute(
                    "SELECT number, model_id, bits, features, views FROM run"
                ).fetchone()
                self._check(Method(*values))
                self._connection.execute("UPDATE run SET number = ?", (number + 1,))
        return int(number) + 1

    def _check(self, found: Method) -> None:
        remedy = f"choose another output, or delete {self.output.name} and {self._file.path.name}"
        if (found.model_id, found.bits) != (self.method.model_id, self.method.bits):
            raise GalleryModelMismatchError(
                f"its codes were made by model {found.model_id[:12]}, not by "
                f"{self.method.model_id[:12]}",
                where=self.output,
                remedy=remedy,
            )
        if found != self.method:
            raise InputError(
                f"its codes were made with other options ({_options(found)})",
                where=self.output,
                remedy=remedy,
            )

    def add(self, found: Iterable[Found | Failed]) -> Iterator[int]:
        """Enter the photos that this run finds; yield their number from time to time."""
        count, entries = 0, iter(found)
        while page := list(islice(entries, PAGE)):
            with self._guarded(), transaction(self._connection):
                for entry in page:
                    if isinstance(entry, Found):
                        self._connection.execute(_FOUND_SQL, (*entry, self._run))
                        count += 1
                    else:
                        self._connection.execute(_FAULT_SQL, (*entry, self._run))
            yield count

    def waiting(self) -> Iterator[Task]:
        """Yield the photos of this run that are to be hashed."""
        last = b""
        while True:
            with self._guarded():
                page = self._connection.execute(
                    "SELECT path FROM photo WHERE path > ? AND run = ? AND state = ? "
                    "ORDER BY path LIMIT ?",
                    (last, self._run, WAITING, PAGE),
                ).fetchall()
            if not page:
                return
            for (path,) in page:
                yield Task(path, os.fsdecode(path))
            last = path

    def record(self, outcomes: Iterable[Outcome]) -> int:
        """Store outcomes durably; return the number of photos whose digest was not known."""
        new = 0
        with self._guarded(), transaction(self._connection):
            for each in outcomes:
                if isinstance(each, Hashed):
                    new += self._connection.execute(
                        "INSERT OR IGNORE INTO code VALUES (?, ?, ?)",
                        (each.digest, each.codes, each.features),
                    ).rowcount
                    values: tuple[object, ...] = (HASHED, each.digest, None, None, each.photo)
                else:
                    values = (FAILED, None, each.what, each.remedy, each.photo)
                self._connection.execute(
                    "UPDATE photo SET state = ?, digest = ?, what = ?, remedy = ? WHERE path = ?",
                    values,
                )
        return new

    def counts(self) -> Counts:
        """Return the counts of this run."""
        with self._guarded():
            states = dict(
                self._connection.execute(
                    "SELECT state, count(*) FROM photo WHERE run = ? GROUP BY state", (self._run,)
                )
            )
            (digests,) = self._connection.execute(
                "SELECT count(DISTINCT digest) FROM photo WHERE run = ? AND state = ?",
                (self._run, HASHED),
            ).fetchone()
        return Counts(
            waiting=states.get(WAITING, 0),
            hashed=states.get(HASHED, 0),
            failed=states.get(FAILED, 0),
            digests=digests,
        )

    def failures(self) -> Iterator[tuple[str, str, str]]:
        """Yield the path, the fault and the remedy of each photo that failed, sorted by path."""
        with self._guarded():
            for path, what, remedy in self._connection.execute(
                "SELECT path, what, remedy FROM photo WHERE run = ? AND state = ? ORDER BY path",
                (self._run, FAILED),
            ):
                yield os.fsdecode(path), what, remedy

    def select(self) -> int:
        """Choose for each digest the first of its photos, for `rows`; return their number."""
        with self._guarded():
            self._connection.execute("DROP TABLE IF EXISTS temp.chosen")
            self._connection.execute(
                "CREATE TEMP TABLE chosen AS SELECT min(path) AS path, label, digest FROM photo "
                "WHERE run = ? AND state = ? GROUP BY digest ORDER BY min(path)",
                (self._run, HASHED),
            )
            (count,) = self._connection.execute("SELECT count(*) FROM chosen").fetchone()
        return int(count)

    def rows(self, columns: str) -> Iterator[tuple[Any, ...]]:
        """Yield `columns` (SQL) of the chosen photos and their codes, sorted by path."""
        with self._guarded():
            yield from self._connection.execute(
                f"SELECT {columns} FROM chosen CROSS JOIN code ON code.digest = chosen.digest "
                "ORDER BY chosen.rowid"
            )

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            with self._file.translated():
                yield
        except DamagedError as error:
            raise StorageError(
                f"the journal is damaged: {error}",
                where=self._file.path,
                remedy="delete it and the output, and start again",
            ) from error
        except StorageError as error:
            code = getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise StorageError(
                    "another run writes this output",
                    where=self.output,
                    remedy="wait until it ends, or choose another output",
                ) from error
            raise


def _options(method: Method) -> str:
    views = f"{method.views} views" if method.views > 1 else "1 view"
    return f"{views}, {'with' if method.features else 'without'} features"


_FOUND_SQL = f"""INSERT INTO photo (path, label, size, mtime_ns, run, state)
    VALUES (?1, ?2, ?3, ?4, ?5, {WAITING})
    ON CONFLICT (path) DO UPDATE SET label = ?2, size = ?3, mtime_ns = ?4, run = ?5, state =
        CASE WHEN state = {HASHED} AND size = ?3 AND mtime_ns = ?4
        THEN {HASHED} ELSE {WAITING} END"""
_FAULT_SQL = f"""INSERT INTO photo (path, label, size, mtime_ns, run, state, what, remedy)
    VALUES (?1, '', -1, -1, ?4, {FAILED}, ?2, ?3)
    ON CONFLICT (path) DO UPDATE
    SET run = ?4, state = {FAILED}, size = -1, what = ?2, remedy = ?3"""
