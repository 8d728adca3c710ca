"""The query path: frame -> preprocess -> gate -> hash -> pack -> lookup -> decide.

The daemon, a single query, enrollment, the profiler and evaluation all run this code. The change
gate applies only to frames from a camera.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from edge_runtime.code import Code
from edge_runtime.engine import Engine
from edge_runtime.errors import InputError
from edge_runtime.gallery import Gallery
from edge_runtime.image import Image
from edge_runtime.image.change_gate import ChangeGate
from edge_runtime.image.lazy_jpeg import Picture
from edge_runtime.image.preprocess import preprocess
from edge_runtime.position import QueryPosition
from edge_runtime.recognition.voting import (
    NEIGHBORS,
    FusionMethod,
    LabelScore,
    fused_verdict,
    image_verdict,
    label_scores,
)
from edge_runtime.system.stage_timer import NO_TIMER, StageTimer
from edge_runtime.types import QueryResult, Verdict


def code_of(engine: Engine, image: Image, timer: StageTimer = NO_TIMER) -> Code:
    """Return the packed code (uint64 [W]) of an image of any size (uint8 H x W x 3, BGR)."""
    square = preprocess(image, engine.model.input.size)
    timer.mark("fit")
    return engine.hash(square, timer)


@dataclass(frozen=True)
class FusedResult:
    """The joint result of several images of the same thing."""

    verdict: Verdict
    label_scores: tuple[LabelScore, ...]
    """Labels within the radius, best first."""


class Pipeline:
    """Recognizes images: combines an engine and a gallery."""

    def __init__(
        self,
        engine: Engine,
        gallery: Gallery,
        *,
        neighbors: int = NEIGHBORS,
        radius: int | None = None,
        labels: Collection[str] | None = None,
        gate: ChangeGate | None = None,
    ) -> None:
        """Combine `engine` and `gallery`.

        `radius` is the distance in bits up to which a neighbor counts as known. None takes the
        model's own radius. `labels` restricts the search to these labels; None searches all.

        `gate` decides which frames passed to `query_frame` are hashed. If a frame resembles the
        last hashed one, the lookup uses that frame's code; it still runs, because the gallery may
        have changed. None hashes every frame. Raises `InputError` for a radius out of range.
        """
        self.engine = engine
        self.gallery = gallery
        self.neighbors = neighbors
        if radius is not None and not 0 <= radius <= engine.model.bits:
            raise InputError(f"radius must be between 0 and {engine.model.bits}, got {radius}")
        self.radius = engine.model.radius if radius is None else radius
        self.labels = labels
        self.gate = gate
        self._code: Code | None = None

    def query(self, image: Image, near: QueryPosition | None = None) -> QueryResult:
        """Recognize one image (uint8 H x W x 3, BGR), taken at the position `near`."""
        timer = StageTimer()
        return self._search(code_of(self.engine, image, timer), near, timer)

    def query_frame(self, picture: Picture) -> QueryResult:
        """Recognize one camera picture, hashing it only if the gate requires it.

        Decodes the picture if necessary; this time belongs to the stage "decode". Raises
        `PhotoError` if the picture cannot be decoded.
        """
        timer = StageTimer()
        return self._search(self._gated_code(picture, timer), None, timer)

    def query_together(
        self,
        images: Sequence[Image],
        method: FusionMethod = "vote",
        near: QueryPosition | None = None,
    ) -> FusedResult:
        """Return one result for several images of the same thing.

        `edge_runtime.recognition.voting` describes the fusion methods.
        """
        neighbors = [self.query(image, near).matches for image in images]
        scores = label_scores(neighbors, self.radius, method)
        return FusedResult(fused_verdict(neighbors, scores), scores)

    def _search(self, code: Code, near: QueryPosition | None, timer: StageTimer) -> QueryResult:
        matches = self.gallery.search(code, self.neighbors, labels=self.labels, near=near)
        timer.mark("lookup")
        verdict = image_verdict(matches, self.radius)
        timer.mark("decide")
        return QueryResult(verdict, matches, timer.stage_ms)

    def _gated_code(self, picture: Picture, timer: StageTimer) -> Code:
        if self.gate is None:
            return self.engine.hash(self._preprocess(picture, timer), timer)
        small, square = picture.preview, None
        if small is None:
            small = square = self._preprocess(picture, timer)
        changed = self.gate.should_hash(small)
        timer.mark("gate")
        if changed or self._code is None:
            self._code = None  # if hashing fails, the previous code must not answer for this frame
            if square is None:
                square = self._preprocess(picture, timer)
            self._code = self.engine.hash(square, timer)
        return self._code

    def _preprocess(self, picture: Picture, timer: StageTimer) -> Image:
        encoded = picture.encoded
        image = picture.image
        if encoded:
            timer.mark("decode")
        square = preprocess(image, self.engine.model.input.size)
        timer.mark("fit")
        return square
