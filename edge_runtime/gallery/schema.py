"""The gallery's file: tables, versions, and how its faults become ours.

One SQLite database is the truth. `application_id` says that it is a gallery, `user_version` which
schema it has. Write-ahead logging lets readers go on while one writer commits, and `synchronous =
FULL` makes a commit survive a power cut, not just a crash of ours.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edge_runtime.errors import (
    GalleryBusyError,
    GalleryDamagedError,
    GalleryError,
    GalleryNotFoundError,
    GallerySchemaError,
    StorageError,
    storage_error,
)

APPLICATION_ID = 0x45524731  # "ERG1"
BUSY_TIMEOUT_S = 5.0
SETTLE_TIMEOUT_S = 0.5
PICTURE_INDEX = "CREATE UNIQUE INDEX item_picture ON item (label_id, digest)"
"""A label has a picture once."""

_STEPS: tuple[tuple[str, ...], ...] = (
    (  # to schema 1
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        """CREATE TABLE label (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        payload TEXT NOT NULL,
        checksum INTEGER NOT NULL
    )""",
        # Ids are never given twice (AUTOINCREMENT): an id in an old log still means that item.
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
        # Every committed change has a number and a random stamp: what was derived at one of them
        # can tell whether it still belongs to this history (a restored backup has another one).
        "CREATE TABLE generation (number INTEGER PRIMARY KEY, stamp BLOB NOT NULL)",
        # Which items went or got another label, so that readers need not load everything anew.
        "CREATE TABLE change (generation INTEGER NOT NULL, item_id INTEGER NOT NULL)",
        "CREATE INDEX change_generation ON change (generation)",
    ),
    (  # to schema 2: what only some labels and items have
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
    (  # to schema 3: the index apart from its table, so that many items can go in without it
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
)
"""What leads from each schema to the next. A new gallery takes all of it, an old one the rest; what
has been released is never edited."""
SCHEMA_VERSION = len(_STEPS)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's and the system's errors inside the block into ours, naming `path`."""
    try:
        yield
    except UnicodeDecodeError as error:  # sqlite3 lets this one out of its own messages
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
                f"another process has held it for {BUSY_TIMEOUT_S:g} s",
                where=path,
                remedy="try again, or see who has it open: fuser",
            ) from error
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise damaged(path, str(error)) from error
        raise (storage_error(error, path) or damaged(path, str(error))) from error


def damaged(path: Path, what: str) -> GalleryDamagedError:
    """The error for a gallery whose bytes are not what was written."""
    return GalleryDamagedError(
        f"damaged, or no gallery: {what}",
        where=path,
        remedy="edge-runtime gallery restore BACKUP, or enrol into a new one with --gallery",
    )


def connect(path: Path, *, create: bool, read_only: bool) -> sqlite3.Connection:
    """Open the gallery file at `path`, making it first if `create`; raises `EdgeRuntimeError`.

    A file of an older schema is brought up to date, in one transaction.
    """
    with translated(path):
        if create and not read_only:
            path.parent.mkdir(parents=True, exist_ok=True)
        elif not path.exists():
            raise GalleryNotFoundError(
                "no gallery here yet",
                where=path,
                remedy="enrol photos first: edge-runtime enroll FOLDER",
            )
        connection = _open(path, read_only)
    try:
        with translated(path):
            version = _recognise(connection, path, create)
            if version < SCHEMA_VERSION:
                _advance(connection, path, read_only)
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
        # A read-only disk: SQLite cannot make its shared memory file, and need not, since nobody
        # can be writing.
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?immutable=1", uri=True, isolation_level=None
        )
    return connection


def _recognise(connection: sqlite3.Connection, path: Path, create: bool) -> int:
    """The schema that the file has; 0: it is empty, and may be made a gallery."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    version = _version(connection)
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application == 0 and version == 0 and tables == 0:
        if not create:
            raise damaged(path, "the file is empty")
    elif application != APPLICATION_ID:
        raise damaged(path, "it is a SQLite database of another program")
    elif version > SCHEMA_VERSION:
        raise GallerySchemaError(
            f"written by a newer version (schema {version}, this version knows {SCHEMA_VERSION})",
            where=path,
            remedy="upgrade edge-runtime",
        )
    return version


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _advance(connection: sqlite3.Connection, path: Path, read_only: bool) -> None:
    """Bring an older file (or an empty one) to this version's schema."""
    if read_only:
        try:
            connect(path, create=False, read_only=False).close()
        except StorageError:
            # It may not be written: this connection has what is missing for itself, and empty.
            if not has_expected_tables(connection):
                raise damaged(path, "its tables are not those of its version") from None
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
            for statement in _statements(_version(connection)):
                if statement.startswith("CREATE TABLE") and statement.split()[2] not in tables:
                    connection.execute(statement.replace("CREATE TABLE", "CREATE TEMP TABLE"))
        return
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StorageError(f"its file system cannot do write-ahead logging (mode {mode})")
    with transaction(connection):
        # Asked again: another process may have been faster since we looked.
        for statement in _statements(_version(connection)):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _statements(version: int) -> list[str]:
    """What leads from schema `version` to this version's."""
    return [statement for step in _STEPS[version:] for statement in step]


def has_expected_tables(connection: sqlite3.Connection) -> bool:
    """Whether tables and indexes are to the letter those of the schema that the file claims."""
    query = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name"
    fresh = sqlite3.connect(":memory:", isolation_level=None)
    try:
        for step in _STEPS[: _version(connection)]:
            for statement in step:
                fresh.execute(statement)
        return connection.execute(query).fetchall() == fresh.execute(query).fetchall()
    finally:
        fresh.close()


@contextmanager
def transaction(connection: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    """All of the block, or nothing of it."""
    connection.execute(f"BEGIN {kind}")
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def settle(connection: sqlite3.Connection) -> None:
    """Bring what is committed from the log (NAME-wal) into the file itself, and empty the log.

    SQLite leaves it as long as anyone has the file open, as a daemon has; and if the file is
    replaced then, takes it for the log of the new one, whose content it hides or spoils. Where this
    fails (another is reading just now, the disk is full), all that is committed is safe still.
    """
    with suppress(sqlite3.Error):
        connection.execute(f"PRAGMA busy_timeout = {SETTLE_TIMEOUT_S * 1000:.0f}")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000:.0f}")
