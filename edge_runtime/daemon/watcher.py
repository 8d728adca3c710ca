"""What is watched: cameras, and one or more regions of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from edge_runtime.camera.recovery import State
from edge_runtime.camera.supervisor import CameraSupervisor
from edge_runtime.image.lazy_jpeg import Picture
from edge_runtime.image.region import Area, PartOfPicture
from edge_runtime.recognition.pipeline import Pipeline
from edge_runtime.recognition.smoothing import Decider, Origin
from edge_runtime.types import CameraState, Event, Frame, QueryResult, Recognition

SecondOpinion = Callable[[QueryResult, Collection[str] | None], QueryResult]
"""Gets the result for something unknown and the labels that count, None for all. Never waits."""


@dataclass(frozen=True, eq=False)
class Observation:
    """One region of a frame with its result, and the recognition current at that time."""

    origin: Origin
    frame: Frame
    picture: Picture
    """The region's part of the frame."""
    result: QueryResult
    recognition: Recognition | None


class RegionWatcher:
    """Recognizes what is in one region of a camera's frames: a hash per frame of its own."""

    def __init__(
        self, pipeline: Pipeline, decider: Decider | None = None, area: Area | None = None
    ) -> None:
        """Watch `area`, or the whole frame. The gate of `pipeline` serves this region alone."""
        self.pipeline = pipeline
        self.decider = decider or Decider()
        self.area = area
        self.latest: Observation | None = None
        """The newest frame that was processed."""
        self.entered: Event | None = None
        """The "enter" event whose "leave" event is still to come."""
        self.keeps_pictures = False
        """Whether to hold the picture of that event."""
        self.entered_picture: Picture | None = None
        self.frames = 0
        """Number of frames that were processed."""
        self.hash_ms: float | None = None
        """Time of the latest hash. Unchanged frames need none."""

    @property
    def origin(self) -> Origin:
        """The names of board, camera and region."""
        return self.decider.origin

    @property
    def labels(self) -> Collection[str] | None:
        """The labels that may be recognized here; None for all."""
        return self.pipeline.labels

    def step(
        self, frame: Frame, second_opinion: SecondOpinion | None = None
    ) -> tuple[Observation, list[Event]]:
        """Process this region of `frame`; raises `EdgeRuntimeError`.

        `second_opinion` may name what the gallery does not know. The time of deciding is added to
        the stage "decide" of the result.
        """
        picture = frame.picture if self.area is None else PartOfPicture(frame.picture, self.area)
        result = self.pipeline.query_frame(picture)
        if second_opinion is not None and result.verdict.label is None:
            result = second_opinion(result, self.labels)
        queried_s = time.monotonic()
        events = self.decider.update(result.verdict, frame, queried_s)
        result.stage_ms["decide"] += (time.monotonic() - queried_s) * 1e3
        self.latest = Observation(self.origin, frame, picture, result, self.decider.current)
        self.hash_ms = result.stage_ms.get("hash", self.hash_ms)
        self.frames += 1
        return self.latest, self._noted(events)

    def lose(self, reason: str) -> list[Event]:
        """Return the events of a camera that delivers no frames any more."""
        latest = self.latest
        return self._noted(self.decider.lose(reason, latest.frame.sequence if latest else 0))

    def _noted(self, events: list[Event]) -> list[Event]:
        for event in events:
            self.entered = event if event.kind == "enter" else None
            keep = self.entered is not None and self.keeps_pictures and self.latest is not None
            self.entered_picture = self.latest.picture if keep and self.latest else None
        return events


class CameraWatcher:
    """One camera and its regions."""

    def __init__(self, camera: CameraSupervisor, regions: Sequence[RegionWatcher]) -> None:
        """`regions`: at least one."""
        self.camera = camera
        self.regions = list(regions)
        self.lost = False
        """Whether the labels in view have left because the camera failed."""
        self.shown: State | None = None
        """The state that was last sent to the sinks."""

    @property
    def name(self) -> str:
        """The name of the camera."""
        return self.regions[0].origin.camera

    def describe(self) -> CameraState:
        """Return the camera's state and what is in view."""
        recovery, origin = self.camera.recovery, self.regions[0].origin
        since = datetime.now().astimezone() - timedelta(seconds=time.monotonic() - recovery.since_s)
        return CameraState(
            origin.board,
            origin.camera,
            recovery.state.value,
            since.isoformat(timespec="milliseconds"),
            recovery.fault
            if recovery.state is State.DEGRADED or (recovery.state is State.STOPPED and self.lost)
            else "",
            tuple(region.entered for region in self.regions if region.entered),
        )

    @property
    def uses_previews(self) -> bool:
        """Whether the gates of all regions look at previews before a frame is decoded."""
        return all(region.pipeline.gate is not None for region in self.regions)
