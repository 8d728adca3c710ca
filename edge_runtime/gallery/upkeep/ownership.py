"""The owner and mode of a gallery file, which the file that takes its place keeps.

A gallery of a service is often restored by an administrator. If the new file were theirs, the
service could not write it any longer.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

from edge_runtime.errors import StorageError


class Ownership(NamedTuple):
    """Who owns a file, and its mode."""

    user: int
    group: int
    mode: int


def ownership_of(path: Path) -> Ownership | None:
    """Return the ownership of the file at `path`, None if there is no file; raises OSError."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return Ownership(status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode))


def ownership_for(path: Path) -> Ownership | None:
    """Return the ownership that a new gallery at `path` gets; None: that of the caller.

    The file at `path` has precedence. A new file that root makes belongs to its folder's owner.
    """
    present = ownership_of(path)
    if present is not None or os.geteuid():
        return present
    folder = ownership_of(path.parent)
    return folder and folder._replace(mode=0o666 & folder.mode)


def check_can_give(path: Path, ownership: Ownership | None) -> None:
    """Raise `StorageError` unless this process may make files of this ownership."""
    user = os.geteuid()
    if ownership is not None and user not in (0, ownership.user):
        raise StorageError(
            f"a new file would belong to user {user}, this one belongs to user {ownership.user}",
            where=path,
            remedy="run the command as the owner, or as root",
        )


def create_like(path: Path, ownership: Ownership) -> None:
    """Create the empty file `path` with this ownership; raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        give(descriptor, ownership)
    finally:
        os.close(descriptor)


def give(descriptor: int, ownership: Ownership) -> None:
    """Give an open file this ownership; raises OSError. Without root, the owner stays."""
    if os.geteuid() == 0:
        os.fchown(descriptor, ownership.user, ownership.group)
    elif ownership.group in os.getgroups():
        os.fchown(descriptor, -1, ownership.group)
    os.fchmod(descriptor, ownership.mode)  # last: chown clears bits of the mode
