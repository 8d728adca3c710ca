"""The plain values that flow along the path: frame, match, verdict, recognition, event."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_runtime.image import Image
from edge_runtime.image.lazy_jpeg import Picture


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture from a camera."""

    picture: Picture
    """Perhaps not decoded yet."""
    sequence: int
    """Counts the camera's frames from 0; a gap means that frames were dropped."""
    captured_at_s: float
    """When the camera delivered it, seconds on the `time.monotonic` clock."""
    name: str = ""
    """Where it came from, where frames have names (the files of a folder)."""
    capture_ms: float = 0.0
    """How long the camera was waited for."""
    decode_ms: float = 0.0
    """From the camera's bytes to pixels, so far. What a video file's reader does while it fetches a
    frame counts as capture: OpenCV does not tell them apart."""

    @property
    def image(self) -> Image:
        """uint8 H x W x 3, BGR; raises `PhotoError` if it cannot be decoded after all."""
        return self.picture.image


@dataclass(frozen=True)
class Match:
    """One enrolled item that lies near a query."""

    id: int
    label: str
    distance: int
    """Differing bits."""
    source: str = ""
    """The photo it was enrolled from."""
    penalty: float = 0.0
    """Bits added for where it was taken, if the query had a position."""
    metres: float | None = None
    """On the ground from the query's position; None: not both are known."""

    @property
    def score(self) -> float:
        """What it is ranked and judged by, bits: the distance and the penalty."""
        return self.distance + self.penalty


@dataclass(frozen=True)
class Verdict:
    """What one frame shows, by itself."""

    label: str | None
    """None: unknown, nothing enrolled is near enough."""
    confidence: float
    """The label's share of the votes, 0 to 1; 0 when unknown."""
    distance: int | None
    """Bits to the nearest item of the label, or of anything when unknown; None: empty gallery."""


@dataclass(frozen=True)
class Recognition:
    """What the camera is looking at, as decided over several frames."""

    label: str
    confidence: float
    """The share of the recent frames that agree, 0 to 1."""
    since_s: float
    """When it was first decided, seconds on the `time.monotonic` clock."""


@dataclass(frozen=True)
class Event:
    """A label came into view ("enter") or left it ("leave")."""

    kind: str
    label: str
    confidence: float
    distance: int | None
    """Bits, of the frame that settled it."""
    sequence: int
    """Number of the frame that settled it."""
    time: str
    """When it was settled, ISO 8601 with the UTC offset."""
    frame_time: str
    """When the camera delivered that frame, likewise."""
    latency_ms: float
    """From the frame's capture to this event."""


@dataclass(frozen=True)
class QueryResult:
    """All that one pass along the path found out about one picture."""

    verdict: Verdict
    matches: tuple[Match, ...]
    """Nearest first; ties by id."""
    stage_ms: dict[str, float] = field(default_factory=dict)
    """Milliseconds spent in each stage, in the order they ran."""

    @property
    def label(self) -> str | None:
        """The verdict's label; None: unknown."""
        return self.verdict.label

    @property
    def confidence(self) -> float:
        """The verdict's confidence, 0 to 1."""
        return self.verdict.confidence

    @property
    def distance(self) -> int | None:
        """The verdict's distance, bits; None: empty gallery."""
        return self.verdict.distance
