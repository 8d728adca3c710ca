"""From the stored evidence of clips to figures: right, unknown, wrong, and frames used."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.clips.fusion import fuse_frames
from edge_runtime.fitting.calibration import FALSE_NAME_RATE, Calibration
from edge_runtime.types import LabelSimilarity, Match

Record = dict[str, Any]
LEAST_SHARE = 1e-4
"""Probability below which a label counts as with this one."""


@dataclass(frozen=True)
class Outcome:
    """The answer to a clip."""

    label: str | None
    confidence: float
    frames: int
    nearest: str
    """The best label, known or not."""
    known: float
    """The probability that the thing is enrolled at all."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """Frames of a clip."""

    place: str
    frames: list[list[LabelSimilarity]]
    cosines: NDArray[np.float64]


def part_of(record: Record, part: str, first: int, count: int) -> Evidence:
    """Return the evidence of `count` frames of a clip from `first` on; `part` as in the record."""
    chosen = slice(first, first + count)
    frames = [
        [LabelSimilarity(name, value, Match(0, name, bits)) for name, value, bits in labels]
        for labels in record[part][chosen]
    ]
    return Evidence(record["place"], frames, np.array(record["cosines"])[chosen, chosen])


def windows(records: Sequence[Record], part: str, count: int) -> list[Evidence]:
    """Return every run of `count` frames in a row, of all clips that are as long."""
    return [
        part_of(record, part, first, count)
        for record in records
        for first in range(len(record[part]) - count + 1)
    ]


def outcome(
    evidence: Evidence,
    calibration: Calibration,
    rate: float = FALSE_NAME_RATE,
    sure: float | None = None,
) -> Outcome:
    """Return the answer to all frames, or with `sure` to those up to the first sure answer."""
    total = len(evidence.frames)
    for count in range(1 if sure is not None else total, total + 1):
        fused = fuse_frames(
            evidence.frames[:count], evidence.cosines[:count, :count], calibration, rate
        )
        verdict, nearest = fused.verdict, fused.labels[0].label
        found = Outcome(verdict.label, verdict.confidence, count, nearest, fused.known)
        if sure is not None and found.label is not None and found.confidence >= sure:
            break
    return found


def label_loss(evidence: Evidence, calibration: Calibration, correlation: float) -> float:
    """Return the logarithmic loss of the right label's probability, if the thing is enrolled."""
    fused = fuse_frames(evidence.frames, evidence.cosines, calibration, correlation=correlation)
    return -math.log(max(fused.shares.get(evidence.place, 0.0), LEAST_SHARE))


def known_loss(own: Sequence[Outcome], strangers: Sequence[Outcome]) -> float:
    """Return the logarithmic loss of being enrolled at all; both kinds weigh the same."""
    right = [-math.log(max(each.known, LEAST_SHARE)) for each in own]
    right_unknown = [-math.log(max(1 - each.known, LEAST_SHARE)) for each in strangers]
    return (sum(right) / len(right) + sum(right_unknown) / len(right_unknown)) / 2


def shares(outcomes: Sequence[Outcome], places: Sequence[str]) -> dict[str, float]:
    """Return the figures of the clips of `places`: percentages, and frames per clip."""
    right = sum(each.label == place for each, place in zip(outcomes, places, strict=True))
    unknown = sum(each.label is None for each in outcomes)
    total = len(outcomes)
    named = [(o, p) for o, p in zip(outcomes, places, strict=True) if o.label is not None]
    return {
        "right": 100 * right / total,
        "best_label_right_percent": 100
        * sum(each.nearest == place for each, place in zip(outcomes, places, strict=True))
        / total,
        "unknown_percent": 100 * unknown / total,
        "wrong_percent": 100 * (total - right - unknown) / total,
        "frames_per_clip": sum(each.frames for each in outcomes) / total,
        "right_of_named_percent": 100 * sum(o.label == p for o, p in named) / max(len(named), 1),
        "mean_confidence_percent": 100 * sum(o.confidence for o, _ in named) / max(len(named), 1),
    }
