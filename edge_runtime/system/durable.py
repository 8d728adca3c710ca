"""Write files that a power cut does not undo once the call has returned.

A file is durable when its bytes and its name are, so its folder is synced, too. Everything is
written beside its place and renamed: after a power cut, the old or the new file is there, whole.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_UNSUPPORTED = (errno.EINVAL, errno.EOPNOTSUPP)
"""What file systems answer that cannot sync a folder."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; at the end of the block, it replaces `path` durably.

    If the block raises, `path` is unchanged and nothing is left beside it. Raises OSError.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        sync_file(temporary)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def write_file(path: Path, data: bytes) -> None:
    """Replace the file `path` by one with `data`, atomically and durably; raises OSError.

    A device, a FIFO or a symbolic link stays what it is: the data is written to it.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        path.write_bytes(data)
        with suppress(OSError):
            sync_file(path)
        return
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def replace_content(path: Path, data: bytes, *, like: Path | None = None) -> None:
    """Write the file `path` as `write_file` does, with the owner and mode of `like` (or of itself).

    Raises OSError, for example if this process may not give a file to that owner. At no time can
    others read more than they could.
    """
    before = (like or path).stat()
    with replacing(path) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(descriptor, before.st_uid, before.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
            file.write(data)


def make_folder(folder: Path) -> None:
    """Create `folder` and its parents durably, where they are missing; raises OSError."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in reversed(missing):
        sync_folder(each.parent)


def sync_file(path: Path) -> None:
    """Make the bytes of the file `path` durable; raises OSError."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable, where the file system can; raises OSError."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Make every file and folder below `folder` durable; raises OSError."""
    for place, _, names in os.walk(folder):
        for name in names:
            if not Path(place, name).is_symlink():
                sync_file(Path(place, name))
        sync_folder(Path(place))


def sync_output(descriptor: int = 1) -> None:
    """Make what was written to `descriptor` durable, if it is a file; raises OSError."""
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.fsync(descriptor)
        with suppress(OSError):
            sync_folder(Path(f"/proc/self/fd/{descriptor}").readlink().parent)
