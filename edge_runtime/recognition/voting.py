"""One answer out of several looks at the same thing.

Each look has its nearest neighbours. Labels are ranked by their nearest item in any of the looks
("best"), or by votes ("vote"), where a neighbour counts half for every bit that it lies farther
away than the nearest one of all: so a crowd just behind a lone neighbour outvotes it, a crowd far
behind does not, and a sharp look outvotes a blurred one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from edge_runtime.errors import InputError
from edge_runtime.types import Match, Verdict

Method = Literal["vote", "best"]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True)
class LabelScore:
    """How a label stands after all looks."""

    label: str
    match: Match
    """Its nearest item in any of them."""
    share: float
    """Of the votes, 0 to 1."""
    looks: int
    """In how many of them it was among the neighbours."""


def label_scores(
    looks: Sequence[Sequence[Match]], radius: float, method: Method = "vote"
) -> tuple[LabelScore, ...]:
    """The labels with a neighbour within `radius` bits, best first.

    `looks`: the neighbours that each look found, nearest first. Equal labels are ranked by their
    nearest item: the nearer one, then the one that was enrolled first.
    """
    if method not in METHODS:
        raise InputError(f'no such fusion: "{method}"', remedy=f"choose of {', '.join(METHODS)}")
    near = [[match for match in look if match.score <= radius] for look in looks]
    everything = [match for look in near for match in look]
    if not everything:
        return ()
    nearest = min(match.score for match in everything)
    best: dict[str, Match] = {}
    votes: dict[str, float] = {}
    for match in everything:
        known = best.setdefault(match.label, match)
        if (match.score, match.id) < (known.score, known.id):
            best[match.label] = match
        votes[match.label] = votes.get(match.label, 0.0) + 2.0 ** (nearest - match.score)
    total = sum(votes.values())
    found = [
        LabelScore(
            label,
            match,
            votes[label] / total,
            sum(any(match.label == label for match in look) for look in near),
        )
        for label, match in best.items()
    ]

    def rank(standing: LabelScore) -> tuple[float, float, int]:
        by_votes = -votes[standing.label] if method == "vote" else 0.0
        return by_votes, standing.match.score, standing.match.id

    return tuple(sorted(found, key=rank))


def verdict(looks: Sequence[Sequence[Match]], found: Sequence[LabelScore]) -> Verdict:
    """What `looks` say, of which `found` are the label_scores: their first, or unknown."""
    if found:
        return Verdict(found[0].label, found[0].share, found[0].match.distance)
    nearest = min((match.distance for look in looks for match in look), default=None)
    return Verdict(None, 0.0, nearest)
