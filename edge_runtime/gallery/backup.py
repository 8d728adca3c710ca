"""Copies of a gallery: made of it while it is in use, and brought back in its place."""

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
from edge_runtime.gallery.schema import connect, settle, translated


def backup(path: Path, target: Path) -> None:
    """Copy the gallery, as of one generation and while it may be in use, to the file `target`.

    `target` appears whole or not at all; one that is there already is refused.
    """
    if target.exists():
        raise StorageError("the file is there already", where=target, remedy="name another")
    connection = connect(path, create=False, read_only=True)
    temporary = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    try:
        with translated(target):
            copy = sqlite3.connect(temporary)
            try:
                connection.backup(copy)
                # The copy is one file: it needs no log beside it to be whole.
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
    """Give the gallery `path`, which may be in use, the content of the gallery file `source`.

    One that is damaged is moved away first; gives where to. Whoever has the gallery open sees all
    of the old content or all of the new. Merely to put `source` in the place of the file would not
    do: what stands in the log beside it (NAME-wal) would be taken for a part of the new one.

    Raises `EdgeRuntimeError`, and then the gallery is as it was: `source` is damaged, or `path` is
    another model's.
    """
    if path.exists() and source.exists() and path.samefile(source):
        raise InputError("a gallery is not restored from itself", where=path)
    if findings := verify(source):
        raise GalleryDamagedError(findings[0], where=source, remedy="name another backup")
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
                settle(target)
        finally:
            target.close()
        return old
    finally:
        copy.close()


def _check_same_model(path: Path, target: sqlite3.Connection, copy: sqlite3.Connection) -> None:
    try:
        mine, other = read_meta(target), read_meta(copy)
    except ValueError:  # `copy` is sound: it is replaced
        return
    if mine is not None and other is not None and mine != other:
        raise GalleryModelMismatchError(
            f"its codes were made by model {mine.model_id[:12]}, the copy's by "
            f"{other.model_id[:12]}",
            where=path,
            remedy="restore into another --gallery",
        )
