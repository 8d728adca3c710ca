"""The path: frame -> fit -> gate -> hash -> pack -> lookup -> decide.

The same code for the daemon, a single query, enrolment, the profiler and evaluation. Only what a
camera sees passes a gate.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from edge_runtime.code import Code
from edge_runtime.engine import Engine
from edge_runtime.errors import InputError
from edge_runtime.gallery import Gallery
from edge_runtime.image import Image
from edge_runtime.image.change_gate import Gate
from edge_runtime.image.lazy_jpeg import Picture
from edge_runtime.image.preprocess import preprocess
from edge_runtime.position import Near
from edge_runtime.recognition.smoothing import NEIGHBOURS, vote
from edge_runtime.recognition.voting import LabelScore, Method, label_scores, verdict
from edge_runtime.system.stage_timer import Lap, StageTimer, no_lap
from edge_runtime.types import Result, Verdict


def code_of(engine: Engine, image: Image, lap: Lap = no_lap) -> Code:
    """The packed code (uint64 [W]) of a picture of any size (uint8 H x W x 3, BGR)."""
    square = preprocess(image, engine.model.input.size)
    lap("fit")
    return engine.hash(square, lap)


@dataclass(frozen=True)
class FusedResult:
    """What several pictures say together."""

    verdict: Verdict
    label_scores: tuple[LabelScore, ...]
    """Labels within the radius, best first."""


class Pipeline:
    """An engine and a gallery, joined."""

    def __init__(
        self,
        engine: Engine,
        gallery: Gallery,
        *,
        neighbours: int = NEIGHBOURS,
        radius: int | None = None,
        labels: Collection[str] | None = None,
        gate: Gate | None = None,
    ) -> None:
        """`radius`: bits within which a neighbour counts as known; None: as the model says.

        `labels`: look only among these; None: among all.

        `gate` decides which pictures that are `watch`ed are hashed; of one that is like the last
        hashed one, that one's code is looked up (again: the gallery may have changed meanwhile).
        None: all are.
        """
        self.engine = engine
        self.gallery = gallery
        self.neighbours = neighbours
        if radius is not None and not 0 <= radius <= engine.model.bits:
            raise InputError(f"a radius of {radius} bits", remedy=f"give 0 to {engine.model.bits}")
        self.radius = engine.model.radius if radius is None else radius
        self.labels = labels
        self.gate = gate
        self._code: Code | None = None

    def look(self, image: Image, near: Near | None = None) -> Result:
        """Everything about one picture (uint8 H x W x 3, BGR): neighbours, verdict, stage times.

        `near`: where it was taken.
        """
        watch = StageTimer()
        return self._find(code_of(self.engine, image, watch.lap), near, watch)

    def watch(self, picture: Picture) -> Result:
        """The same about one of a camera's pictures, as far as the gate lets it through.

        It is decoded here, if it has not been and need be: the stage "decode". Raises `PhotoError`.
        """
        watch = StageTimer()
        return self._find(self._watch(picture, watch.lap), None, watch)

    def _find(self, code: Code, near: Near | None, watch: StageTimer) -> Result:
        matches = self.gallery.search(code, self.neighbours, labels=self.labels, near=near)
        watch.lap("lookup")
        verdict = vote(matches, self.radius)
        watch.lap("decide")
        return Result(verdict, matches, watch.stage_ms)

    def look_together(
        self, images: Sequence[Image], method: Method = "vote", near: Near | None = None
    ) -> FusedResult:
        """One answer about several pictures of the same thing; see `edge_runtime.recognition.voting`."""
        looks = [self.look(image, near).matches for image in images]
        found = label_scores(looks, self.radius, method)
        return FusedResult(verdict(looks, found), found)

    def _watch(self, picture: Picture, lap: Lap) -> Code:
        if self.gate is None:
            return self.engine.hash(self._fit(picture, lap), lap)
        seen, square = picture.glance, None
        if seen is None:
            seen = square = self._fit(picture, lap)
        changed = self.gate.changed(seen)
        lap("gate")
        if changed or self._code is None:
            self._code = None  # should hashing fail, the one before is no answer for this frame
            if square is None:
                square = self._fit(picture, lap)
            self._code = self.engine.hash(square, lap)
        return self._code

    def _fit(self, picture: Picture, lap: Lap) -> Image:
        encoded = picture.encoded
        image = picture.image
        if encoded:
            lap("decode")
        square = preprocess(image, self.engine.model.input.size)
        lap("fit")
        return square
