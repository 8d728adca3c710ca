"""The loop that people leave running: camera in, recognitions out."""

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
"""Sees every frame with what was found in it, after its events have gone out."""

TURN_S = 0.5
"""A turn of the loop waits at most so long: signals and chores are seen to in between."""


@dataclass(frozen=True)
class Summary:
    """A run in numbers."""

    frames: int
    dropped: int
    events: int
    seconds: float
    stages: dict[str, dict[str, float]]
    """By stage: count, p50_ms, p90_ms, p99_ms, max_ms. What each stage is, see
    `edge_runtime.report.schema.Warm.stages`."""
    peak_rss_bytes: int


@dataclass
class _Chore:
    interval_s: float
    work: Callable[[], None]
    due_s: float = 0.0


class Daemon:
    """Runs one camera through one pipeline; `summary` may be asked at any time."""

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
        """`samples`: of how many of the latest frames the stage times are kept."""
        self.camera = camera
        self.pipeline = pipeline
        self.decider = decider or Decider()
        self.sinks = list(sinks)
        self.observers = list(observers)
        self.listeners: list[Callable[[Event], None]] = []
        """Told of every event, on the path: they must be quick."""
        self.timings = Timings(samples)
        self.errands = WorkQueue(camera.condition)
        self.frames = self.events = self.faults = 0
        """Frames that went along the path, events, and frames that could not be judged."""
        self.last_error = ""
        self.last_turn_s = time.monotonic()
        """When the loop last turned: what a watchdog looks at."""
        self._started_s = time.monotonic()
        self._chores: list[_Chore] = []
        self._stop: str | None = None

    def every(self, interval_s: float, work: Callable[[], None]) -> None:
        """Do `work` between frames, about every `interval_s`; the first time at once."""
        self._chores.append(_Chore(interval_s, work))

    def stop(self, reason: str) -> None:
        """End `run` after the frame it is at; may be called by a signal handler."""
        self._stop = reason
        with self.camera.condition:
            self.camera.condition.notify_all()

    def run(self) -> None:
        """Until the camera ends or `stop`; raises `CameraError` when there is no use in going on.

        Other faults of single frames are noted, and the next frame is tried.
        """
        try:
            while self.running:
                self.turn()
        finally:
            self.errands.close()

    @property
    def running(self) -> bool:
        """Whether another frame may come: the camera has not ended, and `stop` was not called."""
        return self._stop is None and self.camera.state is not State.STOPPED

    def turn(self) -> None:
        """One frame, if one comes in time; else whatever else there is to do."""
        self.last_turn_s = now_s = time.monotonic()
        for chore in self._chores:
            if now_s >= chore.due_s:
                chore.due_s = now_s + chore.interval_s
                chore.work()
        self.errands.do_one()
        self.camera.set_preview_only(self.pipeline.gate is not None)
        frame = self.camera.poll(self._patience_s(now_s), self._wanted)
        if frame is not None:
            self.step(frame)

    def _wanted(self) -> bool:
        """Whether there is something to see to before the next frame."""
        return self._stop is not None or self.errands.waiting()

    def _patience_s(self, now_s: float) -> float:
        return max(0.0, min([TURN_S, *(chore.due_s - now_s for chore in self._chores)]))

    def step(self, frame: Frame) -> QueryResult | None:
        """One frame along the path; None if it could not be judged (see `last_error`)."""
        began_s = time.monotonic()
        try:
            result = self.pipeline.query_frame(frame.picture)
        except EdgeRuntimeError as error:
            self.note(error)
            self.faults += 1
            return None
        looked_s = time.monotonic()
        events = self.decider.update(result.verdict, frame, looked_s)
        decided_s = time.monotonic()
        for event in events:
            for sink in self.sinks:
                sink.publish(event)
        ended_s = time.monotonic()
        self.frames += 1
        self.events += len(events)
        stage_ms = result.stage_ms
        stage_ms["decide"] += (decided_s - looked_s) * 1e3
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

    def note(self, error: Exception) -> None:
        """Keep and log a fault that does not end the run; the same one again is not logged."""
        if str(error) != self.last_error:
            log.warning("%s", error)
        self.last_error = str(error)

    def summary(self) -> Summary:
        """The run so far."""
        return Summary(
            frames=self.frames,
            dropped=self.camera.dropped,
            events=self.events,
            seconds=time.monotonic() - self._started_s,
            stages=self.timings.summary(),
            peak_rss_bytes=peak_rss_bytes(),
        )
