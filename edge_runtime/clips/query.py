"""Recognize what a clip shows: frame by frame, until the answer is sure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.clips.frames import USUAL, ClipOptions, check_file, samples
from edge_runtime.clips.fusion import NO_SOUND, SURE, Fused, fuse_frames
from edge_runtime.clips.sound import SoundEvidence, hear
from edge_runtime.errors import InputError, PhotoError
from edge_runtime.fitting.quantized import unit
from edge_runtime.gallery import Gallery
from edge_runtime.gallery.records import UNKNOWN
from edge_runtime.position import QueryPosition
from edge_runtime.recognition.pipeline import Pipeline
from edge_runtime.recognition.smoothing import WINDOW
from edge_runtime.recognition.voting import LabelScore
from edge_runtime.system.stage_timer import StageTimer
from edge_runtime.types import QueryResult, Verdict


@dataclass(frozen=True)
class FrameAnswer:
    """What one frame said, and what all frames up to it say."""

    seconds: float
    """From the beginning of the clip."""
    alone: Verdict
    """The answer for this frame as a single picture."""
    fused: Verdict
    """The answer for all frames so far."""
    independent: float
    """As how many independent frames these count; 0 in a gallery without features."""


@dataclass(frozen=True)
class ClipResult:
    """The answer to a clip."""

    verdict: Verdict
    frames: tuple[FrameAnswer, ...]
    """The frames that were used, in order."""
    sure: bool
    """Whether the answer was sure; no further frame was read then."""
    label_scores: tuple[LabelScore, ...]
    """Labels, the best first; `images` counts the frames in which a label is among the nearest."""
    stage_ms: dict[str, float] = field(default_factory=dict)
    """Milliseconds per stage, over all frames."""
    sound: SoundEvidence | None = None
    """What the sound said; None if the clip or the gallery has none."""

    @property
    def seconds(self) -> float:
        """The place of the last frame that was used, seconds from the beginning of the clip."""
        return self.frames[-1].seconds if self.frames else 0.0

    @property
    def label(self) -> str | None:
        """The verdict's label; None if unknown."""
        return self.verdict.label

    @property
    def confidence(self) -> float:
        """The verdict's confidence, 0 to 1."""
        return self.verdict.confidence

    def details(self, gallery: Gallery, most: int) -> dict[str, Any]:
        """Return the answer for JSON, with the nearest pictures of the `most` best labels."""
        best = [score.match for score in self.label_scores[:most]]
        sources = gallery.sources([match.id for match in best])
        return {
            **asdict(self.verdict),
            "frames": len(self.frames),
            "seconds": self.seconds,
            "sure": self.sure,
            "stage_ms": self.stage_ms,
            "sound": self.sound and asdict(self.sound),
            "label_scores": [
                {"label": score.label, "share": score.share, "frames": score.images}
                for score in self.label_scores
            ],
            "matches": [{**asdict(match), "source": sources.get(match.id, "")} for match in best],
            "frame_answers": [asdict(each) for each in self.frames],
        }


class ClipFusion:
    """Adds up the results of a clip's frames, one at a time."""

    def __init__(
        self, pipeline: Pipeline, sure: float = SURE, sound: SoundEvidence | None = None
    ) -> None:
        """`sure` is the confidence from which the clip is answered; raises `InputError`."""
        if not 0 < sure <= 1:
            raise InputError(f"sure must be between 0 and 1, got {sure:g}")
        self._pipeline = pipeline
        self._sure = sure
        self._sound = sound
        self._results: list[QueryResult] = []
        self._features: list[NDArray[np.float32]] = []
        self.answers: list[FrameAnswer] = []
        self.stage_ms: dict[str, float] = {}
        """Milliseconds per stage, over all frames."""
        self.fused: Fused | None = None
        """None in a gallery without features."""
        self.verdict = Verdict(None, 0.0, None)
        self.label_scores: tuple[LabelScore, ...] = ()

    @property
    def gallery(self) -> Gallery:
        """The gallery that is searched."""
        return self._pipeline.gallery

    @property
    def is_sure(self) -> bool:
        """Whether no more frames are needed.

        Without features, the confidence is only a share of votes. It then takes a window of frames
        that agree, as the daemon does.
        """
        if self.verdict.label is None or self.verdict.confidence < self._sure:
            return False
        return self.fused is not None or len(self._results) >= WINDOW

    def add(self, result: QueryResult, seconds: float = 0.0) -> None:
        """Add the result of the next frame."""
        self._results.append(result)
        for stage, spent in result.stage_ms.items():
            self.stage_ms[stage] = self.stage_ms.get(stage, 0.0) + spent
        calibration = self._pipeline.gallery.calibration()
        similar = [each.label_similarities for each in self._results]
        features = None if result.embedding is None else result.embedding.features
        if features is not None:
            self._features.append(unit(features))
        if calibration is None or None in similar or len(self._features) < len(similar):
            joint = self._pipeline.fuse(self._results)
            self.fused, self.verdict, self.label_scores = None, joint.verdict, joint.label_scores
        else:
            stacked = np.stack(self._features)
            self.fused = fuse_frames(
                [labels for labels in similar if labels is not None],
                stacked @ stacked.T,
                calibration,
                self._pipeline.false_name_rate,
                self._pipeline.radius,
                sound=NO_SOUND if self._sound is None else self._sound.log_odds,
            )
            self.verdict = self.fused.verdict
            self.label_scores = _scores(self.fused, self._results)
        independent = 0.0 if self.fused is None else self.fused.independent
        self.answers.append(FrameAnswer(seconds, result.verdict, self.verdict, independent))

    def result(self, where: object = "clip") -> ClipResult:
        """Return the answer to the frames so far; raises `PhotoError` if there are none."""
        if not self.answers:
            raise PhotoError("it contains no readable picture", where=where, remedy="copy it again")
        return ClipResult(
            self.verdict,
            tuple(self.answers),
            self.is_sure,
            self.label_scores,
            self.stage_ms,
            self._sound,
        )


def _scores(fused: Fused, results: Sequence[QueryResult]) -> tuple[LabelScore, ...]:
    counts = [{one.label for one in each.label_similarities or ()} for each in results]
    return tuple(
        LabelScore(
            one.label,
            one.match,
            fused.shares[one.label],
            sum(one.label in names for names in counts),
        )
        for one in fused.labels
        if one.label != UNKNOWN
    )


def query_clip(
    pipeline: Pipeline,
    path: Path,
    options: ClipOptions = USUAL,
    near: QueryPosition | None = None,
    sure: float = SURE,
    sound: bool = True,
) -> ClipResult:
    """Recognize the clip at `path`, and read no more of it than is needed.

    `near` is the position of the whole clip. With `sound`, its sound counts if the gallery has
    sounds; what cannot be used is said in the result. Raises `PhotoError` if the clip has no
    readable picture.
    """
    timer = StageTimer()
    check_file(path)
    fusion = ClipFusion(pipeline, sure, hear(pipeline.gallery, path) if sound else None)
    timer.mark("sound")
    fusion.stage_ms = {**timer.stage_ms, "decode": 0.0}
    timer = StageTimer()
    with samples(path, options) as taken:
        for sample in taken:
            image = sample.frame.image
            timer.mark("decode")
            fusion.stage_ms["decode"] += timer.stage_ms["decode"]
            fusion.add(pipeline.look(image, near), sample.seconds)
            timer = StageTimer()
            if fusion.is_sure:
                break
    return fusion.result(path)
