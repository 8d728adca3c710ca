"""Everything that `edge-runtime run` starts, from one configuration; and its reload."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2

from edge_runtime.camera import CameraOptions, parse_source
from edge_runtime.camera.base import Source
from edge_runtime.camera.recovery import RetryPolicy
from edge_runtime.camera.supervisor import CameraSupervisor
from edge_runtime.daemon.gallery_watch import GalleryWatch
from edge_runtime.daemon.loop import Daemon
from edge_runtime.daemon.notify import Notifier
from edge_runtime.daemon.outputs import open_sinks, reader_has_gone
from edge_runtime.daemon.thermal import Climate, Thermostat
from edge_runtime.engine import Engine, open_engine
from edge_runtime.errors import EdgeRuntimeError
from edge_runtime.gallery import Gallery, default_path
from edge_runtime.image.change_gate import ChangeGate, GateOptions
from edge_runtime.recognition.pipeline import Pipeline
from edge_runtime.settings import RELOADABLE, Settings
from edge_runtime.sinks import Outbox
from edge_runtime.system.memory import release_unused
from edge_runtime.types import Event, Frame, QueryResult, Recognition

log = logging.getLogger(__name__)

RECENT_EVENTS = 200
SAMPLES = 1000
"""Frames over which the stage times are summed up; older ones are history in /metrics."""
END_S = 0.5
"""What each part is given to finish its work at the end, and again to let go of what it holds; all
of them at once."""


@dataclass(frozen=True, eq=False)
class LatestResult:
    """The newest frame, and what was found in it."""

    frame: Frame
    result: QueryResult
    held: Recognition | None


class AttachedPart(Protocol):
    """Something that runs beside the daemon for as long as it does, such as the web server."""

    def check(self) -> None:
        """Raise `EdgeRuntimeError` if it no longer works; called once per second."""

    def close(self, wait_s: float) -> None:
        """Stop within `wait_s`."""


class Service:
    """The daemon with its engine, gallery, camera and sinks. Create and use it on one thread."""

    def __init__(
        self,
        load: Callable[[], Settings],
        attach: Callable[[Service], Sequence[AttachedPart]] = lambda _service: (),
    ) -> None:
        """Build everything that the configuration names; raises `EdgeRuntimeError`.

        `load` reads the configuration, now and at each reload. `attach` makes the parts that run
        beside the daemon; they are checked while it runs, and closed with it.
        """
        self._load = load
        self.settings = settings = load()
        self.started_s = time.monotonic()
        self.sight: LatestResult | None = None
        self.recent: deque[Event] = deque(maxlen=RECENT_EVENTS)
        self.notifier = Notifier()
        self._hup = False
        path = Path(settings.gallery.path) if settings.gallery.path else default_path()
        cv2.setNumThreads(1)  # waking others costs more than they save on pictures of this size
        source = _source(settings)  # a wrong name should be told before anything is loaded
        self.engine: Engine = open_engine(
            settings.model.path or None, threads=settings.model.threads
        )
        if settings.http:  # the page can enrol, so there may be nothing yet
            Gallery(path, self.engine.model, create=True).close()
        gallery = Gallery(path, self.engine.model, read_only=True)
        self.pipeline = Pipeline(self.engine, gallery)
        self.snapshot = gallery.snapshot()
        """Of the gallery, a second old at most. It is replaced, never changed, so that other
        threads may look at it."""
        keeper = _keeper(settings, source, threading.Condition())
        self.daemon = Daemon(keeper, self.pipeline, samples=SAMPLES)
        self.daemon.observers.append(self._see)
        self.daemon.listeners.append(self.recent.append)
        self.watch = GalleryWatch(self.pipeline, self.engine.model, self.daemon.note)
        self.climate = Climate()
        self.thermostat = Thermostat(settings.heat.hot_c)
        self._apply(settings)
        self._made = open_sinks(settings, lossless=not keeper.source.live)
        self.daemon.sinks = list(self.outboxes)
        self.daemon.every(1.0, self._look_after)
        if self.notifier.interval_s:
            self.daemon.every(min(self.notifier.interval_s, 1.0), self.notifier.alive)
        self._attached = attach(self)
        release_unused()

    @property
    def outboxes(self) -> list[Outbox]:
        """Of the sinks, in the order of the configuration."""
        return list(self._made.values())

    def run(self) -> None:
        """Until the camera's end or `stop`; raises `EdgeRuntimeError` where going on is no use."""
        self.notifier.ready(f"watching {self.daemon.camera.source.name}")
        self.daemon.run()

    def stop(self, reason: str) -> None:
        """End `run` soon; may be called by a signal handler."""
        self.daemon.stop(reason)

    def hang_up(self) -> None:
        """Read the configuration again between two frames; may be called by a signal handler."""
        self._hup = True

    def close(self) -> None:
        """End everything; what hangs is left behind."""
        self.notifier.stopping()
        self.climate.close()
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

    def _see(self, frame: Frame, result: QueryResult, held: Recognition | None) -> None:
        self.sight = LatestResult(frame, result, held)

    # -- between frames -----------------------------------------------------------------------

    def _look_after(self) -> None:
        """Once a second, on the path's thread."""
        self.watch.check()
        try:
            self.snapshot = self.pipeline.gallery.snapshot()
        except EdgeRuntimeError as error:
            self.daemon.note(error)
        if self._hup:
            self._hup = False
            self.reload()
        self._set_pace()
        for part in self._attached:
            part.check()
        only_stdout = [box.sink.name for box in self.outboxes] in (["text"], ["json"])
        if only_stdout and not self._attached and reader_has_gone(sys.stdout):
            raise BrokenPipeError  # nobody listens any more

    def _set_pace(self) -> None:
        settings = self.settings
        slow = self.thermostat.update(self.climate.reading)
        fps = min(settings.camera.fps, settings.heat.fps) if slow else settings.camera.fps
        self.daemon.camera.limit_rate(fps)

    def reload(self) -> None:
        """Bring a changed configuration into force; a faulty one changes nothing."""
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
        self.watch.reopen()
        self.notifier.ready(f"watching {self.daemon.camera.source.name}")

    def _reload(self, new: Settings, changed: set[str]) -> None:
        source = _source(new) if "camera" in changed else None
        lossless = not (source or self.daemon.camera.source).live
        before, self._made = self._made, open_sinks(new, lossless=lossless, before=self._made)
        self.daemon.sinks = list(self.outboxes)
        kinds = {made_from[0] for made_from in self._made}
        for made_from, outbox in before.items():
            if made_from[0] not in kinds:
                threading.Thread(target=outbox.close, daemon=True).start()
        # A secret or certificate in a file that the configuration only names.
        changed |= {str(kind) for kind, *_ in self._made.keys() - before.keys()} - {"output"}
        if source is not None:
            camera = self.daemon.camera
            camera.close(END_S)
            self.daemon.camera = _keeper(new, source, camera.condition)
        self._apply(new)
        fixed = changed - RELOADABLE
        log.info("reloaded: %s", ", ".join(sorted(changed & RELOADABLE)) or "nothing has changed")
        if fixed:
            log.warning("needs a restart to take effect: %s", ", ".join(sorted(fixed)))
        self.settings = new

    def _apply(self, settings: Settings) -> None:
        """Everything that is only a number."""
        decision, gate = settings.decision, settings.gate
        model = self.engine.model
        self.pipeline.neighbors = decision.neighbours
        self.pipeline.radius = model.radius if decision.radius < 0 else decision.radius
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


def _source(settings: Settings) -> Source:
    camera = settings.camera
    return parse_source(
        camera.source,
        CameraOptions(camera.width, camera.height, camera.fps, camera.loop, camera.real_time),
    )


def _keeper(settings: Settings, source: Source, condition: threading.Condition) -> CameraSupervisor:
    camera = settings.camera
    return CameraSupervisor(
        source,
        policy=RetryPolicy(camera.retry_shortest_s, camera.retry_longest_s, camera.retry_budget),
        first_frame_s=camera.first_frame_s,
        next_frame_s=camera.next_frame_s,
        wait=camera.wait,
        condition=condition,
    )
