"""From the stored evidence of clips to figures: right, unknown, wrong, and frames used."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_runtime.clips.fusion import CORRELATION, SURE, fuse_frames
from edge_runtime.fitting.calibration import Calibration
from edge_runtime.types import LabelSimilarity, Match, Verdict

Record = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """The answer to a clip."""

    label: str | None
    confidence: float
    frames: int


def fused_verdicts(
    record: Record, part: str, calibration: Calibration, correlation: float = CORRELATION
) -> list[Verdict]:
    """Return the verdict after each frame of a clip; `part` is "own" or "without"."""
    frames = [
        [LabelSimilarity(name, value, Match(0, name, bits)) for name, value, bits in labels]
        for labels in record[part]
    ]
    cosines = np.array(record["cosines"])
    return [
        fuse_frames(
            frames[:count], cosines[:count, :count], calibration, correlation=correlation
        ).verdict
        for count in range(1, len(frames) + 1)
    ]


def after(verdicts: Sequence[Verdict], count: int) -> Outcome:
    """Return the answer after `count` frames, or after all of a shorter clip."""
    used = min(count, len(verdicts))
    return Outcome(verdicts[used - 1].label, verdicts[used - 1].confidence, used)


def progressive(verdicts: Sequence[Verdict], sure: float = SURE) -> Outcome:
    """Return the first answer that is sure, else the last one."""
    for count, verdict in enumerate(verdicts, 1):
        if verdict.label is not None and verdict.confidence >= sure:
            return Outcome(verdict.label, verdict.confidence, count)
    return after(verdicts, len(verdicts))


def shares(outcomes: Sequence[Outcome], places: Sequence[str]) -> dict[str, float]:
    """Return the figures of the clips of `places`: percentages, and frames per clip."""
    right = sum(each.label == place for each, place in zip(outcomes, places, strict=True))
    unknown = sum(each.label is None for each in outcomes)
    total = len(outcomes)
    named = [(o, p) for o, p in zip(outcomes, places, strict=True) if o.label is not None]
    return {
        "right": 100 * right / total,
        "unknown_percent": 100 * unknown / total,
        "wrong_percent": 100 * (total - right - unknown) / total,
        "frames_per_clip": sum(each.frames for each in outcomes) / total,
        "right_of_named_percent": 100 * sum(o.label == p for o, p in named) / max(len(named), 1),
        "mean_confidence_percent": 100 * sum(o.confidence for o, _ in named) / max(len(named), 1),
    }


def log_loss(outcomes: Sequence[Outcome], places: Sequence[str]) -> float:
    """Return the mean logarithmic loss of the confidences of the answers that name a label."""
    losses = [
        -math.log(
            min(max(each.confidence if each.label == place else 1 - each.confidence, 1e-4), 1)
        )
        for each, place in zip(outcomes, places, strict=True)
        if each.label is not None
    ]
    return sum(losses) / max(len(losses), 1)
