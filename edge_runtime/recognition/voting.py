"""Late fusion: rank labels by the neighbors of one or several images of the same thing.

The neighbors of an image are the enrolled pictures nearest to it, each with the distance of its
nearest view. Method "best" ranks a label by its nearest picture in any image. Method "vote" ranks a
label by its votes: each neighbor has one, whose weight halves with every bit of distance beyond the
nearest neighbor of all images. A crowd just behind a lone neighbor therefore outvotes it, a crowd
far behind does not, and a sharp image outvotes a blurred one.

No crowd outvotes an exact match, at 0 bits and without a penalty: if there are any, only these
vote. A picture that was enrolled is therefore recognized, unless others have the very same code.

The label `UNKNOWN` has votes like any other, and its answer is "unknown". Its exact match settles
the vote, whichever other labels have the same code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from edge_runtime.errors import InputError
from edge_runtime.gallery.records import UNKNOWN
from edge_runtime.types import Match, Verdict

NEIGHBORS = 5
"""Number of nearest pictures that vote."""

FusionMethod = Literal["vote", "best"]
FUSION_METHODS: tuple[FusionMethod, ...] = get_args(FusionMethod)


@dataclass(frozen=True)
class LabelScore:
    """The result of one label over all images."""

    label: str
    match: Match
    """The label's nearest picture in any image."""
    share: float
    """The label's share of the votes, 0 to 1; 0 if only other labels match exactly."""
    images: int
    """Number of images in which the label is among the neighbors."""


def label_scores(
    neighbors: Sequence[Sequence[Match]], radius: float, method: FusionMethod = "vote"
) -> tuple[LabelScore, ...]:
    """Return the labels that have a neighbor within `radius` bits, best first.

    `neighbors` holds the neighbors of each image, nearest first. Equal labels are ranked by their
    nearest picture: the nearer first, then the one that was enrolled first. Raises `InputError`
    for an unknown method.
    """
    if method not in FUSION_METHODS:
        raise InputError(
            f'unknown fusion method "{method}"', remedy=f"choose from {', '.join(FUSION_METHODS)}"
        )
    within = [[match for match in matches if match.score <= radius] for matches in neighbors]
    voters = [match for matches in within for match in matches]
    if not voters:
        return ()
    nearest = min(match.score for match in voters)
    best: dict[str, Match] = {}
    votes: dict[str, float] = {}
    for match in voters:
        nearest_match = best.setdefault(match.label, match)
        if (match.score, match.id) < (nearest_match.score, nearest_match.id):
            best[match.label] = match
        outvoted = nearest == 0 and match.score > 0
        weight = 0.0 if outvoted else 2.0 ** (nearest - match.score)
        votes[match.label] = votes.get(match.label, 0.0) + weight
    total = sum(votes.values())
    scores = [
        LabelScore(
            label,
            match,
            votes[label] / total,
            sum(any(match.label == label for match in matches) for matches in within),
        )
        for label, match in best.items()
    ]

    def rank(score: LabelScore) -> tuple[bool, float, float, int]:
        settled = score.label == UNKNOWN and score.match.score == 0
        by_votes = -votes[score.label] if method == "vote" else 0.0
        return not settled, by_votes, score.match.score, score.match.id

    return tuple(sorted(scores, key=rank))


def fused_verdict(neighbors: Sequence[Sequence[Match]], scores: Sequence[LabelScore]) -> Verdict:
    """Return the verdict on all images: the first of `scores`, or unknown if there is none.

    `scores` is the result of `label_scores` for `neighbors`.
    """
    if scores and scores[0].label != UNKNOWN:
        return Verdict(scores[0].label, scores[0].share, scores[0].match.distance)
    nearest = min((match.distance for matches in neighbors for match in matches), default=None)
    return Verdict(None, 0.0, nearest)


def image_verdict(matches: Sequence[Match], radius: int) -> Verdict:
    """Return the verdict on one image: the neighbors within `radius` bits vote.

    `matches` is sorted, nearest first. If no neighbor is within the radius, the verdict is
    "unknown" rather than a wrong label. The radius is measured with the model; the model card
    describes how.
    """
    return fused_verdict([matches], label_scores([matches], radius))
