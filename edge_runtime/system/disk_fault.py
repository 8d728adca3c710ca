"""What an error of the system or of SQLite says about the disk, in words."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.system.files import has_folder, is_full

if TYPE_CHECKING:  # loaded only with a gallery; an engine alone does not need it
    import sqlite3

SQLITE_PATH_BYTES = 500
"""SQLite opens paths of at most 512 bytes, with the endings of its own files."""


def disk_fault(error: OSError | sqlite3.Error, where: object) -> tuple[str, str] | None:
    """Return what is wrong with the disk or path, and the remedy; None for another cause.

    `where` is the path that was used.
    """
    if not isinstance(error, OSError):
        import sqlite3

        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        cause = {
            sqlite3.SQLITE_FULL: errno.ENOSPC,
            sqlite3.SQLITE_READONLY: errno.EROFS,
            sqlite3.SQLITE_CANTOPEN: errno.EACCES,
            sqlite3.SQLITE_IOERR: errno.EIO,
            sqlite3.SQLITE_PERM: errno.EACCES,
        }.get(code)
        if (
            code == sqlite3.SQLITE_CANTOPEN
            and len(os.fsencode(Path(str(where)).absolute())) > SQLITE_PATH_BYTES
        ):
            return (
                f"the path has more than {SQLITE_PATH_BYTES} bytes, and SQLite opens no longer one",
                "use a shorter path",
            )
        if cause == errno.EIO and is_full(where):  # SQLite does not always report it
            cause = errno.ENOSPC
        if code == sqlite3.SQLITE_CANTOPEN and not has_folder(where):
            cause = errno.ENOENT
    else:
        cause = error.errno
    what, remedy = {
        errno.ENOSPC: ("the disk is full", "free some space and try again"),
        errno.EDQUOT: ("the disk quota is used up", "free some space and try again"),
        errno.EFBIG: ("the file has reached the size limit", "raise the file size limit"),
        errno.EROFS: ("the file or disk is read-only", "make it writable, or choose another path"),
        errno.EACCES: ("permission denied", "check the owner and mode of the file and its folder"),
        errno.EPERM: ("permission denied", "check the owner and mode of the file and its folder"),
        errno.ENAMETOOLONG: ("the path is too long", "use a shorter path"),
        errno.ELOOP: ("the symbolic links form a circle", "check the path"),
        errno.EIO: ("the disk reported an I/O error", "check the disk's free space and health"),
        errno.EEXIST: ("part of the path is not a folder", "check the path"),
        errno.ENOTDIR: ("part of the path is not a folder", "check the path"),
        errno.EISDIR: ("this is a folder, not a file", "pass the path of a file"),
        errno.ENOENT: ("no such file or folder", "check the path"),
    }.get(cause or 0, ((error.strerror or str(error)) if isinstance(error, OSError) else "", ""))
    return (what, remedy) if what else None
