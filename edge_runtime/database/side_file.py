"""A SQLite file beside the gallery that the daemon can do without.

A damaged one is renamed and a new one begins, because nothing else depends on it. The file of
another program is never touched. Write-ahead logging lets readers continue while one writer
commits; with `synchronous = FULL` a commit survives a power cut. Only the daemon's user may read
the file, and what was deleted is overwritten: it may contain pictures of a home.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edge_runtime.database.soundness import foreign_table, require_files, restrict, shown
from edge_runtime.database.transaction import transaction
from edge_runtime.errors import EdgeRuntimeError, StorageError, storage_error
from edge_runtime.shortage import shortage
from edge_runtime.system.durable import make_folder, sync_folder

log = logging.getLogger(__name__)

BUSY_TIMEOUT_S = 5.0
LOG_BYTES = 1 << 20
"""The write-ahead log is cut to this size, and copied into the file at a quarter of it."""
MOST_ASIDE = 3
"""Damaged files that are kept. The newest replaces the last one."""


class DamagedError(Exception):
    """The file is corrupt, or was not written by this program."""


class SideFile:
    """The place and the schema of such a file. Any thread may open connections."""

    def __init__(self, path: Path, application_id: int, steps: tuple[tuple[str, ...], ...]) -> None:
        """`steps`: the statements from each schema version to the next, as in a gallery."""
        self.path = path
        self._application_id = application_id
        self._steps = steps

    def open(self) -> sqlite3.Connection:
        """Open the file to write, and create it if it is missing or damaged.

        Raises `StorageError`, also for the database of another program.
        """
        with self.translated():
            make_folder(self.path.parent)
            for _ in range(2):
                try:
                    return self._connect()
                except (sqlite3.DatabaseError, DamagedError) as error:
                    if not is_damage(error):
                        raise
                    self.set_aside(str(error))
            return self._connect()

    def open_to_read(self) -> sqlite3.Connection | None:
        """Open the file to read; None if there is none. Raises `StorageError` or `DamagedError`."""
        with self.translated():
            if not self.path.is_file():
                return None
            require_files(self.path)
            connection = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode=ro",
                uri=True,
                timeout=BUSY_TIMEOUT_S,
                isolation_level=None,
            )
            try:
                restrict(connection)
                if not self._version(connection):
                    connection.close()
                    return None
            except BaseException:
                connection.close()
                raise
        return connection

    def set_aside(self, why: str) -> None:
        """Rename a damaged file, so that a new one can begin; raises OSError."""
        numbers = range(1, MOST_ASIDE + 1)
        names = [self.path.with_name(f"{self.path.name}.damaged-{number}") for number in numbers]
        aside = next((name for name in names if not name.exists()), names[-1])
        self.path.replace(aside)
        for ending in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                self.path.with_name(self.path.name + ending).replace(
                    aside.with_name(aside.name + ending)
                )
        log.warning("%s: %s; it was renamed to %s, a new one begins", self.path, why, aside.name)

    @property
    def size_bytes(self) -> int:
        """What the file and those beside it take."""
        found = 0
        for file in self._files():
            with suppress(OSError):
                found += file.stat().st_size
        return found

    def remove(self) -> None:
        """Delete the file, also what was renamed because it was damaged.

        Nothing may have it open to write. Raises `StorageError`, also for the file of another
        program.
        """
        with self.translated():
            with suppress(DamagedError):  # ours, but nobody can read it
                if connection := self.open_to_read():
                    connection.close()
            for file in self._files():
                file.unlink(missing_ok=True)
            sync_folder(self.path.parent)

    def _files(self) -> Iterator[Path]:
        names = ["", *(f".damaged-{number}" for number in range(1, MOST_ASIDE + 1))]
        for name in names:
            for ending in ("", "-wal", "-shm"):
                yield self.path.with_name(f"{self.path.name}{name}{ending}")

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Translate errors of SQLite and the system inside the block; they name the file.

        Raises `DamagedError` for a damaged file.
        """
        try:
            yield
        except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
            if is_damage(error):
                raise DamagedError(str(error)) from error
            raise self._fault(error) from error

    def _fault(self, error: Exception) -> EdgeRuntimeError:
        if fault := shortage(error, self.path):
            return fault
        if isinstance(error, sqlite3.Error | OSError) and (
            fault := storage_error(error, self.path)
        ):
            return fault
        return StorageError(f"cannot be used: {error}", where=self.path)

    def _connect(self) -> sqlite3.Connection:
        require_files(self.path)
        # SQLite gives its other files the mode of this one.
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            restrict(connection)
            version = self._version(connection)
            if not version:
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
            (page,) = connection.execute("PRAGMA page_size").fetchone()
            connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_BYTES // 4 // page}")
            if version < len(self._steps):
                self._migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _version(self, connection: sqlite3.Connection) -> int:
        """Return the schema version, 0 if the file is empty; raises `DamagedError`."""
        with transaction(connection, "DEFERRED"):
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if application == version == tables == 0:
                return 0
            if application != self._application_id:
                raise StorageError(
                    "a SQLite database of another program",
                    where=self.path,
                    remedy="choose another path",
                )
            if not 1 <= version <= len(self._steps):
                raise DamagedError(f"there is no schema {version}")
            wrong = foreign_table(connection, self._steps[:version])
            if wrong is not None:
                raise DamagedError(
                    f"the tables do not match schema {version} ({wrong[0]} {shown(wrong[1])})"
                )
            return int(version)

    def _migrate(self, connection: sqlite3.Connection) -> None:
        with transaction(connection):
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            for step in self._steps[version:]:
                for statement in step:
                    connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {self._application_id}")
            connection.execute(f"PRAGMA user_version = {len(self._steps)}")


def is_damage(error: BaseException) -> bool:
    """Return whether the content of the file caused `error`."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return isinstance(error, DamagedError | UnicodeDecodeError) or code in (
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_CORRUPT,
    )
