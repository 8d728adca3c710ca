"""Back up and restore a gallery while it is in use."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from edge_runtime.errors import (
    EdgeRuntimeError,
    GalleryDamagedError,
    GalleryModelMismatchError,
    InputError,
    StorageError,
    discard,
)
from edge_runtime.gallery.maintenance import set_aside, verify
from edge_runtime.gallery.rows import read_meta
from edge_runtime.gallery.schema import checkpoint, connect, translated


def backup(path: Path, target: Path) -> None:
    """Copy one generation of the gallery, which may be in use, to the new file `target`.

    `target` is written atomically. An existing file is refused.
    """
    if target.exists():
        raise StorageError("file exists", where=target, remedy="choose another name")
    connection = connect(path, create=False, read_only=True)
    temporary = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    try:
        with translated(target):
            copy = sqlite3.connect(temporary)
            try:
                connection.backup(copy)
                # The copy must be complete without a log file beside it.
                copy.execute("PRAGMA journal_mode = DELETE")
            finally:
                copy.close()
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(target)
    except EdgeRuntimeError:
        discard(temporary)
        raise
    finally:
        connection.close()


def restore(path: Path, source: Path) -> Path | None:
    """Replace the content of the gallery `path`, which may be in use, by that of `source`.

    Readers see either all of the old content or all of the new. A corrupt gallery is moved away
    first; the return value is its new path. Copying `source` over the file would not be enough:
    SQLite would apply the old log beside it (NAME-wal) to the new file.

    Raises `EdgeRuntimeError` if `source` is corrupt or `path` belongs to another model. The gallery
    is then unchanged.
    """
    if path.exists() and source.exists() and path.samefile(source):
        raise InputError(
            "a gallery cannot be restored from itself", where=path, remedy="name a backup"
        )
    if faults := verify(source):
        raise GalleryDamagedError(faults[0], where=source, remedy="use another backup")
    copy = connect(source, create=False, read_only=True)
    try:
        old = None
        try:
            target = connect(path, create=True, read_only=False)
        except GalleryDamagedError:
            with translated(path):
                old = set_aside(path)
            target = connect(path, create=True, read_only=False)
        try:
            with translated(path):
                _check_same_model(path, target, copy)
                copy.backup(target)
                checkpoint(target)
        finally:
            target.close()
        return old
    finally:
        copy.close()


def _check_same_model(path: Path, target: sqlite3.Connection, copy: sqlite3.Connection) -> None:
    try:
        mine, other = read_meta(target), read_meta(copy)
    except ValueError:  # `copy` is intact, so the target is corrupt and may be replaced
        return
    if mine is not None and other is not None and mine != other:
        raise GalleryModelMismatchError(
            f"its codes were made by model {mine.model_id[:12]}, those of the backup by "
            f"{other.model_id[:12]}",
            where=path,
            remedy="restore into another --gallery",
        )
