"""Add up the evidence of a clip's frames: one label for all of them, or unknown.

Each frame gives a distribution over the labels, as a single picture does: the softmax of the
similarities, as far as the calibration's trust goes. The distributions are multiplied (their
logarithms are summed), but frames of one clip are not independent: two of the same view repeat each
other's errors. The sum therefore counts as that of fewer frames, `effective_frames`, from how alike
the features of the frames are.

Whether the thing is enrolled at all is judged by the mean similarity over the frames. Its limit is
that of a single picture, lowered as far as the gallery shows that the mean over photos of one
stranger is lower and less spread (`Calibration.of_mean`). All frames of a stranger show the same
stranger, so most of the spread remains. One frame gives exactly the verdict of one
look at a picture.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from edge_runtime.fitting.calibration import FALSE_NAME_RATE, Calibration
from edge_runtime.fitting.several import likeness
from edge_runtime.gallery.records import UNKNOWN
from edge_runtime.recognition.similarity import fuse_similarities, label_shares, similarity_verdict
from edge_runtime.types import LabelSimilarity, Verdict

CORRELATION = 0.75
"""Correlation of the errors of two frames of one clip whose features have nothing in common beyond
the thing itself. Among the values that `python -m training papers clips` tries, it gives the labels
of ie_tower's walks the best probabilities, on either half of the places."""
SURE = 0.95
"""Confidence from which a clip is answered before its end."""
NO_SOUND: Mapping[str, float] = MappingProxyType({})
OTHER = ""
"""Stands for all labels that no frame resembles."""
LEAST = 1e-9
"""Doubt that is left about an enrolled picture."""


@dataclass(frozen=True)
class Fused:
    """The evidence of all frames so far."""

    verdict: Verdict
    labels: tuple[LabelSimilarity, ...]
    """The labels with their mean similarity, the most similar first."""
    shares: Mapping[str, float]
    """The probability of each label, if the thing is enrolled."""
    frames: int
    independent: float
    """As how many independent frames they count."""
    known: float = 0.0
    """The probability that the thing is enrolled at all."""


def effective_frames(cosines: NDArray[np.floating], correlation: float = CORRELATION) -> float:
    """Return as how many independent frames n frames count, 1 to n.

    `cosines` [n, n] are those of their features. The variance of the mean of n values whose
    correlations are r is that of n^2 / sum(r) independent values (Kish 1965, Survey Sampling).
    """
    correlations = correlation + (1 - correlation) * likeness(cosines)
    np.fill_diagonal(correlations, 1)
    return float(len(cosines) ** 2 / correlations.sum())


def label_odds(
    frames: Sequence[Sequence[LabelSimilarity]], calibration: Calibration
) -> dict[str, float]:
    """Return the mean over the frames of the logarithm of each label's probability.

    `OTHER` is what the calibration distrusts: that it is another label than the frame says. One
    frame never makes a label less probable than a share of this, so it cannot rule a label out. A
    label that is not among the nearest of a frame counts with the lowest similarity there.
    """
    names = list(dict.fromkeys(one.label for labels in frames for one in labels))
    total = dict.fromkeys([*names, OTHER], 0.0)
    for labels in frames:
        seen = {one.label for one in labels}
        last = labels[-1]
        absent = [replace(last, label=name) for name in names if name not in seen]
        filled = [*labels, *absent]
        # An enrolled picture itself is trusted, as in the verdict on a single picture.
        trust = calibration.trust if labels[0].similarity < 1 else 1.0
        trust = min(trust, 1 - LEAST)
        floor = min(trust, 1 - trust) / (2 * len(names))
        rest = 1.0
        for one, share in zip(filled, label_shares(filled, calibration), strict=True):
            probability = max(trust * share, floor)
            total[one.label] += math.log(probability)
            rest -= probability
        total[OTHER] += math.log(max(rest, LEAST / 2))
    return {name: value / len(frames) for name, value in total.items()}


def fuse_frames(
    frames: Sequence[Sequence[LabelSimilarity]],
    cosines: NDArray[np.floating],
    calibration: Calibration,
    false_name_rate: float = FALSE_NAME_RATE,
    radius: int | None = None,
    correlation: float = CORRELATION,
    sound: Mapping[str, float] = NO_SOUND,
) -> Fused:
    """Return the evidence of `frames`, the label similarities of each (most similar first).

    `cosines` [n, n] are those between the features of the frames. `sound` has the log odds that the
    sound adds to labels, both against other labels and against being unknown. The other arguments
    are those of `similarity_verdict`.
    """
    frames = [labels for labels in frames if labels]
    if not frames:
        return Fused(Verdict(None, 0.0, None), (), {}, 0, 0.0)
    means = {one.label: one for one in fuse_similarities(frames, "vote")[0]}
    independent = effective_frames(cosines, correlation)
    odds = {name: value * independent for name, value in label_odds(frames, calibration).items()}
    for name in odds:
        odds[name] += sound.get(name, 0.0)
    top = max(odds.values())
    weights = {name: math.exp(value - top) for name, value in odds.items()}
    total = sum(weights.values())
    shares = {name: weight / total for name, weight in weights.items()}
    ranked = sorted(
        means.values(),
        key=lambda one: (-shares[one.label], -one.similarity, one.label != UNKNOWN, one.match.id),
    )
    best = ranked[0]
    calibration = calibration.of_mean(effective_frames(cosines, correlation=0.0))
    heard = sound.get(best.label, 0.0)
    odds_known = _log_odds(calibration.known_probability(best.similarity)) + heard
    if heard and radius is None and best.label != UNKNOWN:
        limit = _log_odds(calibration.known_probability(calibration.threshold(false_name_rate)))
        if odds_known >= limit:
            radius = best.match.distance  # the limit is reached together with the sound
    verdict = similarity_verdict(ranked, calibration, false_name_rate, radius)
    known = 1 / (1 + math.exp(-odds_known))
    if verdict.label is not None:
        verdict = replace(verdict, confidence=shares[verdict.label] * known)
    return Fused(verdict, tuple(ranked), shares, len(frames), independent, known)


def _log_odds(probability: float) -> float:
    return math.log(probability) - math.log1p(-probability) if probability < 1 else 50.0
