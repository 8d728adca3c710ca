"""How often answers of a stated confidence are right: a reliability diagram as numbers.

An answer to a query of an enrolled label is right or wrong; an answer to a stranger is always
wrong. Both kinds of queries count as equally frequent, as in the runtime's estimate of the
confidence (`Calibration.known_probability`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

BINS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0)
"""Limits of the confidence; the upper one of each bin belongs to it."""


MOST_SURE = 0.999
"""Limit of the confidence in the log loss, so that no single answer decides it."""


@dataclass(frozen=True)
class Answer:
    """The answer to one query."""

    label: str | None
    """None if unknown."""
    score: float
    """How known the query looks; only the order matters."""
    confidence: float
    """0 to 1; 0 if unknown."""


@dataclass(frozen=True)
class Reliability:
    """The answers of one bin, as shares of all queries of their kind."""

    least: float
    most: float
    answers: int
    confidence: float
    """The mean confidence."""
    right: float
    """The share that is right."""


@dataclass(frozen=True)
class Quality:
    """How good the confidence of answers is; each figure is a mean over all answers."""

    confidence: float
    right: float
    """The share that is right."""
    gap: float
    """Expected calibration error: the difference of confidence and share right in a bin."""
    log_loss: float
    """Minus the logarithm of the probability that was given to what happened, in nats."""


def tally(
    known: Sequence[Answer], truth: Sequence[str], strangers: Sequence[Answer]
) -> list[list[float]]:
    """Count the answers of one gallery, for each bin.

    Each row: answers to known queries, right ones, the sum of their confidence; answers to
    strangers, the sum of their confidence; all known queries, all strangers; the sums of the log
    loss of both.
    """
    rows: list[list[float]] = []
    for low, high in pairwise(BINS):
        own = [(a, a.label == label) for a, label in zip(known, truth, strict=True)
               if a.label is not None and low < a.confidence <= high]  # fmt: skip
        others = [a for a in strangers if a.label is not None and low < a.confidence <= high]
        rows.append(
            [
                len(own), sum(right for _, right in own), sum(a.confidence for a, _ in own),
                len(others), sum(a.confidence for a in others), len(known), len(strangers),
                sum(_loss(a.confidence, right) for a, right in own),
                sum(_loss(a.confidence, False) for a in others),
            ]
        )  # fmt: skip
    return rows


def total(tallies: Iterable[Sequence[Sequence[float]]]) -> list[list[float]]:
    """Add tallies of several galleries."""
    return [
        [round(sum(cells), 4) for cells in zip(*rows, strict=True)]
        for rows in zip(*tallies, strict=True)
    ]


def reliability(rows: Sequence[Sequence[float]]) -> list[Reliability]:
    """Return the bins of a tally that have answers."""
    found = []
    for (low, high), row in zip(pairwise(BINS), rows, strict=True):
        own, right, own_sum, others, other_sum, queries, strangers = row[:7]
        share = own / queries + others / strangers
        if share:
            confidence = (own_sum / queries + other_sum / strangers) / share
            count = int(own + others)
            found.append(Reliability(low, high, count, confidence, right / queries / share))
    return found


def quality(rows: Sequence[Sequence[float]]) -> Quality | None:
    """Return the quality of the confidence of a tally; None if it has no answers."""
    answered = confidence = correct = gap = loss = 0.0
    for own, right, own_sum, others, other_sum, queries, strangers, own_loss, other_loss in rows:
        answered += own / queries + others / strangers
        stated, happened = own_sum / queries + other_sum / strangers, right / queries
        confidence += stated
        correct += happened
        gap += abs(stated - happened)
        loss += own_loss / queries + other_loss / strangers
    if not answered:
        return None
    return Quality(confidence / answered, correct / answered, gap / answered, loss / answered)


def _loss(confidence: float, right: bool) -> float:
    sure = min(max(confidence, 1 - MOST_SURE), MOST_SURE)
    return -math.log(sure if right else 1 - sure)
