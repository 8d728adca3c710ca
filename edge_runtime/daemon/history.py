"""The history as a part beside the daemon.

It is both: a listener and an observer of the daemon, because an event carries no picture, and an
attached part, because it has a thread, settings that SIGHUP changes, and work to finish at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.daemon.parts import Change
from edge_runtime.daemon.watcher import Observation
from edge_runtime.errors import ConfigError
from edge_runtime.history.archive import Archive
from edge_runtime.history.file import path_beside
from edge_runtime.history.recorder import Recorder
from edge_runtime.settings import Settings
from edge_runtime.settings.history import HistorySettings
from edge_runtime.system.helper_thread import HelperThread
from edge_runtime.types import Event

if TYPE_CHECKING:
    from edge_runtime.daemon.loop import Daemon


class History:
    """Records the events of a daemon with what was seen."""

    def __init__(self, daemon: Daemon, gallery: Path, settings: HistorySettings) -> None:
        """Listen to `daemon`; `gallery` is the path of its gallery. Raises `ConfigError`."""
        path = Path(settings.path) if settings.path else path_beside(gallery)
        if path.resolve() == gallery.resolve():
            raise ConfigError(
                "history.path: this is the gallery", where=path, remedy="choose another path"
            )
        self.recorder = Recorder(path, settings)
        self.archive = Archive(self.recorder)
        self._pending: list[Event] = []
        """Events whose observation is still to come. Only the main loop's thread uses it."""
        daemon.listeners.append(self._pending.append)
        daemon.observers.append(self._observe)

    @property
    def threads(self) -> Sequence[HelperThread]:
        """See `AttachedPart`."""
        return (self.recorder.thread,)

    def check(self) -> None:
        """Record events that no observation follows, such as those of a lost camera.

        Raises nothing: the daemon goes on when the disk is full.
        """
        self._record(None)

    def prepare(self, settings: Settings) -> Change:
        """See `AttachedPart`."""
        new, old = settings.history, self.recorder.settings
        if new is not None and new.path != old.path:
            return Change(needs_restart=True)

        def apply() -> None:
            self.recorder.paused = new is None
            if new is not None:
                self.recorder.settings = new

        return Change(apply, tables=frozenset({"history"}))

    def erase(self) -> None:
        """Delete the file of a history that is turned off; raises `StorageError` or `BusyError`."""
        self.recorder.erase()

    def close(self, wait_s: float) -> None:
        """See `AttachedPart`."""
        self._record(None)
        self.recorder.close(wait_s)

    def _observe(self, observation: Observation) -> None:
        if self._pending:
            self._record(observation)

    def _record(self, observation: Observation | None) -> None:
        """Hand over all events, with the picture where it is that of the observation."""
        events = self._pending.copy()
        self._pending.clear()
        for event in events:
            seen = observation is not None and (
                (observation.origin.camera, observation.origin.region, observation.frame.sequence)
                == (event.camera, event.region, event.sequence)
            )
            picture = observation.picture if observation is not None and seen else None
            self.recorder.add(event, picture)
