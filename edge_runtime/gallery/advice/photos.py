"""Check the pixels of enrolled pictures: from the kept picture, else from the photo's file."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

from edge_runtime.errors import PhotoError
from edge_runtime.gallery.advice.report import FaultyPhoto, PhotoCheck, PictureName
from edge_runtime.gallery.pictures import DIGEST_BYTES
from edge_runtime.image.decode import SUFFIXES, decode_photo
from edge_runtime.image.quality import photo_fault

LARGEST_BYTES = 1 << 26
"""Largest file of a photo that is read."""


def check_photos(
    connection: sqlite3.Connection, pictures: list[PictureName], skipped: int
) -> PhotoCheck:
    """Check `pictures`; `skipped` others are only counted."""
    faulty, unavailable = [], 0
    for picture in pictures:
        data = _kept(connection, picture.id) or _file(connection, picture)
        try:
            fault = photo_fault(decode_photo(data)) if data else None
        except PhotoError:
            data = b""
        if not data:
            unavailable += 1
        elif fault is not None:
            faulty.append(FaultyPhoto(picture, fault))
    return PhotoCheck(len(pictures) - unavailable, unavailable, skipped, tuple(faulty))


def _kept(connection: sqlite3.Connection, item_id: int) -> bytes:
    row = connection.execute("SELECT jpeg FROM picture WHERE item_id = ?", (item_id,)).fetchone()
    return bytes(row[0]) if row else b""


def _file(connection: sqlite3.Connection, picture: PictureName) -> bytes:
    """Return the file that was enrolled, or nothing if it is gone or has changed.

    A source is only a text that an import may have brought. So it must be the absolute path of a
    regular file, and its content must be what was enrolled.
    """
    path = Path(picture.source)
    if not path.is_absolute() or path.suffix.lower() not in SUFFIXES:
        return b""
    row = connection.execute("SELECT digest FROM item WHERE id = ?", (picture.id,)).fetchone()
    try:
        if not row or not row[0] or not path.is_file() or path.stat().st_size > LARGEST_BYTES:
            return b""
        data = path.read_bytes()
    except (OSError, ValueError):
        return b""
    return data if hashlib.sha256(data).digest() == bytes(row[0])[:DIGEST_BYTES] else b""
