"""Change the configuration for the page: check, write, reload; restore it if it is refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import BusyError, ConfigError, EdgeRuntimeError
from edge_runtime.recognition.smoothing import new_id
from edge_runtime.settings import Settings, editable
from edge_runtime.settings.edit import ConfigurationFile, Version
from edge_runtime.sinks import Outbox
from edge_runtime.types import Event
from edge_runtime.web.settings import cameras, stored
from edge_runtime.web.settings.cameras import CameraEdit

if TYPE_CHECKING:
    from edge_runtime.daemon.service import Reloaded, Service

RELOAD_S = 20.0
"""Limit for the main loop to take the new configuration."""
TEST_S = 15.0
"""Limit for a sink to deliver a test event."""
Changes = Callable[[Any], dict[str, Any]]


class SettingsService:
    """Reads and changes the configuration file. Its methods may block; call them on any thread."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._file = service.file or ConfigurationFile(None)

    def describe(self) -> dict[str, Any]:
        """Return the file, its state, and all that may be changed."""
        running, fault, version = self._service.settings, self._file.fault, None
        settings = running
        if self._file.path is not None:
            try:
                version = self._file.read()
                settings = version.settings
            except EdgeRuntimeError as error:
                fault = fault or str(error)
        overridden = self._file.overridden
        return {
            "file": str(self._file.path) if self._file.path else None,
            "writable": not fault,
            "fault": fault or None,
            "version": version.name if version else None,
            "undo": version is not None and not fault and self._file.can_undo(version),
            "tables": list(editable.described(settings, running, overridden)),
            "stored_bytes": stored.stored_bytes(self._service),
        }

    def change(self, changes: dict[str, Any], known: str) -> dict[str, Any]:
        """Make changes such as {"decision.window": 7}; raises `EdgeRuntimeError`."""
        return self._change(lambda _settings: changes, known)

    def set_regions(
        self, camera: str, regions: dict[str, tuple[list[float], list[str]]], known: str
    ) -> dict[str, Any]:
        """Replace the regions of a camera (area and labels by name); raises `EdgeRuntimeError`."""
        return self._change(
            lambda settings: editable.region_changes(settings, camera, regions), known
        )

    def add_camera(self, name: str, source: str, known: str) -> dict[str, Any]:
        """Add a camera; raises `EdgeRuntimeError`."""
        return self._edit(lambda now: cameras.adding(now, self._overridden, name, source), known)

    def rename_camera(self, old: str, new: str, known: str) -> dict[str, Any]:
        """Give a camera another name; raises `EdgeRuntimeError`."""
        return self._edit(lambda now: cameras.renaming(now, self._overridden, old, new), known)

    def remove_camera(self, name: str, known: str) -> dict[str, Any]:
        """Remove a camera with its regions; raises `EdgeRuntimeError`."""
        return self._edit(lambda now: cameras.removing(now, name), known)

    def erase(self, table: str) -> dict[str, int]:
        """Delete what a table stored that is turned off; return what is stored now."""
        stored.erase(self._service, table)
        return stored.stored_bytes(self._service)

    def undo(self, known: str) -> dict[str, Any]:
        """Take the latest change back; raises `EdgeRuntimeError`."""
        return self._apply(*self._file.undo(known))

    def test_sink(self, outbox: Outbox) -> dict[str, Any]:
        """Send a marked event through one sink; raises `BusyError`."""
        began_s = time.monotonic()
        fault = outbox.attempt(self._test_event(), TEST_S)
        return {
            "sink": outbox.name,
            "delivered": not fault,
            "error": fault or None,
            "seconds": time.monotonic() - began_s,
        }

    @property
    def _overridden(self) -> frozenset[str]:
        return self._file.overridden

    def _change(self, changes: Changes, known: str) -> dict[str, Any]:
        return self._edit(lambda settings: CameraEdit(changes=changes(settings)), known)

    def _edit(self, edit: Callable[[Settings], CameraEdit], known: str) -> dict[str, Any]:
        settings = self._file.read().settings
        wanted = edit(settings)
        allowed = editable.checked(wanted.changes, settings, self._overridden)
        return self._apply(*self._file.change(allowed, known, wanted.renames))

    def _apply(self, old: Version, new: Version) -> dict[str, Any]:
        reloaded = self._reload(old, new) if old != new else None
        return {
            "version": new.name,
            "undo": self._file.can_undo(new),
            "changed": editable.changed_keys(old.settings, new.settings),
            "applied": sorted(reloaded.applied) if reloaded else [],
            "need_restart": sorted(reloaded.need_restart) if reloaded else [],
        }

    def _reload(self, old: Version, new: Version) -> Reloaded:
        try:
            return self._service.daemon.work_queue.run(self._service.apply_file, RELOAD_S)
        except TimeoutError:  # it runs, but a part takes very long
            raise BusyError("the file is written, and still being applied") from None
        except EdgeRuntimeError as error:
            self._file.restore(old, instead_of=new)
            if isinstance(error, BusyError):
                raise
            raise ConfigError(
                f"nothing was changed, because the daemon cannot use it: {error.what}",
                where=error.where,
                remedy=error.remedy,
            ) from error

    def _test_event(self) -> Event:
        now = datetime.now().astimezone().isoformat(timespec="milliseconds")
        origin = self._service.daemon.regions[0].origin
        event = Event("test", "test", 0.0, None, 0, now, now, 0.0, 0.0, new_id(), origin.board)
        return replace(event, camera=origin.camera, reason="sent by the page to test this sink")
