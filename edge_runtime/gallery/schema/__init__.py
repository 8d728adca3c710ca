"""The database file: its tables, its schema versions, and the translation of SQLite's errors.

The SQLite database is authoritative. Its `application_id` identifies a gallery, its `user_version`
is the version of the schema. Write-ahead logging lets readers continue while one writer commits.
With `synchronous = FULL` a commit survives a power cut, not only a crash of the program.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edge_runtime.database.soundness import foreign_table, require_files, restrict, shown
from edge_runtime.database.transaction import transaction
from edge_runtime.errors import (
    GalleryBusyError,
    GalleryDamagedError,
    GalleryError,
    GalleryNotFoundError,
    GallerySchemaError,
    StorageError,
    storage_error,
)
from edge_runtime.gallery.schema.steps import STEPS
from edge_runtime.gallery.soundness import id_out_of_range
from edge_runtime.lookup.compiled import hamming
from edge_runtime.system.durable import make_folder

APPLICATION_ID = 0x45524731  # "ERG1"
BUSY_TIMEOUT_S = 5.0
CHECKPOINT_TIMEOUT_S = 0.5
SCHEMA_VERSION = len(STEPS)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Translate errors of SQLite and the system inside the block; they name `path`."""
    try:
        yield
    except UnicodeDecodeError as error:  # sqlite3 fails to decode its own messages
        raise damaged(path, str(error)) from error
    except sqlite3.ProgrammingError as error:
        raise GalleryError(
            "closed, or opened by another thread",
            where=path,
            remedy="open the gallery in each thread that uses it",
        ) from error
    except (sqlite3.Error, OSError) as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise GalleryBusyError(
                f"locked by another process for {BUSY_TIMEOUT_S:g} s",
                where=path,
                remedy="try again, or find the process with fuser",
            ) from error
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise damaged(path, str(error)) from error
        raise (storage_error(error, path) or damaged(path, str(error))) from error


def damaged(path: Path, what: str) -> GalleryDamagedError:
    """Return the error for a corrupt gallery."""
    return GalleryDamagedError(
        f"corrupt, or not a gallery file: {what}",
        where=path,
        remedy="run edge-runtime gallery restore BACKUP, or enroll into another --gallery",
    )


def connect(
    path: Path, *, create: bool, read_only: bool, migrate: bool = True
) -> sqlite3.Connection:
    """Open the gallery file at `path`; `create` makes a missing one. Raises `EdgeRuntimeError`.

    A file with an older schema is migrated in one transaction. With `migrate` False, a read-only
    connection leaves it as it is. A file that has other tables than its schema version, or ids
    beyond the limits, is refused before anything else in it is used.
    """
    with translated(path):
        if create and not read_only:
            make_folder(path.parent)
        elif not path.exists():
            raise GalleryNotFoundError(
                "no gallery file",
                where=path,
                remedy="enroll photos first: edge-runtime enroll FOLDER",
            )
        connection = _open(path, read_only)
    try:
        with translated(path):
            if hamming is not None:  # SQLite maps its shared memory (NAME-shm), whatever it is told
                hamming.watch(None)
            restrict(connection)
            version = _schema_of(connection, path, create)
            if version:
                _check_sound(connection, path)
            if version < SCHEMA_VERSION:
                _migrate(connection, path, read_only, migrate)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _open(path: Path, read_only: bool) -> sqlite3.Connection:
    require_files(path)
    mode = "ro" if read_only else "rwc"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
    )
    try:
        connection.execute("PRAGMA schema_version")
    except sqlite3.Error as error:
        connection.close()
        wal = path.with_name(path.name + "-wal")
        unwritten = wal.exists() and wal.stat().st_size
        if not isinstance(error, sqlite3.OperationalError) or not read_only or unwritten:
            raise
        # On a read-only disk SQLite cannot create its shared memory file. It does not need one
        # there, since no process can write.
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?immutable=1", uri=True, isolation_level=None
        )
    return connection


def _schema_of(connection: sqlite3.Connection, path: Path, create: bool) -> int:
    """Return the schema version of the file; 0 if the file is empty and `create` allows it."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    version = _version(connection)
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application == 0 and version == 0 and tables == 0:
        if not create:
            raise damaged(path, "the file is empty")
    elif application != APPLICATION_ID:
        raise damaged(path, "a SQLite database of another program")
    elif version < 1:
        raise damaged(path, f"there is no schema {version}")
    elif version > SCHEMA_VERSION:
        raise GallerySchemaError(
            f"schema {version} is newer than this version supports ({SCHEMA_VERSION})",
            where=path,
            remedy="update edge-runtime",
        )
    return version


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def is_current(connection: sqlite3.Connection) -> bool:
    """Return whether the file has this version's schema."""
    return _version(connection) == SCHEMA_VERSION


def _check_sound(connection: sqlite3.Connection, path: Path) -> None:
    """Raise `GalleryDamagedError` for tables or ids that this program did not write."""
    with transaction(connection, "DEFERRED"):  # another process may migrate the file meanwhile
        version = _version(connection)
        wrong = foreign_table(connection, STEPS[:version])
        if wrong is not None:
            raise damaged(
                path, f"the tables do not match schema {version} ({wrong[0]} {shown(wrong[1])})"
            )
        if fault := id_out_of_range(connection):
            raise damaged(path, fault)


def _migrate(connection: sqlite3.Connection, path: Path, read_only: bool, migrate: bool) -> None:
    """Migrate an older or empty file to this version's schema."""
    if read_only:
        if migrate:
            with suppress(StorageError):  # the file cannot be written
                connect(path, create=False, read_only=False).close()
                return
        _stand_in(connection)
        return
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StorageError(
            f"the file system does not support write-ahead logging (got mode {mode})", where=path
        )
    with transaction(connection):
        # The version is read again: another process may have migrated the file already.
        for statement in _statements(_version(connection)):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _stand_in(connection: sqlite3.Connection) -> None:
    """Give this connection empty temporary tables in place of those that an older file lacks."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    for statement in _statements(_version(connection)):
        if statement.startswith("CREATE TABLE") and statement.split()[2] not in tables:
            connection.execute(statement.replace("CREATE TABLE", "CREATE TEMP TABLE"))


def _statements(version: int) -> list[str]:
    """Return the statements from schema `version` to this version's."""
    return [statement for step in STEPS[version:] for statement in step]


def checkpoint(connection: sqlite3.Connection) -> None:
    """Copy committed changes from the log (NAME-wal) into the database file, and empty the log.

    SQLite keeps the log as long as any process has the file open, as a daemon does. If the file is
    replaced then, SQLite applies the log to the new file, which hides or corrupts its content. If
    the checkpoint fails (another process is reading, the disk is full), committed changes are safe
    nevertheless.
    """
    with suppress(sqlite3.Error):
        connection.execute(f"PRAGMA busy_timeout = {CHECKPOINT_TIMEOUT_S * 1000:.0f}")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000:.0f}")
