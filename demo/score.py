"""Score the recognitions of the daemon against the scenes that were filmed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from demo.clip import Segment
from edge_runtime.daemon.watcher import Observation
from edge_runtime.image import Image
from edge_runtime.recognition.smoothing import WINDOW
from edge_runtime.types import Match

SETTLING = WINDOW
"""Frames at the start of a scene that do not count, because the daemon decides over a window."""


@dataclass(frozen=True, eq=False)
class FrameOutcome:
    """The outcome of one frame."""

    label: str | None
    """The label that the daemon reports as in view after this frame."""
    nearest: Match | None
    query_ms: float


@dataclass(frozen=True, eq=False)
class SceneScore:
    """The score of one scene."""

    segment: Segment
    answer: str | None
    """The label that the daemon reported for most of the scene."""
    share: float
    """Share of the scene's frames with the correct label."""
    example: Image
    """The middle frame."""
    nearest: Match | None
    """The best match of the middle frame."""
    query_ms: float
    """Time of the middle frame's query."""

    @property
    def correct(self) -> bool:
        """Whether the answer is correct. For a scene that was never enrolled, that is "unknown"."""
        return self.answer == self.segment.label


class SceneObserver:
    """An observer of the daemon that collects the data for the scores."""

    def __init__(self, segments: list[Segment]) -> None:
        self._segments = segments
        self._outcomes: dict[int, FrameOutcome] = {}
        self._examples: dict[int, Image] = {}
        self._middles = {(s.first + s.last) // 2 for s in segments}

    def __call__(self, observation: Observation) -> None:
        """Record the outcome of one frame."""
        frame, result = observation.frame, observation.result
        recognition = observation.recognition
        self._outcomes[frame.sequence] = FrameOutcome(
            recognition.label if recognition else None,
            result.matches[0] if result.matches else None,
            sum(result.stage_ms.values()),
        )
        if frame.sequence in self._middles:
            self._examples[frame.sequence] = frame.image

    def scores(self) -> list[SceneScore]:
        """Return one score per scene."""
        return [self._score(segment) for segment in self._segments]

    def _score(self, segment: Segment) -> SceneScore:
        counted = [
            self._outcomes[n].label for n in range(segment.first + SETTLING, segment.last + 1)
        ]
        answer, _ = Counter(counted).most_common(1)[0]
        middle = (segment.first + segment.last) // 2
        return SceneScore(
            segment,
            answer,
            counted.count(segment.label) / len(counted),
            self._examples[middle],
            self._outcomes[middle].nearest,
            self._outcomes[middle].query_ms,
        )
