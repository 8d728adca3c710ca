"""The values that flow along the query path: frame, match, verdict, recognition, event."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_runtime.code import Embedding
from edge_runtime.image import Image
from edge_runtime.image.lazy_jpeg import Picture

GALLERY, SERVER = "gallery", "server"


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture from a camera."""

    picture: Picture
    """May not be decoded yet."""
    sequence: int
    """Number of the camera's frame, from 0; a gap means that frames were dropped."""
    captured_at_s: float
    """Time at which the camera delivered the frame, seconds on the `time.monotonic` clock."""
    name: str = ""
    """Name of the frame if it has one, such as the path of a file in a folder."""
    capture_ms: float = 0.0
    """Time spent waiting for the camera."""
    decode_ms: float = 0.0
    """Time spent decoding the camera's bytes so far. Decoding inside a video file's reader counts
    as capture, because OpenCV does not report it separately."""

    @property
    def image(self) -> Image:
        """The full image, uint8 H x W x 3, BGR; raises `PhotoError` if it cannot be decoded."""
        return self.picture.image


@dataclass(frozen=True)
class Match:
    """An enrolled picture found by a query, represented by its code nearest to the query."""

    id: int
    """Id of that code in the gallery."""
    label: str
    distance: int
    """Hamming distance to the query, bits."""
    source: str = ""
    """The photo that was enrolled."""
    penalty: float = 0.0
    """Bits added for the distance between the positions, if the query has one."""
    meters: float | None = None
    """Ground distance from the query's position, meters; None if either position is unknown."""
    similarity: float | None = None
    """Cosine of the features, -1 to 1; None if the gallery has no features."""

    @property
    def score(self) -> float:
        """The value that ranks the match, bits: distance plus penalty."""
        return self.distance + self.penalty


@dataclass(frozen=True)
class LabelSimilarity:
    """How similar a query is to a label."""

    label: str
    similarity: float
    """The mean of two cosines: with the most similar picture, and with the mean of the label. 1 if
    the query is an enrolled picture; less where the positions differ."""
    match: Match
    """The most similar picture of the label."""


@dataclass(frozen=True)
class Verdict:
    """The result for a single image or frame."""

    label: str | None
    """None if unknown."""
    confidence: float
    """Estimated probability that the label is right, 0 to 1; 0 when unknown. In a
    gallery without features, the label's share of the votes."""
    distance: int | None
    """Bits to the nearest picture of the label, or of any label when unknown; None if the gallery
    is empty."""
    similarity: float | None = None
    """Similarity to the label, or to the most similar label when unknown; None if the gallery has
    no features."""
    origin: str = GALLERY
    """Who decided: `GALLERY` or `SERVER`."""


@dataclass(frozen=True)
class Recognition:
    """The label in view, decided over several frames."""

    label: str
    confidence: float
    """Mean confidence of the verdicts of recent frames that name this label: the estimated
    probability that it is right, 0 to 1."""
    agreement: float
    """Share of the recent frames that name this label, 0 to 1."""
    since_s: float
    """Time of the decision, seconds on the `time.monotonic` clock."""


@dataclass(frozen=True)
class Event:
    """A change of the label in view."""

    kind: str
    """Either "enter" (the label came into view) or "leave". A sink may also receive a "test", which
    its owner asked for."""
    label: str
    confidence: float
    """See `Recognition.confidence`; 0 if no recent frame names the label any more."""
    distance: int | None
    """Distance of the frame that triggered the event, bits."""
    sequence: int
    """Number of the frame that triggered the event."""
    time: str
    """Time of the event, ISO 8601 with the UTC offset."""
    frame_time: str
    """Time at which the camera delivered that frame, ISO 8601 with the UTC offset."""
    latency_ms: float
    """Time from the frame's capture to the event."""
    agreement: float = 1.0
    """Share of the recent frames that name the label, 0 to 1."""
    id: str = ""
    """Unique on every board. Ids in order of their text are in order of time."""
    board: str = ""
    """Name of the board: its host name."""
    camera: str = ""
    """Name of the camera."""
    region: str | None = None
    """Name of the region; None for the whole frame."""
    reason: str = ""
    """Why the label left, if not because something else is in view: "camera lost"."""
    next_label: str | None = None
    """The label that replaces this one in the same frame, if this event is a "leave"."""
    origin: str = GALLERY
    """Who named the label: the board's own gallery (`GALLERY`), or a server (`SERVER`)."""


@dataclass(frozen=True)
class CameraState:
    """The state of a camera from `time` on, and what is in view there."""

    board: str
    camera: str
    state: str
    """"starting", "running", "degraded" (it failed and is opened again) or "stopped"."""
    time: str
    """ISO 8601 with the UTC offset."""
    reason: str = ""
    """Why the camera failed; empty in all other states."""
    in_view: tuple[Event, ...] = ()
    """The "enter" events whose "leave" events are still to come."""


@dataclass(frozen=True)
class QueryResult:
    """The result of one pass of one image along the query path."""

    verdict: Verdict
    matches: tuple[Match, ...]
    """Nearest first (most similar first, if the gallery has features); ties in order of id."""
    stage_ms: dict[str, float] = field(default_factory=dict)
    """Milliseconds spent in each stage, in order of execution."""
    label_similarities: tuple[LabelSimilarity, ...] | None = None
    """Labels of the nearest codes, most similar first; None if the gallery has no features."""
    embedding: Embedding | None = field(default=None, repr=False, compare=False)
    """Code and features of the image. Frames that were not hashed share that of the last one."""
    looks: int = 1
    """2 if the middle of the image was hashed as well."""

    @property
    def label(self) -> str | None:
        """The verdict's label; None if unknown."""
        return self.verdict.label

    @property
    def confidence(self) -> float:
        """The verdict's confidence, 0 to 1."""
        return self.verdict.confidence

    @property
    def distance(self) -> int | None:
        """The verdict's distance, bits; None if the gallery is empty."""
        return self.verdict.distance
