"""The daemon's main loop: frames of all cameras in, recognitions out."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_runtime.camera.recovery import State
from edge_runtime.camera.supervisor import CameraSupervisor
from edge_runtime.daemon.watcher import CameraWatcher, Observation, RegionWatcher, SecondOpinion
from edge_runtime.daemon.work_queue import WorkQueue
from edge_runtime.errors import CameraError, EdgeRuntimeError
from edge_runtime.recognition.pipeline import Pipeline
from edge_runtime.recognition.smoothing import Decider
from edge_runtime.sinks import Sink
from edge_runtime.system.memory import peak_rss_bytes
from edge_runtime.system.stage_timer import Timings
from edge_runtime.types import CameraState, Event, Frame

log = logging.getLogger(__name__)

Observer = Callable[[Observation], None]
"""Called for every region of every frame, after its events are sent."""

MAX_WAIT_S = 0.5
"""The longest wait for a frame. Signals and periodic tasks are handled between two waits."""
CAMERA_LOST = "camera lost"
"""The reason of the "leave" events of a camera that has failed."""
REPLACED = "reloaded"
"""The reason of the "leave" events of a camera or region that a new configuration changes."""


@dataclass(frozen=True)
class Summary:
    """The totals and stage times of a run."""

    frames: int
    dropped: int
    events: int
    seconds: float
    stages: dict[str, dict[str, float]]
    """By stage: count, p50_ms, p90_ms, p99_ms, max_ms. The stages are described at
    `edge_runtime.report.schema.Warm.stages`."""
    peak_rss_bytes: int


@dataclass
class _PeriodicTask:
    interval_s: float
    run: Callable[[], None]
    due_s: float = 0.0


class Daemon:
    """Runs the pipelines on the frames of one or more cameras."""

    def __init__(
        self,
        camera: CameraSupervisor | Sequence[CameraWatcher],
        pipeline: Pipeline | None = None,
        sinks: Sequence[Sink] = (),
        *,
        decider: Decider | None = None,
        observers: Sequence[Observer] = (),
        samples: int = 10_000,
    ) -> None:
        """Watch one `camera` with `pipeline` and `decider`, or several that are already combined.

        The supervisors of several cameras share one `condition`. `samples`: the number of latest
        results whose stage times are stored.
        """
        if isinstance(camera, CameraSupervisor):
            assert pipeline is not None
            camera = [CameraWatcher(camera, [RegionWatcher(pipeline, decider)])]
        self.cameras = list(camera)
        """Never empty."""
        self.sinks = list(sinks)
        self.observers = list(observers)
        self.listeners: list[Callable[[Event], None]] = []
        """Called for every event on the main loop's thread, so they must be fast."""
        self.second_opinion: SecondOpinion | None = None
        """Asked for what is unknown."""
        self.timings = Timings(samples)
        self.work_queue = WorkQueue(self.condition)
        self.frames = self.events = self.faults = 0
        """Frames with a result, events sent, and frames that failed."""
        self.last_error = ""
        self.last_iteration_s = time.monotonic()
        """When the latest iteration began, `time.monotonic`; an old value means a stuck loop."""
        self._started_s = time.monotonic()
        self._periodic_tasks: list[_PeriodicTask] = []
        self._next = 0
        """Index of the camera whose turn it is."""
        self._stop: str | None = None

    @property
    def camera(self) -> CameraSupervisor:
        """The first camera."""
        return self.cameras[0].camera

    @property
    def decider(self) -> Decider:
        """The decider of the first camera's first region."""
        return self.cameras[0].regions[0].decider

    @property
    def regions(self) -> list[RegionWatcher]:
        """The regions of all cameras."""
        return [region for camera in self.cameras for region in camera.regions]

    @property
    def condition(self) -> threading.Condition:
        """Notified whenever a camera or another thread has something for the main loop."""
        return self.camera.condition

    def every(self, interval_s: float, run: Callable[[], None]) -> None:
        """Call `run` between frames, about every `interval_s`; the first time without a wait."""
        self._periodic_tasks.append(_PeriodicTask(interval_s, run))

    def stop(self, reason: str) -> None:
        """End `run` after the current frame; may be called by a signal handler."""
        self._stop = reason
        with self.condition:
            self.condition.notify_all()

    def run(self) -> None:
        """Run until every camera has ended or `stop` is called.

        A frame that fails is recorded, and the next frame is tried. Raises `CameraError` only
        where another attempt is useless.
        """
        try:
            while self.running:
                self.run_once()
        finally:
            self.work_queue.close()

    @property
    def running(self) -> bool:
        """Whether another frame may come: a camera has not ended, and `stop` was not called."""
        return self._stop is None and any(
            each.camera.state is not State.STOPPED for each in self.cameras
        )

    def run_once(self) -> None:
        """Run due tasks and one queued function, then process a frame if one arrives in time."""
        self.last_iteration_s = now_s = time.monotonic()
        for task in self._periodic_tasks:
            if now_s >= task.due_s:
                task.due_s = now_s + task.interval_s
                task.run()
        if self.work_queue.waiting():
            self.work_queue.run_one()
        self._process(now_s)
        self.show_cameras()

    def _process(self, now_s: float) -> None:
        watcher = self._wait(now_s)
        if watcher is None:
            return
        frame = self._frame(watcher)
        if watcher.camera.state is State.DEGRADED:
            self._announce_loss(watcher)
        if frame is not None:
            self.step(frame, watcher)

    def _wait(self, now_s: float) -> CameraWatcher | None:
        """Wait until a camera needs attention; return it, or None if something else comes first.

        The cameras take turns, so none waits for the others longer than one frame of each.
        """
        with self.condition:
            if not self._has_work():
                wait_s = [MAX_WAIT_S, *(task.due_s - now_s for task in self._periodic_tasks)]
                wait_s += [each.camera.due_in_s() for each in self.cameras]
                self.condition.wait_for(self._has_work, max(0.0, min(wait_s)))
        if self._interrupted():
            return None
        count = len(self.cameras)
        for turn in range(self._next, self._next + count):
            each = self.cameras[turn % count]
            if each.camera.ready() or each.camera.due_in_s() <= 0:
                self._next = (turn + 1) % count
                return each
        return None

    def _has_work(self) -> bool:
        """Return whether something need not be waited for. Called whenever a thread notifies."""
        return self._interrupted() or any(each.camera.ready() for each in self.cameras)

    def _frame(self, watcher: CameraWatcher) -> Frame | None:
        """Return the camera's frame, if it has one.

        Raises `CameraError` where another attempt is useless, unless other cameras go on.
        """
        camera = watcher.camera
        camera.set_preview_only(watcher.uses_previews)
        try:
            return camera.poll(0.0)
        except CameraError as error:
            others = [each.camera for each in self.cameras if each is not watcher]
            if camera.too_many_hung or all(each.state is State.STOPPED for each in others):
                raise
            self.record_error(error)
            camera.give_up(error)
            self._announce_loss(watcher)
            return None

    def _announce_loss(self, watcher: CameraWatcher) -> None:
        if not watcher.lost:
            watcher.lost = True
            for region in watcher.regions:
                self._publish(region.lose(CAMERA_LOST))

    def camera_states(self) -> list[CameraState]:
        """Return the state of each camera."""
        return [each.describe() for each in self.cameras]

    def show_cameras(self, *, unchanged: bool = False) -> None:
        """Send the states of cameras that have changed to the sinks, or with `unchanged` all."""
        for watcher in self.cameras:
            state = watcher.camera.state
            if unchanged or state is not watcher.shown:
                watcher.shown = state
                described = watcher.describe()
                for sink in self.sinks:
                    sink.show(described)

    def replace(self, cameras: Sequence[CameraWatcher]) -> None:
        """Watch other cameras. Labels leave the view in regions that are not among them."""
        regions = {id(region): each.camera for each in cameras for region in each.regions}
        for before in self.cameras:
            for region in before.regions:
                if regions.get(id(region)) is not before.camera:
                    self._publish(region.lose(REPLACED))
        self.cameras = list(cameras)

    def _interrupted(self) -> bool:
        """Return whether something must be done before the next frame."""
        return self._stop is not None or self.work_queue.waiting()

    def step(self, frame: Frame, watcher: CameraWatcher | None = None) -> Observation | None:
        """Process one frame; returns None if every region of it fails (see `last_error`)."""
        watcher = watcher or self.cameras[0]
        watcher.lost = False
        began_s, decode_ms = time.monotonic(), frame.decode_ms
        observation = None
        for region in watcher.regions:
            try:
                observation, events = region.step(frame, self.second_opinion)
            except EdgeRuntimeError as error:
                self.record_error(error)
                continue
            decided_s = time.monotonic()
            self._publish(events, listen=False)
            self._time(observation, began_s, decode_ms, decided_s)
            self._listen(events)
            for observe in self.observers:
                observe(observation)
            began_s, decode_ms = time.monotonic(), 0.0
        self.frames += observation is not None
        self.faults += observation is None
        return observation

    def _publish(self, events: Sequence[Event], *, listen: bool = True) -> None:
        self.events += len(events)
        for event in events:
            for sink in self.sinks:
                sink.publish(event)
        if listen:
            self._listen(events)

    def _listen(self, events: Sequence[Event]) -> None:
        for event in events:
            for listener in self.listeners:
                listener(event)

    def _time(
        self, observation: Observation, began_s: float, decode_ms: float, decided_s: float
    ) -> None:
        """Complete the stage times of a result and store them."""
        frame, stage_ms, ended_s = observation.frame, observation.result.stage_ms, time.monotonic()
        decode_ms += stage_ms.pop("decode", 0.0)
        query_ms = sum(stage_ms.values())
        stage_ms["publish"] = (ended_s - decided_s) * 1e3
        stage_ms["end_to_end"] = (ended_s - frame.captured_at_s) * 1e3
        stage_ms["capture"] = frame.capture_ms
        stage_ms["decode"] = decode_ms
        stage_ms["wait"] = (began_s - frame.captured_at_s) * 1e3 - frame.decode_ms
        self.timings.add({**stage_ms, "query": query_ms})

    def record_error(self, error: Exception) -> None:
        """Store an error that does not end the run; log it unless it repeats the last one."""
        if str(error) != self.last_error:
            log.warning("%s", error)
        self.last_error = str(error)

    def summary(self) -> Summary:
        """Return the totals and stage times of the run so far; may be called at any time."""
        return Summary(
            frames=self.frames,
            dropped=sum(each.camera.dropped for each in self.cameras),
            events=self.events,
            seconds=time.monotonic() - self._started_s,
            stages=self.timings.summary(),
            peak_rss_bytes=peak_rss_bytes(),
        )
