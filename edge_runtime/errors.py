"""Everything that can go wrong, as one tree; each family ends the command with its own exit code.

    EdgeRuntimeError                 1
    ├── InputError                   3   what the caller handed in
    │   ├── PhotoError                   not an image, truncated, too small, too large
    │   ├── NoPhotosError                a folder without photos
    │   ├── LabelError                   empty, too long, slashes, control characters
    │   ├── CodeError                    a code of the wrong width or type
    │   └── ConfigError                  a configuration file that cannot be used: file, line, key
    ├── ModelError                   4   the hash network
    │   ├── ModelNotFoundError           no such file, and where we looked
    │   ├── ModelInvalidError            corrupt, or not a hash network
    │   ├── BundleInvalidError           damaged, incomplete, or of a newer format
    │   ├── BundleMismatchError          made for another CPU
    │   └── EngineError                  the engine cannot be loaded, or failed while running
    ├── GalleryError                 5   the board's memory
    │   ├── GalleryNotFoundError         no such gallery
    │   ├── GalleryModelMismatchError    its codes were made by another model
    │   ├── GalleryDamagedError          not a gallery, or a checksum does not match
    │   ├── GallerySchemaError           written by a newer version
    │   ├── GalleryBusyError             another writer holds it for too long
    │   └── NotEnrolledError             the label or item to remove is not there
    ├── StorageError                 6   disk full, read-only, no permission
    ├── CameraError                  7   the source of frames
    │   ├── CameraNotFoundError          no such device, file, folder or address
    │   ├── CameraSilentError            opened, but no frame came in time
    │   └── CameraLostError              frames came, then stopped
    ├── ReportError                  8   a measurement that could not be made, a report unfit to use
    ├── ServiceError                 11  the daemon's surroundings
    │   ├── ExtraMissingError            a package that an option needs is not installed
    │   ├── ServeError                   the page and API cannot be served here
    │   ├── BusyError                    more requests than it can take on
    │   └── SinkError                    an event could not be delivered
    ├── CompileError                 10  a bundle that could not be made
    │   ├── TargetError                  no such device, or its description is malformed
    │   ├── ToolchainError               a compiler or TVM is missing or unfit
    │   └── NetworkUnsupportedError      an operator that the compiler does not know
    └── BoardError                   12  a board that is to be tested
        ├── BoardUnreachableError        ssh does not get there
        ├── BoardUnfitError              another CPU, no Python, no room
        └── BoardLostError               it went away in the middle

Further exit codes: 0 done, 2 wrong usage, 9 a budget was missed, a check failed or the demo did
not reach its bar, 130 interrupted. docs/ERRORS.md lists them for users; a test compares.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:  # a gallery loads it; an engine alone does not need it
    import sqlite3

EXIT_CHECK_FAILED = 9
EXIT_INTERRUPTED = 130


class EdgeRuntimeError(Exception):
    """One clear line: where it happened, what was wrong, what to do.

    `where` names the file, device, label or option; `what` the fault; `remedy` the next step.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: object = "", remedy: str = "") -> None:
        self.what = " ".join(what.split())
        self.where = str(where)
        self.remedy = remedy
        line = f"{self.where}: {self.what}" if self.where else self.what
        super().__init__(f"{line} ({remedy})" if remedy else line)


class InputError(EdgeRuntimeError):
    """What the caller handed in cannot be used."""

    exit_code = 3


class PhotoError(InputError):
    """A file that is not a usable photo."""


class NoPhotosError(InputError):
    """A folder in which no photo was found."""


class LabelError(InputError):
    """A label that cannot name a place or an object."""


class CodeError(InputError):
    """A code whose width or type does not fit."""


class ConfigError(InputError):
    """A configuration file that cannot be used."""


class ModelError(EdgeRuntimeError):
    """The hash network cannot be used."""

    exit_code = 4


class ModelNotFoundError(ModelError):
    """No model file where one was looked for."""


class ModelInvalidError(ModelError):
    """A file that is corrupt or is no hash network."""


class BundleInvalidError(ModelError):
    """A bundle that is damaged, incomplete, or of a newer format."""


class BundleMismatchError(ModelError):
    """A bundle that was made for another CPU."""


class BundleUnverifiedError(ModelError):
    """The compiler could not verify this bundle, and nobody allowed it."""


class EngineError(ModelError):
    """The engine cannot be loaded, or failed while it ran."""


class GalleryError(EdgeRuntimeError):
    """The gallery cannot be used."""

    exit_code = 5


class GalleryNotFoundError(GalleryError):
    """No gallery at this path."""


class GalleryModelMismatchError(GalleryError):
    """The gallery's codes were made by another model."""


class GalleryDamagedError(GalleryError):
    """Not a gallery, or a checksum that does not match."""


class GallerySchemaError(GalleryError):
    """A gallery written by a newer version."""


class GalleryBusyError(GalleryError):
    """Another process held the gallery for too long."""


class NotEnrolledError(GalleryError):
    """The label or item is not in the gallery."""


class StorageError(EdgeRuntimeError):
    """The disk is full, read-only, or not ours to write."""

    exit_code = 6


class CameraError(EdgeRuntimeError):
    """The source of frames cannot be used."""

    exit_code = 7


class CameraNotFoundError(CameraError):
    """No such device, file, folder or address."""


class CameraSilentError(CameraError):
    """The camera opened but gave no frame in time."""


class CameraLostError(CameraError):
    """The camera gave frames and then stopped."""


class ReportError(EdgeRuntimeError):
    """A measurement that could not be made, or a report that cannot be used."""

    exit_code = 8


class ServiceError(EdgeRuntimeError):
    """The daemon's surroundings are not as its configuration needs them."""

    exit_code = 11


class ExtraMissingError(ServiceError):
    """A package that an option needs is not installed."""


class ServeError(ServiceError):
    """The page and API cannot be served here."""


class BusyError(ServiceError):
    """More requests at once than the daemon can take on."""


class SinkError(ServiceError):
    """An event could not be delivered."""

    def __init__(
        self, what: str, *, where: object = "", remedy: str = "", retry: bool = True
    ) -> None:
        """`retry`: whether it may work later."""
        super().__init__(what, where=where, remedy=remedy)
        self.retry = retry


class CompileError(EdgeRuntimeError):
    """A bundle cannot be made."""

    exit_code = 10


class TargetError(CompileError):
    """No such device, or its description is malformed."""


class ToolchainError(CompileError):
    """A compiler or TVM is missing or unfit."""


class NetworkUnsupportedError(CompileError):
    """An operator that the compiler does not know."""


class BoardError(EdgeRuntimeError):
    """A board that is to be tested cannot be."""

    exit_code = 12


class BoardUnreachableError(BoardError):
    """ssh does not get there."""


class BoardUnfitError(BoardError):
    """Another CPU, no Python, no room."""


class BoardLostError(BoardError):
    """It went away in the middle."""


def storage_error(error: OSError | sqlite3.Error, where: object) -> StorageError | None:
    """`error` as a `StorageError` if the disk is the cause, else None."""
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
        if cause == errno.EIO and _is_full(where):  # SQLite does not always say so itself
            cause = errno.ENOSPC
        if code == sqlite3.SQLITE_CANTOPEN and not _has_folder(where):
            cause = errno.ENOENT
    else:
        cause = error.errno
    what, remedy = {
        errno.ENOSPC: ("the disk is full", "free some space, then run it again"),
        errno.EDQUOT: ("the disk quota is used up", "free some space, then run it again"),
        errno.EFBIG: ("the file may not grow any further", "raise the file size limit"),
        errno.EROFS: ("it cannot be written", "make the disk or file writable, or choose another"),
        errno.EACCES: ("permission denied", "check the owner and mode of the file and its folder"),
        errno.EPERM: ("permission denied", "check the owner and mode of the file and its folder"),
        errno.EIO: ("the disk reported an I/O error", "check its space and health"),
        errno.EEXIST: ("part of the path is not a folder", "check the path"),
        errno.ENOTDIR: ("part of the path is not a folder", "check the path"),
        errno.EISDIR: ("it is a folder", "name a file"),
        errno.ENOENT: ("no such file or folder", "check the path"),
    }.get(cause or 0, (str(error) if isinstance(error, OSError) else "", ""))
    return StorageError(what, where=where, remedy=remedy) if what else None


def discard(path: Path) -> None:
    """Remove what an attempt that failed may have left in the file `path`; raises nothing.

    Where a disk is read-only, or part of the path is no folder, removing fails as writing did, and
    must not hide why.
    """
    with suppress(OSError):
        path.unlink()


def _has_folder(where: object) -> bool:
    """Whether the folder that the file `where` should lie in is there, or cannot be seen."""
    try:
        return Path(str(where)).parent.exists()
    except OSError:
        return True


def _is_full(where: object) -> bool:
    """Whether the disk that holds the file `where` has no room for a page or two."""
    try:
        disk = os.statvfs(Path(str(where)).absolute().parent)
        return disk.f_bavail * disk.f_frsize < 1 << 14
    except OSError:
        return False
