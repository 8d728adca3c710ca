"""What the daemon said against what was filmed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from demo.clip import Segment
from edge_runtime.image import Image
from edge_runtime.recognition.smoothing import WINDOW
from edge_runtime.types import Frame, Match, QueryResult, Recognition

SETTLING = WINDOW
"""Frames at the start of a scene that do not count: the daemon decides over this many."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What the daemon made of one frame."""

    label: str | None
    """What it held to be in view after this frame."""
    nearest: Match | None
    query_ms: float


@dataclass(frozen=True, eq=False)
class SceneScore:
    """How one scene went."""

    segment: Segment
    answer: str | None
    """The label that the daemon held for most of the scene."""
    share: float
    """The part of the scene's frames during which the daemon held the truth."""
    example: Image
    """The middle frame."""
    nearest: Match | None
    """The best match of the middle frame."""
    query_ms: float
    """Time of the middle frame's query."""

    @property
    def right(self) -> bool:
        """Whether the answer is the truth ("unknown" where the scene was never enrolled)."""
        return self.answer == self.segment.label


class Witness:
    """Watches the daemon (its `observe`) and remembers what the score needs."""

    def __init__(self, segments: list[Segment]) -> None:
        self._segments = segments
        self._seen: dict[int, Seen] = {}
        self._examples: dict[int, Image] = {}
        self._middles = {(s.first + s.last) // 2 for s in segments}

    def __call__(self, frame: Frame, result: QueryResult, held: Recognition | None) -> None:
        """Note one frame."""
        self._seen[frame.sequence] = Seen(
            held.label if held else None,
            result.matches[0] if result.matches else None,
            sum(result.stage_ms.values()),
        )
        if frame.sequence in self._middles:
            self._examples[frame.sequence] = frame.image

    def scores(self) -> list[SceneScore]:
        """One score for each scene."""
        return [self._score(segment) for segment in self._segments]

    def _score(self, segment: Segment) -> SceneScore:
        counted = [self._seen[n].label for n in range(segment.first + SETTLING, segment.last + 1)]
        answer, _ = Counter(counted).most_common(1)[0]
        middle = (segment.first + segment.last) // 2
        return SceneScore(
            segment,
            answer,
            counted.count(segment.label) / len(counted),
            self._examples[middle],
            self._seen[middle].nearest,
            self._seen[middle].query_ms,
        )
