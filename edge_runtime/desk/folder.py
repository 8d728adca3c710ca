"""The folder of a desk, and the locks that let only one process sign, and one run, at a time.

desk.json       the fleet's name, its broker, limits
desk.sqlite     proposals, decisions, boards, versions
gallery.sqlite  the gallery that is published next
published/      every version as it was published
public/         the signed files; the only folder to serve
keys/           the online keys
root.json       the trusted root, which boards join with
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from edge_runtime.desk.repository import Repository
from edge_runtime.desk.settings import DeskSettings, parse_settings
from edge_runtime.desk.store import Store
from edge_runtime.errors import DeskError, storage_error
from edge_runtime.gallery import Gallery
from edge_runtime.system.files import open_regular

MOST_SETTINGS_BYTES = 1 << 16
LOCK_S = 30.0
"""How long a command waits for another one that signs."""


class Desk:
    """An existing desk; raises `DeskError` if the folder is not one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings = _read_settings(path / "desk.json")
        self.store = Store(path / "desk.sqlite")

    @property
    def gallery_path(self) -> Path:
        """The gallery that is published next. Every command can edit it."""
        return self.path / "gallery.sqlite"

    @property
    def published(self) -> Path:
        """The folder of the versions as they were published."""
        return self.path / "published"

    @property
    def public(self) -> Path:
        """The folder to serve."""
        return self.path / "public"

    @property
    def keys(self) -> Path:
        """The folder of the online keys."""
        return self.path / "keys"

    @property
    def root(self) -> Path:
        """The trusted root, a file that boards join with."""
        return self.path / "root.json"

    def repository(self) -> Repository:
        """Read the signed files; to sign, use `signing`."""
        return Repository(self.public, self.keys, self.root, self.settings.lifetimes)

    def gallery(self, *, read_only: bool = False) -> Gallery:
        """Open the gallery."""
        return Gallery(self.gallery_path, read_only=read_only)

    @contextmanager
    def signing(self) -> Iterator[Repository]:
        """Yield the repository while no other process can sign; raises `DeskError`."""
        with _locked(self.path / ".sign.lock", LOCK_S, "another command signs in this folder"):
            yield self.repository()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let only one process run this desk; raises `DeskError` at once if there is another."""
        with _locked(self.path / ".run.lock", 0.0, "another desk runs in this folder"):
            yield


def _read_settings(path: Path) -> DeskSettings:
    try:
        with open_regular(path) as file:
            return parse_settings(file.read(MOST_SETTINGS_BYTES))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DeskError(
            "not the folder of a desk", where=path.parent, remedy="make one: edge-runtime desk init"
        ) from error
    except OSError as error:
        raise storage_error(error, path) or error from error
    except msgspec.MsgspecError as error:
        raise DeskError(
            f"cannot be used: {error}", where=path, remedy="correct the file"
        ) from error


@contextmanager
def _locked(path: Path, wait_s: float, what: str) -> Iterator[None]:
    """Hold the lock of a file, which ends with the process that holds it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise storage_error(error, path) or error from error
    try:
        end_s = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= end_s:
                    holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
                    raise DeskError(
                        f"{what} (process {holder or 'unknown'})",
                        where=path.parent,
                        remedy="stop it, or wait until it ends",
                    ) from error
                time.sleep(0.05)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
