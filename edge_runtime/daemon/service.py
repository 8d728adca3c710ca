"""Build everything that `edge-runtime run` needs from one configuration, and reload it."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from edge_runtime.camera import CameraOptions, parse_source
from edge_runtime.camera.base import Source
from edge_runtime.camera.recovery import RetryPolicy
from edge_runtime.camera.supervisor import CameraSupervisor
from edge_runtime.daemon.gallery_watch import GalleryWatch
from edge_runtime.daemon.loop import Daemon
from edge_runtime.daemon.notify import Notifier
from edge_runtime.daemon.outputs import open_sinks, reader_has_gone
from edge_runtime.daemon.parts import AttachedPart
from edge_runtime.daemon.thermal import ThermalMonitor, Thermostat
from edge_runtime.engine import Engine, open_engine
from edge_runtime.errors import EdgeRuntimeError
from edge_runtime.gallery import Gallery, default_path
from edge_runtime.image.change_gate import ChangeGate, GateOptions
from edge_runtime.recognition.pipeline import Pipeline
from edge_runtime.settings import RELOADABLE, Settings, read_secret
from edge_runtime.sinks import Outbox
from edge_runtime.system.helper_thread import HelperThread
from edge_runtime.system.memory import release_unused
from edge_runtime.types import Event, Frame, QueryResult, Recognition

log = logging.getLogger(__name__)

RECENT_EVENTS = 200
SAMPLES = 1000
"""Number of latest frames that the stage times cover. /metrics covers the whole run."""
END_S = 0.5
"""Time that each part has to finish its work at shutdown, and again to release its resources. All
parts are closed at the same time."""


@dataclass(frozen=True, eq=False)
class LatestResult:
    """The newest frame with its result, and the recognition current at that time."""

    frame: Frame
    result: QueryResult
    recognition: Recognition | None


class Service:
    """The daemon with its engine, gallery, camera and sinks. Create and use it on one thread."""

    def __init__(
        self,
        load: Callable[[], Settings],
        attach: Callable[[Service], Sequence[AttachedPart]] = lambda _service: (),
    ) -> None:
        """Build everything that the configuration names; raises `EdgeRuntimeError`.

        `load` reads the configuration, now and at each reload. `attach` creates the parts that run
        beside the daemon. They are checked while it runs and closed with it.
        """
        self._load = load
        self.settings = settings = load()
        self.started_s = time.monotonic()
        self.latest: LatestResult | None = None
        self.recent: deque[Event] = deque(maxlen=RECENT_EVENTS)
        self.notifier = Notifier()
        self._reload_requested = False
        path = Path(settings.gallery.path) if settings.gallery.path else default_path()
        cv2.setNumThreads(1)  # for images of this size, waking threads costs more than they save
        self._password = _password(settings)
        # The source is first, so that a wrong name is reported before anything is loaded.
        source = _source(settings, self._password)
        self.engine: Engine = open_engine(
            settings.model.path or None, threads=settings.model.threads
        )
        if settings.http:  # the page can enroll photos, so the gallery need not exist yet
            Gallery(path, self.engine.model, create=True).close()
        gallery = Gallery(path, self.engine.model, read_only=True)
        self.pipeline = Pipeline(self.engine, gallery)
        self.snapshot = gallery.snapshot()
        """The gallery's contents, at most a second old. It is replaced and never modified, so other
        threads may read it."""
        camera = _camera(settings, source, threading.Condition())
        self.daemon = Daemon(camera, self.pipeline, samples=SAMPLES)
        self.daemon.observers.append(self._store_latest)
        self.daemon.listeners.append(self.recent.append)
        self.gallery_watch = GalleryWatch(
            self.pipeline, self.engine.model, self.daemon.record_error
        )
        self.thermal = ThermalMonitor()
        self.thermostat = Thermostat(settings.heat.hot_c)
        self._apply(settings)
        self._outboxes = open_sinks(settings, lossless=not camera.source.live)
        self.daemon.sinks = list(self.outboxes)
        self.daemon.every(1.0, self._check_once_per_second)
        if self.notifier.interval_s:
            self.daemon.every(min(self.notifier.interval_s, 1.0), self.notifier.alive)
        self._attached = attach(self)
        release_unused()

    @property
    def outboxes(self) -> list[Outbox]:
        """The outboxes of all sinks, in the order of the configuration."""
        return list(self._outboxes.values())

    @property
    def threads(self) -> list[HelperThread]:
        """The helper threads: of the sensors, the sinks and the attached parts."""
        threads = [self.thermal.thread, *(outbox.thread for outbox in self.outboxes)]
        return threads + [thread for part in self._attached for thread in part.threads]

    def run(self) -> None:
        """Run until the camera ends or `stop` is called.

        Raises `EdgeRuntimeError` where another attempt is useless.
        """
        self.notifier.ready(f"watching {self.daemon.camera.source.name}")
        self.daemon.run()

    def stop(self, reason: str) -> None:
        """End `run` soon; may be called by a signal handler."""
        self.daemon.stop(reason)

    def request_reload(self) -> None:
        """Reload the configuration between two frames; may be called by a signal handler."""
        self._reload_requested = True

    def close(self) -> None:
        """Stop all parts. A part that does not stop in time is abandoned."""
        self.notifier.stopping()
        self.thermal.close()
        closers: list[Callable[[float], None]] = [outbox.close for outbox in self.outboxes]
        closers += [part.close for part in self._attached]
        threads = [threading.Thread(target=each, args=(END_S,), daemon=True) for each in closers]
        for thread in threads:
            thread.start()
        end_s = time.monotonic() + 2 * END_S
        self.daemon.camera.close(END_S)
        for thread in threads:
            thread.join(max(0.0, end_s - time.monotonic()))
        self.pipeline.gallery.close()

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _store_latest(
        self, frame: Frame, result: QueryResult, recognition: Recognition | None
    ) -> None:
        self.latest = LatestResult(frame, result, recognition)

    # -- between frames -----------------------------------------------------------------------

    def _check_once_per_second(self) -> None:
        """Run on the main loop's thread."""
        self.gallery_watch.check()
        try:
            self.snapshot = self.pipeline.gallery.snapshot()
        except EdgeRuntimeError as error:
            self.daemon.record_error(error)
        if self._reload_requested:
            self._reload_requested = False
            self.reload()
        self._set_frame_rate()
        for part in self._attached:
            part.check()
        only_stdout = [box.sink.name for box in self.outboxes] in (["text"], ["json"])
        if only_stdout and not self._attached and reader_has_gone(sys.stdout):
            raise BrokenPipeError  # the only output has no reader

    def _set_frame_rate(self) -> None:
        settings = self.settings
        slow = self.thermostat.update(self.thermal.reading)
        fps = min(settings.camera.fps, settings.heat.fps) if slow else settings.camera.fps
        self.daemon.camera.limit_rate(fps)

    def reload(self) -> None:
        """Apply a changed configuration; one with an error changes nothing."""
        self.notifier.reloading()
        try:
            new = self._load()
            changed = {
                name
                for name in new.__struct_fields__
                if getattr(new, name) != getattr(self.settings, name)
            }
            self._reload(new, changed)
        except EdgeRuntimeError as error:
            log.error("not reloaded: %s", error)
            self.daemon.last_error = str(error)
        self.gallery_watch.reopen()
        self.notifier.ready(f"watching {self.daemon.camera.source.name}")

    def _reload(self, new: Settings, changed: set[str]) -> None:
        password = _password(new)
        if password != self._password:  # another content of the same file
            changed.add("camera")
        source = _source(new, password) if "camera" in changed else None
        parts = [part.prepare(new) for part in self._attached]
        lossless = not (source or self.daemon.camera.source).live
        before = self._outboxes
        self._outboxes = open_sinks(new, lossless=lossless, before=before)
        self.daemon.sinks = list(self.outboxes)
        kinds = {key[0] for key in self._outboxes}
        for key, outbox in before.items():
            if key[0] not in kinds:
                threading.Thread(target=outbox.close, daemon=True).start()
        # The content of a secret or certificate file may change while its path stays the same.
        changed |= {str(kind) for kind, *_ in self._outboxes.keys() - before.keys()} - {"output"}
        if source is not None:
            camera = self.daemon.camera
            camera.close(END_S)
            self.daemon.camera = _camera(new, source, camera.condition)
        self._password = password
        self._apply(new)
        for part in parts:
            part.apply()
        if parts and not any(part.needs_restart for part in parts):
            changed -= {"http"}
        need_restart = changed - RELOADABLE
        log.info("reloaded: %s", ", ".join(sorted(changed & RELOADABLE)) or "no changes")
        if need_restart:
            log.warning("needs a restart to take effect: %s", ", ".join(sorted(need_restart)))
        self.settings = new

    def _apply(self, settings: Settings) -> None:
        """Apply the settings that are plain values and need nothing to be reopened."""
        decision, gate = settings.decision, settings.gate
        self.pipeline.neighbors = decision.neighbours
        self.pipeline.radius = None if decision.radius < 0 else decision.radius
        self.pipeline.false_name_rate = decision.false_name_rate
        options = GateOptions(gate.threshold, decision.window, gate.refresh_s)
        if not gate.enabled:
            self.pipeline.gate = None
        elif self.pipeline.gate is None or self.pipeline.gate.options != options:
            self.pipeline.gate = ChangeGate(options)
        decider = self.daemon.decider
        if (decider.window, decider.cooldown_s) != (decision.window, decision.cooldown_s):
            self.daemon.decider = decider.with_window(decision.window, decision.cooldown_s)
        self.thermostat.hot_c = settings.heat.hot_c
        logging.getLogger("edge_runtime").setLevel(settings.log.level.upper())


def _password(settings: Settings) -> str:
    """Return the password of the camera; empty without a file. Raises `ConfigError`."""
    file = settings.camera.password_file
    return read_secret(file) if file else ""


def _source(settings: Settings, password: str) -> Source:
    camera = settings.camera
    options = CameraOptions(
        *(camera.width, camera.height, camera.fps, camera.loop, camera.real_time),
        password=password,
    )
    return parse_source(camera.source, options)


def _camera(settings: Settings, source: Source, condition: threading.Condition) -> CameraSupervisor:
    camera = settings.camera
    return CameraSupervisor(
        source,
        policy=RetryPolicy(camera.retry_shortest_s, camera.retry_longest_s, camera.retry_budget),
        first_frame_s=camera.first_frame_s,
        next_frame_s=camera.next_frame_s,
        wait=camera.wait,
        condition=condition,
    )
