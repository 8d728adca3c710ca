"""Open files that users name, where a FIFO or a device must never block; ask about folders."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from io import BufferedReader
from pathlib import Path


def open_regular(path: str | os.PathLike[str]) -> BufferedReader:
    """Open the regular file `path` for reading; raises `OSError`.

    Anything else (a FIFO, a socket, a device, a folder) raises `OSError` at once, where `open`
    would wait for a writer. `error.strerror` then names what it is.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket, or a device without a driver
            raise _irregular(Path(path).stat().st_mode, path) from error
        raise
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    raise _irregular(mode, path)


def _irregular(mode: int, path: str | os.PathLike[str]) -> OSError:
    text = f"this is {_kind(mode)}, not a regular file"
    return OSError(errno.ENXIO, text, os.fspath(path))


def not_regular(path: Path) -> str:
    """Return what is at `path` if it is not a regular file, such as "a FIFO"; else empty."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return ""
    if stat.S_ISDIR(mode):
        return "a folder"
    return "" if stat.S_ISREG(mode) else _kind(mode)


def _kind(mode: int) -> str:
    kinds = ((stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"))
    return next((name for test, name in kinds if test(mode)), "a device")


def has_folder(where: object) -> bool:
    """Return whether the parent folder of the file `where` exists; True if that is unknown."""
    try:
        return Path(str(where)).parent.exists()
    except OSError:
        return True


def is_full(where: object) -> bool:
    """Return whether the disk of the file `where` has less than 16 KiB left."""
    try:
        disk = os.statvfs(Path(str(where)).absolute().parent)
        return disk.f_bavail * disk.f_frsize < 1 << 14
    except OSError:
        return False


def discard(path: Path) -> None:
    """Remove what a failed attempt left at `path`. Raises nothing, as that would hide its error."""
    with suppress(OSError):
        path.unlink()


def describe_pointer(head: bytes) -> tuple[str, str] | None:
    """Return what a file beginning with `head` is, and the remedy; None if it is none of these."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    start = text[:64].lower()
    if text.startswith(b"version https://git-lfs.github.com"):
        return "a Git LFS pointer, not the file itself", "fetch the file itself: git lfs pull"
    if b"/annex/objects/" in head or head.startswith(b"/annex/"):
        return "a git-annex pointer, not the file itself", "fetch the file itself: git annex get"
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<!--")):
        return (
            "a web page, not the file itself",
            "download the file behind the link, not the page that shows it",
        )
    return None
