"""Decide from the similarity of labels, calibrated on the gallery."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edge_runtime.fitting.calibration import Calibration
from edge_runtime.gallery.records import UNKNOWN
from edge_runtime.recognition.voting import FusionMethod, LabelScore
from edge_runtime.types import LabelSimilarity, Verdict


def similarity_verdict(
    labels: Sequence[LabelSimilarity],
    calibration: Calibration,
    false_name_rate: float,
    radius: int | None = None,
) -> Verdict:
    """Return the verdict for `labels`, the most similar first.

    If that is the label `UNKNOWN`, so is the answer.
    The first label is the answer if it is more similar than all but a share `false_name_rate` of
    strangers would be. A `radius` replaces this limit: the label then needs a code within this many
    bits. The confidence is the probability that the thing is enrolled at all, times the share of
    the label among the similar ones, times the calibration's trust. The last does not count for an
    enrolled picture.
    """
    if not labels:
        return Verdict(None, 0.0, None)
    best = labels[0]
    if radius is None:
        known = best.similarity >= calibration.threshold(false_name_rate)
    else:
        known = best.match.distance <= radius
    if not known or best.label == UNKNOWN:
        nearest = min(one.match.distance for one in labels)
        return Verdict(None, 0.0, nearest, round(best.similarity, 4))
    confidence = calibration.known_probability(best.similarity)
    confidence *= label_shares(labels, calibration)[0]
    if best.similarity < 1:
        confidence *= calibration.trust
    return Verdict(best.label, confidence, best.match.distance, round(best.similarity, 4))


def similarity_scores(
    labels: Sequence[LabelSimilarity], images: Sequence[int], calibration: Calibration
) -> tuple[LabelScore, ...]:
    """Return `labels` as scores; `images` are the numbers of images that have each label."""
    shares = label_shares(labels, calibration)
    return tuple(
        LabelScore(one.label, one.match, share, count)
        for one, share, count in zip(labels, shares, images, strict=True)
        if one.label != UNKNOWN
    )


def fuse_similarities(
    images: Sequence[Sequence[LabelSimilarity]], method: FusionMethod
) -> tuple[list[LabelSimilarity], list[int]]:
    """Return labels by their similarity to several images of one thing, the most similar first.

    Method "best" takes a label's highest similarity, "vote" the mean; an enrolled picture settles
    it in either. Where a label is not among the nearest of an image, it counts with the lowest
    similarity there. Also returns in how many
    images each label is among the nearest.
    """
    found: dict[str, list[LabelSimilarity]] = {}
    for labels in images:
        for one in labels:
            found.setdefault(one.label, []).append(one)
    lowest = [labels[-1].similarity for labels in images]
    fused = []
    for label, ones in found.items():
        top = max(ones, key=lambda one: one.similarity)
        similarity = top.similarity
        if method == "vote" and similarity < 1:
            values = [
                next((one.similarity for one in labels if one.label == label), least)
                for labels, least in zip(images, lowest, strict=True)
            ]
            similarity = sum(values) / len(values)
        fused.append((LabelSimilarity(label, similarity, top.match), len(ones)))
    fused.sort(key=lambda pair: (-pair[0].similarity, pair[0].label != UNKNOWN, pair[0].match.id))
    return [one for one, _ in fused], [count for _, count in fused]


def label_shares(labels: Sequence[LabelSimilarity], calibration: Calibration) -> list[float]:
    """Return the share of each label among all, by a softmax of the similarities."""
    if not labels:
        return []
    top = labels[0].similarity
    weights = [math.exp((one.similarity - top) / calibration.temperature) for one in labels]
    total = sum(weights)
    return [weight / total for weight in weights]
