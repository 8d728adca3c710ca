"""Build everything that `edge-runtime run` needs from one configuration, and reload it."""

from __future__ import annotations

import gc
import logging
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from edge_runtime.daemon.cameras import Cameras, close_all
from edge_runtime.daemon.gallery_watch import GalleryWatch
from edge_runtime.daemon.loop import Daemon
from edge_runtime.daemon.notify import Notifier
from edge_runtime.daemon.outputs import Host, open_sinks, reader_has_gone
from edge_runtime.daemon.parts import AttachedPart
from edge_runtime.daemon.thermal import ThermalMonitor, Thermostat
from edge_runtime.daemon.watcher import RegionWatcher
from edge_runtime.engine import Engine, open_engine
from edge_runtime.errors import EdgeRuntimeError
from edge_runtime.gallery import Gallery, default_path
from edge_runtime.image.change_gate import ChangeGate, GateOptions
from edge_runtime.image.pixels import jpeg
from edge_runtime.recognition.pipeline import Pipeline
from edge_runtime.settings import RELOADABLE, Settings
from edge_runtime.sinks import Outbox
from edge_runtime.system.helper_thread import HelperThread
from edge_runtime.system.memory import release_unused, share_heap
from edge_runtime.types import Event

if TYPE_CHECKING:
    from edge_runtime.daemon.history import History
    from edge_runtime.daemon.second_opinion import ServerAnswers
    from edge_runtime.settings.edit import ConfigurationFile
    from edge_runtime.unknowns.part import Unknowns

log = logging.getLogger(__name__)

RECENT_EVENTS = 200
EVENT_SIDE = 640
"""Longest side of the picture of an event, pixels."""
SAMPLES = 1000
"""Number of latest frames that the stage times cover. /metrics covers the whole run."""
END_S = 0.5
"""Time that each part has to finish its work at shutdown, and again to release its resources. All
parts are closed at the same time."""


@dataclass(frozen=True)
class Reloaded:
    """Names of the tables of a new configuration that differ from the previous one."""

    applied: frozenset[str]
    need_restart: frozenset[str]


class Service:
    """The daemon with its engine, gallery, camera and sinks. Create and use it on one thread."""

    def __init__(
        self,
        load: Callable[[], Settings],
        attach: Callable[[Service], Sequence[AttachedPart]] = lambda _service: (),
        file: ConfigurationFile | None = None,
    ) -> None:
        """Build everything that the configuration names; raises `EdgeRuntimeError`.

        `load` reads the configuration, now and at each reload. `attach` creates the parts that run
        beside the daemon and are not there yet, now and after each reload. They are checked while
        it runs and closed with it. `file` is what `load`
        reads, so that the page can change it.
        """
        self._load = load
        self.file = file
        self.settings = settings = load()
        self.started_s = time.monotonic()
        self.recent: deque[Event] = deque(maxlen=RECENT_EVENTS)
        self.notifier = Notifier()
        self._reload_requested = False
        path = Path(settings.gallery.path) if settings.gallery.path else default_path()
        share_heap()
        cv2.setNumThreads(1)  # for images of this size, waking threads costs more than they save
        # The sources are first, so that a wrong name is reported before anything is loaded.
        self.cameras = Cameras(settings)
        self.board = settings.board.name or socket.gethostname()
        self.host = Host(self.board, self._picture_of, self._execute)
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
        watchers = self.cameras.open(settings, self.pipeline, self.board)
        self.daemon = Daemon(watchers, samples=SAMPLES)
        self.daemon.listeners.append(self.recent.append)
        self.gallery_watch = GalleryWatch(
            lambda: self.pipelines,
            self.engine.model,
            self.daemon.record_error,
            must_write=settings.http is not None,
        )
        self.thermal = ThermalMonitor()
        self.thermostat = Thermostat(settings.heat.hot_c)
        self._apply(settings)
        live = all(each.camera.source.live for each in watchers)
        self._outboxes = open_sinks(
            settings,
            self.host,
            lossless=not live,
            cameras=self.daemon.camera_states(),
        )
        self._dropped = 0
        self.daemon.sinks = list(self.outboxes)
        self.daemon.every(1.0, self._check_once_per_second)
        if self.notifier.interval_s:
            self.daemon.every(min(self.notifier.interval_s, 1.0), self.notifier.alive)
        self.unknowns: Unknowns | None = None
        """The inbox of unknown things, if the configuration has one; set by `attach`."""
        self.server: ServerAnswers | None = None
        """What a server answers, if the configuration has one; set by `attach`."""
        self.history: History | None = None
        """The history, likewise."""
        self._attach = attach
        self._attached = [*attach(self)]
        gc.collect()
        gc.freeze()  # what was loaded stays, so the collector need not look at it again
        release_unused()

    @property
    def pipelines(self) -> list[Pipeline]:
        """The pipeline that API requests use, and those of all regions."""
        return [self.pipeline, *(region.pipeline for region in self.daemon.regions)]

    def region(self, camera: str = "", name: str = "") -> RegionWatcher | None:
        """Return a region by the names of camera and region; empty ones mean the first."""
        for region in self.daemon.regions:
            origin = region.origin
            if camera in ("", origin.camera) and name in ("", origin.region):
                return region
        return None

    def source_name(self, region: RegionWatcher) -> str:
        """Return the name of the source that a region is part of, without secrets."""
        camera = next(each for each in self.daemon.cameras if region in each.regions)
        return camera.camera.source.name

    def _picture_of(self, event: Event) -> bytes | None:
        """Return the JPEG of an "enter" event, if it is still the last one of its region."""
        region = self.region(event.camera, event.region or "")
        if region is None or region.entered is not event or region.entered_picture is None:
            return None
        try:
            return jpeg(region.entered_picture.image, EVENT_SIDE)
        except EdgeRuntimeError:  # it was recognized by its preview only
            return None

    def _execute(self, command: str) -> None:
        """Execute a command of a subscriber; others than "reload" are ignored."""
        if command == "reload":
            self.request_reload()

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
        self.notifier.ready(f"watching {self._source_names()}")
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
        close_all([each.camera for each in self.daemon.cameras], END_S)
        for thread in threads:
            thread.join(max(0.0, end_s - time.monotonic()))
        self.pipeline.gallery.close()

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _source_names(self) -> str:
        return ", ".join(each.camera.source.name for each in self.daemon.cameras)

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
        dropped = sum(outbox.counts().dropped for outbox in self.outboxes)
        self.daemon.show_cameras(unchanged=dropped > self._dropped)  # their events are missing
        self._dropped = dropped
        for part in self._attached:
            part.check()
        only_stdout = [box.sink.name for box in self.outboxes] in (["text"], ["json"])
        if only_stdout and not self._attached and reader_has_gone(sys.stdout):
            raise BrokenPipeError  # the only output has no reader

    def _set_frame_rate(self) -> None:
        settings = self.settings
        slow = self.thermostat.update(self.thermal.reading)
        for each in self.daemon.cameras:
            fps = self.cameras.settings_of(each.name).fps
            each.camera.limit_rate(min(fps, settings.heat.fps) if slow else fps)

    def reload(self) -> None:
        """Apply a changed configuration; one with an error changes nothing."""
        try:
            self.apply_file()
        except EdgeRuntimeError as error:
            log.error("not reloaded: %s", error)
            self.daemon.last_error = str(error)
        self.gallery_watch.reopen()

    def apply_file(self) -> Reloaded:
        """Apply a changed configuration; one with an error changes nothing.

        Call it on the main loop's thread, between two frames. Raises `EdgeRuntimeError`.
        """
        self.notifier.reloading()
        try:
            new = self._load()
            changed = {
                name
                for name in new.__struct_fields__
                if getattr(new, name) != getattr(self.settings, name)
            }
            return self._reload(new, changed)
        finally:
            self.notifier.ready(f"watching {self._source_names()}")

    def _reload(self, new: Settings, changed: set[str]) -> Reloaded:
        cameras = self.cameras.prepare(new, self.pipeline, self.board)
        if cameras.reopens:  # the content of a password file may have changed
            changed.add("cameras" if new.cameras else "camera")
        parts = [part.prepare(new) for part in self._attached]
        before = self._outboxes
        self._outboxes = open_sinks(
            new,
            self.host,
            lossless=not cameras.live,
            cameras=self.daemon.camera_states(),
            before=before,
        )
        self.daemon.sinks = list(self.outboxes)
        kinds = {key[0] for key in self._outboxes}
        for key, outbox in before.items():
            if key[0] not in kinds:
                threading.Thread(target=outbox.close, daemon=True).start()
        # The content of a secret or certificate file may change while its path stays the same.
        changed |= {str(kind) for kind, *_ in self._outboxes.keys() - before.keys()} - {"output"}
        if changed & {"camera", "cameras", "regions"}:
            self.daemon.replace(cameras.apply(END_S))
        self._apply(new)
        applied = changed & RELOADABLE
        for part in parts:
            part.apply()
            if not part.needs_restart:
                applied |= changed & part.tables
        self.settings = new
        applied |= changed & self._attach_new()
        need_restart = changed - applied
        log.info("reloaded: %s", ", ".join(sorted(applied)) or "no changes")
        if need_restart:
            log.warning("needs a restart to take effect: %s", ", ".join(sorted(need_restart)))
        return Reloaded(frozenset(applied), frozenset(need_restart))

    def _attach_new(self) -> frozenset[str]:
        """Start parts that were turned on; return the tables of the configuration that they apply.

        One that cannot start is reported, and needs a restart with another configuration.
        """
        try:
            new = self._attach(self)
        except EdgeRuntimeError as error:
            self.daemon.record_error(error)
            return frozenset()
        self._attached += new
        return frozenset().union(*(part.prepare(self.settings).tables for part in new))

    def _apply(self, settings: Settings) -> None:
        """Apply the settings that are plain values and need nothing to be reopened."""
        decision, gate = settings.decision, settings.gate
        for pipeline in self.pipelines:
            pipeline.neighbors = decision.neighbors
            pipeline.radius = None if decision.radius < 0 else decision.radius
            pipeline.false_name_rate = decision.false_name_rate
            pipeline.second_look = decision.second_look
        options = GateOptions(gate.threshold, decision.window, gate.refresh_s)
        for region in self.daemon.regions:
            region.keeps_pictures = settings.mqtt is not None and settings.mqtt.images
            pipeline, decider = region.pipeline, region.decider
            if not gate.enabled:
                pipeline.gate = None
            elif pipeline.gate is None or pipeline.gate.options != options:
                pipeline.gate = ChangeGate(options)
            if (decider.window, decider.cooldown_s) != (decision.window, decision.cooldown_s):
                region.decider = decider.with_window(decision.window, decision.cooldown_s)
        self.thermostat.hot_c = settings.heat.hot_c
        logging.getLogger("edge_runtime").setLevel(settings.log.level.upper())
