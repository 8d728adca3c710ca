"""Back up and restore a gallery while it is in use."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from edge_runtime.errors import (
    GalleryDamagedError,
    GalleryModelMismatchError,
    InputError,
    StorageError,
)
from edge_runtime.gallery.maintenance import set_aside, verify
from edge_runtime.gallery.rows import read_meta
from edge_runtime.gallery.schema import checkpoint, connect, is_current, translated
from edge_runtime.gallery.upkeep.ownership import (
    Ownership,
    check_can_give,
    create_like,
    ownership_for,
    ownership_of,
)
from edge_runtime.system.durable import replacing
from edge_runtime.system.files import discard


def backup(path: Path, target: Path) -> None:
    """Copy one generation of the gallery, which may be in use, to the new file `target`.

    `target` is written atomically and durably, with the mode of the gallery. An existing file is
    refused.
    """
    if target.exists():
        raise StorageError("file exists", where=target, remedy="choose another name")
    connection = connect(path, create=False, read_only=True)
    try:
        with translated(target), replacing(target) as temporary:
            mode = ownership_of(path)
            if mode is not None:
                create_like(temporary, Ownership(os.geteuid(), os.getegid(), mode.mode))
            copy = sqlite3.connect(temporary)
            try:
                connection.backup(copy)
                # The copy must be complete without a log file beside it.
                copy.execute("PRAGMA journal_mode = DELETE")
            finally:
                copy.close()
    finally:
        connection.close()


def restore(path: Path, source: Path, *, any_model: bool = False) -> Path | None:
    """Replace the content of the gallery `path`, which may be in use, by that of `source`.

    Readers see either all of the old content or all of the new. A corrupt gallery is moved away
    first; the return value is its new path. Copying `source` over the file would not be enough:
    SQLite would apply the old log beside it (NAME-wal) to the new file. The gallery keeps its owner
    and mode; a missing one that root restores gets the owner of its folder. `source` is only read.

    Raises `EdgeRuntimeError` if `source` is corrupt, or without `any_model` if `path` belongs to
    another model. The gallery is then unchanged.
    """
    if path.exists() and source.exists() and path.samefile(source):
        raise InputError(
            "a gallery cannot be restored from itself", where=path, remedy="name a backup"
        )
    if faults := verify(source):
        raise GalleryDamagedError(faults[0], where=source, remedy="use another backup")
    with _opened(source, path) as copy:
        with translated(path):
            ownership = ownership_for(path)
        target, old = _open_target(path, ownership)
        with closing(target), translated(path):
            if not any_model:
                _check_same_model(path, target, copy)
            copy.backup(target)
            checkpoint(target)
        return old


@contextmanager
def _opened(source: Path, path: Path) -> Iterator[sqlite3.Connection]:
    """Open a backup without changing it. That of an older version is migrated in a copy."""
    with closing(connect(source, create=False, read_only=True, migrate=False)) as connection:
        if is_current(connection):
            yield connection
            return
        migrated = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            with translated(migrated), closing(sqlite3.connect(migrated)) as copy:
                connection.backup(copy)
            with closing(connect(migrated, create=False, read_only=False)) as copy:
                yield copy
        finally:
            for suffix in ("", "-wal", "-shm", "-journal"):
                discard(migrated.with_name(migrated.name + suffix))


def _open_target(path: Path, ownership: Ownership | None) -> tuple[sqlite3.Connection, Path | None]:
    """Open the gallery to restore; return also the new path of a corrupt one."""
    old = None
    if path.exists():
        try:
            return connect(path, create=True, read_only=False), None
        except GalleryDamagedError:
            check_can_give(path, ownership)
            with translated(path):
                old = set_aside(path)
    if ownership is not None:
        with translated(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            create_like(path, ownership)
    return connect(path, create=True, read_only=False), old


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
