"""Change the configuration file while the daemon runs, and take the change back."""

from __future__ import annotations

import glob
import hashlib
import os
import stat
import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_runtime.errors import ConfigError, ConfigLockedError, EdgeRuntimeError, storage_error
from edge_runtime.settings.read import MAX_BYTES, parse_settings
from edge_runtime.settings.schema import Settings
from edge_runtime.system.durable import replace_content
from edge_runtime.system.files import open_regular

_DIGITS = 16
"""Length of the digest that names a version."""


@dataclass(frozen=True)
class Version:
    """The file at one time."""

    data: bytes

    @property
    def name(self) -> str:
        """A digest of the content, which tells whether the file has changed."""
        return hashlib.sha256(self.data).hexdigest()[:_DIGITS]

    @property
    def settings(self) -> Settings:
        """What it says, with paths as written; raises `EdgeRuntimeError`."""
        return parse_settings(self.data.decode("utf-8-sig"))


class ConfigurationFile:
    """The file of `edge-runtime run --config`. Its methods may be called on any thread.

    The version before the latest change is kept beside it, in the file NAME.before-DIGEST with the
    same owner and mode. DIGEST is that of the version that replaced it, so that a change by someone
    else in between is never undone by mistake.
    """

    def __init__(self, path: Path | None, overridden: Collection[str] = ()) -> None:
        """`path`: None if the daemon was started without one.

        `overridden`: keys such as "camera.source" that options on the command line replace.
        """
        self.path = None if path is None else path.absolute()
        self.overridden = frozenset(overridden)
        self._lock = threading.Lock()

    @property
    def fault(self) -> str:
        """Why the file cannot be changed, and what to do; empty if it can."""
        try:
            self._check()
        except EdgeRuntimeError as error:
            return str(error)
        return ""

    def read(self) -> Version:
        """Return the file as it is now; raises `EdgeRuntimeError`."""
        path = self._real_path()
        try:
            with open_regular(path) as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise self._failed(error) from error
        if len(data) > MAX_BYTES:
            raise ConfigError(f"larger than {MAX_BYTES >> 10} KiB", where=path)
        return Version(data)

    def can_undo(self, version: Version) -> bool:
        """Return whether the change that led to `version` can be taken back."""
        return self.path is not None and self._before(version).is_file()

    def change(
        self,
        changes: Mapping[tuple[str, ...], Any],
        known: str = "",
        renames: Iterable[tuple[tuple[str, ...], tuple[str, ...]]] = (),
    ) -> tuple[Version, Version]:
        """Write a version with other values (None removes a key or table); return old and new.

        `renames`: tables that get another name before.
        `known`: the name of the version that the changes are meant for; empty means the one that is
        there. Nothing is written unless the whole new file is valid, or if nothing changes. Raises
        `EdgeRuntimeError`.
        """
        from edge_runtime.settings.toml_edit import edited  # loaded only by those who edit

        with self._lock:
            path = self._check()
            old = self.read()
            if known and known != old.name:
                raise ConfigLockedError(
                    "the file was changed meanwhile, by an editor or another page",
                    where=path,
                    remedy="load the settings again, and repeat your change",
                )
            mark = "\ufeff" if old.data.startswith(b"\xef\xbb\xbf") else ""
            try:
                text = old.data.decode("utf-8-sig")
            except UnicodeDecodeError as error:
                raise ConfigError("not UTF-8 text", where=path) from error
            parse_settings(text, where=path)  # an error that was there before is named as such
            new = Version((mark + edited(text, changes, renames=renames, where=path)).encode())
            if len(new.data) > MAX_BYTES:
                raise ConfigError(f"it would be larger than {MAX_BYTES >> 10} KiB", where=path)
            _ = new.settings
            if new != old:
                self._write(path, old, new)
            return old, new

    def undo(self, known: str = "") -> tuple[Version, Version]:
        """Write the version before the latest change; return the version before and after this.

        Calling it again takes it back. Raises `EdgeRuntimeError`.
        """
        with self._lock:
            path = self._check()
            now = self.read()
            if (known and known != now.name) or not self.can_undo(now):
                raise ConfigLockedError(
                    "there is no change that can be undone",
                    where=path,
                    remedy="the file may have been changed by an editor since",
                )
            try:
                before = Version(self._before(now).read_bytes())
            except OSError as error:
                raise self._failed(error) from error
            _ = before.settings
            self._write(path, now, before)
            return now, before

    def restore(self, version: Version, instead_of: Version) -> None:
        """Write `version` back after the daemon refused `instead_of`; raises `EdgeRuntimeError`.

        A file that was changed meanwhile is left alone.
        """
        with self._lock:
            if self.read() == instead_of != version:
                path = self._check()
                try:
                    replace_content(path, version.data)
                    self._before(instead_of).unlink(missing_ok=True)
                except OSError as error:
                    raise self._failed(error) from error

    def _write(self, path: Path, old: Version, new: Version) -> None:
        try:
            replace_content(self._before(new), old.data, like=path)
            replace_content(path, new.data)
            kept = {self._before(old), self._before(new)}  # the first in case `new` is refused
            for file in path.parent.glob(f"{glob.escape(path.name)}.before-*"):
                if file not in kept:
                    file.unlink(missing_ok=True)
        except OSError as error:
            raise self._failed(error) from error

    def _before(self, version: Version) -> Path:
        path = self._real_path()
        return path.with_name(f"{path.name}.before-{version.name}")

    def _real_path(self) -> Path:
        if self.path is None:
            raise ConfigLockedError(
                "the daemon was started without a configuration file",
                remedy="edge-runtime config example --out edge.toml, "
                "then edge-runtime run --config edge.toml",
            )
        return self.path.resolve()

    def _check(self) -> Path:
        """Return the path of the file; raises `ConfigError` if it cannot be changed."""
        path = self._real_path()
        try:
            before = path.stat()
        except OSError as error:
            raise self._failed(error) from error
        if not stat.S_ISREG(before.st_mode):
            raise ConfigLockedError("not a regular file", where=path)
        if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
            raise ConfigLockedError(
                "the daemon may not write the file or its folder",
                where=path,
                remedy="give both to the daemon's user, or change the file in an editor",
            )
        if os.geteuid() and before.st_uid != os.geteuid():
            raise ConfigLockedError(
                "the file belongs to another user",
                where=path,
                remedy="give it to the daemon's user, or change it in an editor",
            )
        return path

    def _failed(self, error: OSError) -> EdgeRuntimeError:
        return storage_error(error, self.path or "") or ConfigLockedError(
            str(error.strerror or error).lower(), where=self.path or ""
        )
