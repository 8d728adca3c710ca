"""The loop that people leave running: camera in, recognitions out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_runtime.camera import Capture
from edge_runtime.decision import Decider
from edge_runtime.memory import peak_rss_bytes
from edge_runtime.pipeline import Pipeline
from edge_runtime.sinks import Sink
from edge_runtime.stopwatch import Timings
from edge_runtime.types import Frame, Recognition, Result

Observer = Callable[[Frame, Result, Recognition | None], None]
"""Sees every frame with what was found in it, after its events have gone out."""


@dataclass(frozen=True)
class Summary:
    """A run in numbers."""

    frames: int
    dropped: int
    events: int
    seconds: float
    stages: dict[str, dict[str, float]]
    """By stage: count, p50_ms, p90_ms, p99_ms, max_ms; "query" is fit to decide, "end_to_end" from
    the frame's capture to its events being out."""
    peak_rss_bytes: int


class Daemon:
    """Runs one camera through one pipeline; `summary` may be asked at any time."""

    def __init__(
        self,
        camera: Capture,
        pipeline: Pipeline,
        sinks: Sequence[Sink],
        *,
        decider: Decider | None = None,
        observe: Observer | None = None,
    ) -> None:
        self.camera = camera
        self.pipeline = pipeline
        self.decider = decider or Decider()
        self.timings = Timings()
        self._sinks = sinks
        self._observe = observe
        self._frames = self._events = 0
        self._started_s = time.monotonic()

    def run(self) -> None:
        """Until the camera ends; raises `CameraError` when it fails."""
        for frame in self.camera:
            self.step(frame)

    def step(self, frame: Frame) -> Result:
        """One frame along the path."""
        waited_ms = (time.monotonic() - frame.captured_at_s) * 1e3
        result = self.pipeline.look(frame.image)
        events = self.decider.update(result.verdict, frame, time.monotonic())
        began_s = time.monotonic()
        for event in events:
            for sink in self._sinks:
                sink.publish(event)
        ended_s = time.monotonic()
        self._frames += 1
        self._events += len(events)
        self.timings.add(
            {
                "wait": waited_ms,
                **result.stage_ms,
                "publish": (ended_s - began_s) * 1e3,
                "query": sum(result.stage_ms.values()),
                "end_to_end": (ended_s - frame.captured_at_s) * 1e3,
            }
        )
        if self._observe:
            self._observe(frame, result, self.decider.current)
        return result

    def summary(self) -> Summary:
        """The run so far."""
        return Summary(
            frames=self._frames,
            dropped=self.camera.dropped,
            events=self._events,
            seconds=time.monotonic() - self._started_s,
            stages=self.timings.summary(),
            peak_rss_bytes=peak_rss_bytes(),
        )
