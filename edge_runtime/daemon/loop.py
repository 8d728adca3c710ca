"""The daemon's main loop: frames in, recognitions out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_runtime.camera.recovery import State
from edge_runtime.camera.supervisor import CameraSupervisor
from edge_runtime.daemon.work_queue import WorkQueue
from edge_runtime.errors import EdgeRuntimeError
from edge_runtime.recognition.pipeline import Pipeline
from edge_runtime.recognition.smoothing import Decider
from edge_runtime.sinks import Sink
from edge_runtime.system.memory import peak_rss_bytes
from edge_runtime.system.stage_timer import Timings
from edge_runtime.types import Event, Frame, QueryResult, Recognition

log = logging.getLogger(__name__)

Observer = Callable[[Frame, QueryResult, Recognition | None], None]
"""Called for every frame with its result and the current recognition, after its events are sent."""

MAX_WAIT_S = 0.5
"""The longest wait for a frame. Signals and periodic tasks are handled between two waits."""


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
    """Runs the pipeline on the frames of one camera."""

    def __init__(
        self,
        camera: CameraSupervisor,
        pipeline: Pipeline,
        sinks: Sequence[Sink] = (),
        *,
        decider: Decider | None = None,
        observers: Sequence[Observer] = (),
        samples: int = 10_000,
    ) -> None:
        """`samples`: the number of latest frames whose stage times are stored."""
        self.camera = camera
        self.pipeline = pipeline
        self.decider = decider or Decider()
        self.sinks = list(sinks)
        self.observers = list(observers)
        self.listeners: list[Callable[[Event], None]] = []
        """Called for every event on the main loop's thread, so they must be fast."""
        self.timings = Timings(samples)
        self.work_queue = WorkQueue(camera.condition)
        self.frames = self.events = self.faults = 0
        """Frames with a result, events sent, and frames that failed."""
        self.last_error = ""
        self.last_iteration_s = time.monotonic()
        """When the latest iteration began, `time.monotonic`; an old value means a stuck loop."""
        self._started_s = time.monotonic()
        self._periodic_tasks: list[_PeriodicTask] = []
        self._stop: str | None = None

    def every(self, interval_s: float, run: Callable[[], None]) -> None:
        """Call `run` between frames, about every `interval_s`; the first time without a wait."""
        self._periodic_tasks.append(_PeriodicTask(interval_s, run))

    def stop(self, reason: str) -> None:
        """End `run` after the current frame; may be called by a signal handler."""
        self._stop = reason
        with self.camera.condition:
            self.camera.condition.notify_all()

    def run(self) -> None:
        """Run until the camera ends or `stop` is called.

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
        """Whether another frame may come: the camera has not ended, and `stop` was not called."""
        return self._stop is None and self.camera.state is not State.STOPPED

    def run_once(self) -> None:
        """Run due tasks and one queued function, then process a frame if one arrives in time."""
        self.last_iteration_s = now_s = time.monotonic()
        for task in self._periodic_tasks:
            if now_s >= task.due_s:
                task.due_s = now_s + task.interval_s
                task.run()
        self.work_queue.run_one()
        self.camera.set_preview_only(self.pipeline.gate is not None)
        frame = self.camera.poll(self._wait_s(now_s), self._interrupted)
        if frame is not None:
            self.step(frame)

    def _interrupted(self) -> bool:
        """Return whether something must be done before the next frame."""
        return self._stop is not None or self.work_queue.waiting()

    def _wait_s(self, now_s: float) -> float:
        return max(0.0, min([MAX_WAIT_S, *(task.due_s - now_s for task in self._periodic_tasks)]))

    def step(self, frame: Frame) -> QueryResult | None:
        """Process one frame; returns None if that fails (see `last_error`)."""
        began_s = time.monotonic()
        try:
            result = self.pipeline.query_frame(frame.picture)
        except EdgeRuntimeError as error:
            self.record_error(error)
            self.faults += 1
            return None
        queried_s = time.monotonic()
        events = self.decider.update(result.verdict, frame, queried_s)
        decided_s = time.monotonic()
        for event in events:
            for sink in self.sinks:
                sink.publish(event)
        ended_s = time.monotonic()
        self.frames += 1
        self.events += len(events)
        stage_ms = result.stage_ms
        stage_ms["decide"] += (decided_s - queried_s) * 1e3
        decode_ms = frame.decode_ms + stage_ms.pop("decode", 0.0)
        query_ms = sum(stage_ms.values())
        stage_ms["publish"] = (ended_s - decided_s) * 1e3
        stage_ms["end_to_end"] = (ended_s - frame.captured_at_s) * 1e3
        stage_ms["capture"] = frame.capture_ms
        stage_ms["decode"] = decode_ms
        stage_ms["wait"] = (began_s - frame.captured_at_s) * 1e3 - frame.decode_ms
        self.timings.add({**stage_ms, "query": query_ms})
        for event in events:
            for listener in self.listeners:
                listener(event)
        for observe in self.observers:
            observe(frame, result, self.decider.current)
        return result

    def record_error(self, error: Exception) -> None:
        """Store an error that does not end the run; log it unless it repeats the last one."""
        if str(error) != self.last_error:
            log.warning("%s", error)
        self.last_error = str(error)

    def summary(self) -> Summary:
        """Return the totals and stage times of the run so far; may be called at any time."""
        return Summary(
            frames=self.frames,
            dropped=self.camera.dropped,
            events=self.events,
            seconds=time.monotonic() - self._started_s,
            stages=self.timings.summary(),
            peak_rss_bytes=peak_rss_bytes(),
        )
