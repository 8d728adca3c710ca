"""The query path: frame -> preprocess -> gate -> hash -> pack -> lookup -> decide.

The daemon, a single query, enrollment, the profiler and evaluation all run this code. The change
gate applies only to frames from a camera.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from copy import copy
from dataclasses import dataclass

from edge_runtime.code import Code, Embedding
from edge_runtime.engine import Engine
from edge_runtime.errors import InputError, LabelError, NotEnrolledError
from edge_runtime.fitting.calibration import FALSE_NAME_RATE
from edge_runtime.gallery import Gallery, check_label
from edge_runtime.gallery.records import UNKNOWN
from edge_runtime.image import Image
from edge_runtime.image.change_gate import ChangeGate
from edge_runtime.image.lazy_jpeg import Picture
from edge_runtime.image.preprocess import middle_of, preprocess
from edge_runtime.position import QueryPosition
from edge_runtime.recognition.similarity import (
    fuse_similarities,
    similarity_scores,
    similarity_verdict,
)
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

log = logging.getLogger(__name__)


def code_of(engine: Engine, image: Image, timer: StageTimer = NO_TIMER) -> Code:
    """Return the packed code (uint64 [W]) of an image of any size (uint8 H x W x 3, BGR)."""
    return embedding_of(engine, image, timer).code


def embedding_of(engine: Engine, image: Image, timer: StageTimer = NO_TIMER) -> Embedding:
    """Return code and features of an image of any size (uint8 H x W x 3, BGR)."""
    square = preprocess(image, engine.model.input.size)
    timer.mark("fit")
    return engine.embed(square, timer)


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
        false_name_rate: float = FALSE_NAME_RATE,
        labels: Collection[str] | None = None,
        gate: ChangeGate | None = None,
        second_look: bool = True,
    ) -> None:
        """Combine `engine` and `gallery`.

        If the gallery has features, the most similar label is the answer. It counts as known from
        the similarity on that a share `false_name_rate` of strangers exceeds, as calibrated on the
        gallery. Without features, neighbors vote, and one counts as known up to the model's own
        radius. A `radius` in bits replaces both limits. `labels` restricts the search to these
        labels and `UNKNOWN`; None searches all.

        `gate` decides which frames passed to `query_frame` are hashed. If a frame resembles the
        last hashed one, the lookup uses that frame's code; it still runs, because the gallery may
        have changed. None hashes every frame.

        With `second_look`, a picture that stays unknown is looked at again: its middle is hashed,
        too, and a label counts as similar as in the better look. The limit for strangers is that of
        two looks. A camera's second look is at the next frame, if the gate finds that nothing has
        changed: no frame takes two runs of the network. It needs features of the middle of each
        enrolled picture, and no `radius`.

        Raises `InputError` for a value out of range.
        """
        self.engine = engine
        self.gallery = gallery
        self.neighbors = neighbors
        if radius is not None and not 0 <= radius <= engine.model.bits:
            raise InputError(f"radius must be between 0 and {engine.model.bits}, got {radius}")
        if not 0 < false_name_rate < 1:
            raise InputError(f"the false-name rate must be between 0 and 1, got {false_name_rate}")
        self.radius = radius
        self.false_name_rate = false_name_rate
        self.labels = labels
        self.gate = gate
        self.second_look = second_look
        self._skips_missing_labels = False
        self._missing: tuple[str, ...] = ()
        """Labels of `labels` that the gallery lacks, as last reported."""
        self._embedding: Embedding | None = None
        self._closer: Embedding | None = None
        """The middle of a frame that the gate found to be like the last hashed one."""
        self._is_unsure = False
        """Whether a second look at the last frame could still name it."""

    def with_gate(self, gate: ChangeGate | None) -> Pipeline:
        """Return a pipeline like this one, with another gate."""
        other = copy(self)
        other.gate, other._embedding, other._closer = gate, None, None
        return other

    def for_labels(self, labels: Collection[str] | None) -> Pipeline:
        """Return a pipeline like this one that recognizes only `labels`, or all, without a gate.

        A label that the gallery lacks is not recognized until it is enrolled. It is logged once.
        """
        other = self.with_gate(None)
        other.labels, other._skips_missing_labels = labels, True
        return other

    def query(self, image: Image, near: QueryPosition | None = None) -> QueryResult:
        """Recognize one image (uint8 H x W x 3, BGR), taken at the position `near`."""
        timer = StageTimer()
        embedding = embedding_of(self.engine, image, timer)
        twice = self.second_look and self.radius is None
        result = self._search(embedding, near, timer, twice)
        if not self._could_be_named(result):
            return result
        closer = embedding_of(self.engine, middle_of(image), timer)
        return self._search(embedding, near, timer, closer=closer)

    def look(self, image: Image, near: QueryPosition | None = None) -> QueryResult:
        """Recognize one of several images of the same thing: `query` without a second look."""
        timer = StageTimer()
        return self._search(embedding_of(self.engine, image, timer), near, timer)

    def query_frame(self, picture: Picture) -> QueryResult:
        """Recognize one camera picture, hashing it only if the gate requires it.

        Decodes the picture if necessary; this time belongs to the stage "decode". Raises
        `PhotoError` if the picture cannot be decoded.
        """
        timer = StageTimer()
        embedding = self._gated_embedding(picture, timer)
        result = self._search(embedding, None, timer, closer=self._closer)
        self._is_unsure = self._closer is None and self._could_be_named(result)
        return result

    def query_together(
        self,
        images: Sequence[Image],
        method: FusionMethod = "vote",
        near: QueryPosition | None = None,
    ) -> FusedResult:
        """Return one result for several images of the same thing.

        `edge_runtime.recognition.voting` describes the fusion methods.
        """
        return self.fuse([self.look(image, near) for image in images], method)

    def fuse(self, results: Sequence[QueryResult], method: FusionMethod = "vote") -> FusedResult:
        """Return one result for the results of several images of the same thing."""
        calibration = self.gallery.calibration()
        similar = [result.label_similarities for result in results]
        if calibration is not None and None not in similar:
            labels, images = fuse_similarities([one for one in similar if one], method)
            verdict = similarity_verdict(labels, calibration, self.false_name_rate, self.radius)
            return FusedResult(verdict, similarity_scores(labels, images, calibration))
        neighbors = [result.matches for result in results]
        scores = label_scores(neighbors, self._radius, method)
        named = tuple(score for score in scores if score.label != UNKNOWN)
        return FusedResult(fused_verdict(neighbors, scores), named)

    @property
    def _radius(self) -> int:
        return self.engine.model.radius if self.radius is None else self.radius

    def _could_be_named(self, result: QueryResult) -> bool:
        """Return whether a second look may help: the first one left the picture unknown.

        The label `UNKNOWN` as the most similar one is an answer.
        """
        if not self.second_look or result.label is not None or not result.label_similarities:
            return False
        calibration = self.gallery.calibration()
        closer = None if calibration is None else calibration.closer
        if self.radius is not None or closer is None:
            return False
        best = result.label_similarities[0]
        return best.label != UNKNOWN or best.similarity < closer.threshold(self.false_name_rate)

    def _search(
        self,
        embedding: Embedding,
        near: QueryPosition | None,
        timer: StageTimer,
        twice: bool = False,
        closer: Embedding | None = None,
    ) -> QueryResult:
        """Search for one look, or for two with `closer`.

        With `twice`, one look is held to the limit of two: a second one may follow.
        """
        try:
            return self._search_labels(self.labels, embedding, near, timer, twice, closer)
        except (NotEnrolledError, LabelError):
            if not self._skips_missing_labels:
                raise
            enrolled = self._enrolled_labels()
            return self._search_labels(enrolled, embedding, near, timer, twice, closer)

    def _enrolled_labels(self) -> list[str]:
        """Return those of `labels` that are in the gallery."""
        enrolled = set(self.gallery.snapshot().labels.values())
        found: list[str] = []
        missing: list[str] = []
        for label in self.labels or ():
            try:
                (found if check_label(label) in enrolled else missing).append(label)
            except LabelError:
                missing.append(label)
        if tuple(missing) != self._missing:
            self._missing = tuple(missing)
            log.warning("not in the gallery, and so not recognized: %s", ", ".join(missing))
        return found

    def _search_labels(
        self,
        labels: Collection[str] | None,
        embedding: Embedding,
        near: QueryPosition | None,
        timer: StageTimer,
        twice: bool,
        closer: Embedding | None,
    ) -> QueryResult:
        if labels is not None and self.gallery.snapshot().unknown is not None:
            labels = {*labels, UNKNOWN}
        found = self.gallery.find(
            embedding, self.neighbors, labels=labels, near=near, closer=closer
        )
        timer.mark("lookup")
        if isinstance(found, tuple):
            verdict = image_verdict(found, self._radius)
            timer.mark("decide")
            return QueryResult(verdict, found, timer.stage_ms, embedding=embedding)
        looks = 1 if closer is None else 2
        calibration = found.calibration.of_looks(2 if twice else looks)
        verdict = similarity_verdict(found.labels, calibration, self.false_name_rate, self.radius)
        timer.mark("decide")
        return QueryResult(verdict, found.matches, timer.stage_ms, found.labels, embedding, looks)

    def _gated_embedding(self, picture: Picture, timer: StageTimer) -> Embedding:
        if self.gate is None:
            return self.engine.embed(self._preprocess(picture, timer), timer)
        small, square = picture.preview, None
        if small is None:
            small = square = self._preprocess(picture, timer)
        changed = self.gate.should_hash(small)
        timer.mark("gate")
        if changed or self._embedding is None:
            # If hashing fails, the last ones must not answer for this frame.
            self._embedding = self._closer = None
            if square is None:
                square = self._preprocess(picture, timer)
            self._embedding = self.engine.embed(square, timer)
        elif self._is_unsure and self._closer is None:
            self._closer = self.engine.embed(self._preprocess(picture, timer, middle_of), timer)
        return self._embedding

    def _preprocess(
        self, picture: Picture, timer: StageTimer, view: Callable[[Image], Image] = lambda it: it
    ) -> Image:
        encoded = picture.encoded
        image = picture.image
        if encoded:
            timer.mark("decode")
        square = preprocess(view(image), self.engine.model.input.size)
        timer.mark("fit")
        return square
