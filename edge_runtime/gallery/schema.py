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

from edge_runtime.database.soundness import foreign_table, restrict, shown
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
from edge_runtime.gallery.soundness import id_out_of_range
from edge_runtime.lookup.compiled import hamming
from edge_runtime.system.durable import make_folder

APPLICATION_ID = 0x45524731  # "ERG1"
BUSY_TIMEOUT_S = 5.0
CHECKPOINT_TIMEOUT_S = 0.5
PICTURE_INDEX = "CREATE UNIQUE INDEX item_picture ON item (label_id, digest)"
"""A label stores each digest once."""

_STEPS: tuple[tuple[str, ...], ...] = (
    (  # to schema 1
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        """CREATE TABLE label (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        payload TEXT NOT NULL,
        checksum INTEGER NOT NULL
    )""",
        # AUTOINCREMENT never reuses an id: an id in an old log still means the same code.
        """CREATE TABLE item (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        label_id INTEGER NOT NULL REFERENCES label (id),
        code BLOB NOT NULL,
        source TEXT NOT NULL,
        digest BLOB,
        created_at TEXT NOT NULL,
        checksum INTEGER NOT NULL,
        UNIQUE (label_id, digest)
    )""",
        # Every committed change has a number and a random stamp. A snapshot compares both to find
        # out whether it belongs to this history: that of a restored backup is a different one.
        "CREATE TABLE generation (number INTEGER PRIMARY KEY, stamp BLOB NOT NULL)",
        # The codes that were removed or got another label, so that readers reload only these.
        "CREATE TABLE change (generation INTEGER NOT NULL, item_id INTEGER NOT NULL)",
        "CREATE INDEX change_generation ON change (generation)",
    ),
    (  # to schema 2: data that only some labels and codes have
        """CREATE TABLE thumbnail (
        label_id INTEGER PRIMARY KEY REFERENCES label (id) ON DELETE CASCADE,
        jpeg BLOB NOT NULL,
        checksum INTEGER NOT NULL
    )""",
        """CREATE TABLE position (
        item_id INTEGER PRIMARY KEY REFERENCES item (id) ON DELETE CASCADE,
        latitude REAL NOT NULL,
        longitude REAL NOT NULL,
        heading REAL,
        checksum INTEGER NOT NULL
    )""",
    ),
    (  # to schema 3: an index apart from its table, so that it can be dropped for bulk inserts
        "CREATE TEMP TABLE kept_item AS SELECT * FROM item",
        "CREATE TEMP TABLE kept_id AS SELECT seq FROM sqlite_sequence WHERE name = 'item'",
        "DROP TABLE item",
        """CREATE TABLE item (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        label_id INTEGER NOT NULL REFERENCES label (id),
        code BLOB NOT NULL,
        source TEXT NOT NULL,
        digest BLOB,
        created_at TEXT NOT NULL,
        checksum INTEGER NOT NULL
    )""",
        "INSERT INTO item SELECT * FROM kept_item ORDER BY id",
        "DELETE FROM sqlite_sequence WHERE name = 'item'",
        "INSERT INTO sqlite_sequence SELECT 'item', seq FROM kept_id",
        "DROP TABLE kept_item",
        "DROP TABLE kept_id",
        PICTURE_INDEX,
    ),
    (  # to schema 4: what a code fitted to the gallery is made from
        # The features of a code, int8.
        """CREATE TABLE feature (
        item_id INTEGER PRIMARY KEY REFERENCES item (id) ON DELETE CASCADE,
        value BLOB NOT NULL,
        checksum INTEGER NOT NULL
    )""",
        # The picture as the network saw it, kept on the row of the whole picture.
        """CREATE TABLE picture (
        item_id INTEGER PRIMARY KEY REFERENCES item (id) ON DELETE CASCADE,
        jpeg BLOB NOT NULL,
        checksum INTEGER NOT NULL
    )""",
        """CREATE TABLE layer (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        bits INTEGER NOT NULL,
        weights BLOB NOT NULL,
        details TEXT NOT NULL,
        checksum INTEGER NOT NULL
    )""",
    ),
    (  # to schema 5: similarities fitted to the gallery
        """CREATE TABLE metric (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        features INTEGER NOT NULL,
        directions INTEGER NOT NULL,
        folds INTEGER NOT NULL,
        weights BLOB NOT NULL,
        checksum INTEGER NOT NULL
    )""",
        # How similar strangers and known things are, in one generation: no query measures it.
        """CREATE TABLE calibration (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        generation INTEGER NOT NULL,
        stamp BLOB NOT NULL,
        details TEXT NOT NULL,
        checksum INTEGER NOT NULL
    )""",
        # The outcome of the last refit, whether or not something was kept.
        """CREATE TABLE refit (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        details TEXT NOT NULL,
        checksum INTEGER NOT NULL
    )""",
    ),
)
"""The statements from each schema to the next. A new gallery runs all of them, an older one the
remaining steps. A released step is never edited."""
SCHEMA_VERSION = len(_STEPS)


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
            remedy="upgrade edge-runtime",
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
        wrong = foreign_table(connection, _STEPS[:version])
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
    return [statement for step in _STEPS[version:] for statement in step]


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
