"""What the trials of a gallery reveal: wrong labels, labels that are alike, near duplicates."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping

from edge_runtime.fitting.calibration import Calibration
from edge_runtime.gallery.advice.leave_one_out import Trial
from edge_runtime.gallery.advice.report import (
    Accuracy,
    AlikeLabels,
    FewPictures,
    LabelAccuracy,
    Mislabeled,
    PictureName,
    PicturePair,
)

ENOUGH = 3
"""Different pictures of a label. Accuracy rises most up to here (docs/results/ACCURACY.md)."""
LEAST_TO_JUDGE = 3
"""Pictures of a label, from which on one of them may be called mislabeled."""
ALIKE_SHARE = 0.25
"""Share of the pictures of a label that must be mistaken for another one."""

NameOf = Callable[[int], PictureName]
"""From the row of a code to its picture."""


def accuracy_of(
    trials: Iterable[Trial], threshold: float, names: Mapping[int, str]
) -> Accuracy | None:
    """Count right, unknown and wrong answers; None if there are none.

    `names` are the labels by id. A picture counts if its label has another, different one.
    """
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    strangers = named = first = 0
    for trial in trials:
        if trial.other is not None and trial.copy_elsewhere is None:
            strangers += 1
            named += trial.other.similarity >= threshold
        if trial.own is None or trial.best is None:
            continue
        if trial.best.similarity < threshold:
            answer = "unknown"
        else:
            answer = "right" if trial.best.label_id == trial.label_id else "wrong"
        counts[trial.label_id][answer] += 1
        first += trial.best.label_id == trial.label_id
    if not counts:
        return None
    labels = [
        LabelAccuracy(names[label], count.total(), count["right"], count["unknown"], count["wrong"])
        for label, count in counts.items()
    ]
    return Accuracy(
        sum(one.pictures for one in labels),
        sum(one.right for one in labels),
        sum(one.unknown for one in labels),
        sum(one.wrong for one in labels),
        first,
        strangers,
        named,
        tuple(sorted(labels, key=lambda one: one.label)),
    )


def few_pictures(counts: Mapping[str, int], copies: Mapping[str, int]) -> tuple[FewPictures, ...]:
    """Return labels with fewer than `ENOUGH` different pictures, the fewest first.

    `counts` are all pictures of each label, `copies` the near duplicates among them.
    """
    found = []
    for label, count in sorted(counts.items()):
        different = count - copies.get(label, 0)
        if different >= ENOUGH:
            continue
        if different < count:
            reason = f"{count - different} of its {count} pictures repeat another one"
        elif different == 1:
            reason = "one picture shows one side in one light, and nothing can be checked"
        else:
            reason = "two pictures say little about other sides and other light"
        found.append(FewPictures(label, different, ENOUGH - different, reason))
    return tuple(sorted(found, key=lambda one: one.pictures))


def mislabeled(
    trials: Iterable[Trial], calibration: Calibration, name_of: NameOf, counts: Mapping[str, int]
) -> tuple[Mislabeled, ...]:
    """Return pictures that match another label clearly better than their own, clearest first."""
    found = [
        (trial.margin, trial.row, trial)
        for trial in trials
        if trial.margin is not None
        and trial.copy_elsewhere is None
        and trial.margin < -calibration.known_spread
        and counts[name_of(trial.row).label] >= LEAST_TO_JUDGE
        and _resembles(trial, calibration)
    ]
    return tuple(
        Mislabeled(
            name_of(trial.row),
            _rounded(trial.own.similarity),
            name_of(trial.other.row),
            _rounded(trial.other.similarity),
        )
        for _, _, trial in sorted(found)
        if trial.own and trial.other
    )


def alike_labels(
    trials: Iterable[Trial], calibration: Calibration, name_of: NameOf, wrong: Iterable[Mislabeled]
) -> tuple[AlikeLabels, ...]:
    """Return pairs of labels that are mistaken for each other, the hardest to tell apart first.

    A picture may be mistaken if another label is more similar than its own, or as similar as photos
    of the same thing usually are. `wrong` are pictures that are reported as mislabeled and do not
    count.
    """
    elsewhere = {one.picture.id for one in wrong}
    checked: Counter[str] = Counter()
    mistaken: Counter[tuple[str, str]] = Counter()
    pairs: dict[tuple[str, str], tuple[float, int, int]] = {}
    for trial in trials:
        picture = name_of(trial.row)
        if picture.id in elsewhere or trial.copy_elsewhere is not None:
            continue
        checked[picture.label] += 1
        if trial.other is None:
            continue
        pair = (picture.label, name_of(trial.other.row).label)
        both = (min(pair), max(pair))
        found = (trial.other.cosine, trial.row, trial.other.row)
        pairs[both] = max(pairs.get(both, found), found)
        closer = trial.margin is not None and trial.margin < 0 and _resembles(trial, calibration)
        mistaken[pair] += closer or trial.other.similarity >= calibration.known_mean
    found_pairs = []
    for (a, b), (cosine, row, other) in pairs.items():
        there, back = mistaken[a, b], mistaken[b, a]
        share = max(there / max(checked[a], 1), back / max(checked[b], 1))
        if there + back == 0 or share < ALIKE_SHARE:
            continue
        total = checked[a] + checked[b]
        first, second = sorted((name_of(row), name_of(other)), key=lambda one: one.label)
        alike = AlikeLabels(a, b, there + back, total, first, second, _rounded(cosine))
        found_pairs.append((-(there + back) / total, -cosine, a, b, alike))
    return tuple(alike for *_, alike in sorted(found_pairs, key=lambda one: one[:4]))


def duplicates(trials: Iterable[Trial], name_of: NameOf) -> tuple[PicturePair, ...]:
    """Return pictures that are almost the same under two labels, each pair once."""
    found: dict[tuple[int, int], PicturePair] = {}
    for trial in trials:
        if trial.copy_elsewhere is None:
            continue
        row, cosine = trial.copy_elsewhere
        first, second = sorted((name_of(trial.row), name_of(row)), key=lambda one: one.id)
        found.setdefault((first.id, second.id), PicturePair(first, second, _rounded(cosine)))
    return tuple(sorted(found.values(), key=lambda one: (-one.similarity, one.picture.id)))


def repeated(
    trials: Iterable[Trial], name_of: NameOf, cosine: Callable[[int, int], float]
) -> tuple[PicturePair, ...]:
    """Return the pictures that repeat an earlier one under their label, with that one."""
    return tuple(
        PicturePair(name_of(trial.row), name_of(first), _rounded(cosine(trial.row, first)))
        for trial in trials
        if trial.copies and (first := min(trial.copies)) < trial.row
    )


def _resembles(trial: Trial, calibration: Calibration) -> bool:
    """Return whether the other label is more like the same thing than like a stranger."""
    middle = (calibration.stranger_mean + calibration.known_mean) / 2
    return trial.other is not None and trial.other.similarity >= middle


def _rounded(similarity: float) -> float:
    return round(similarity, 4)
