"""The advice in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePath

from edge_runtime.gallery.advice.report import Accuracy, Advice, PhotoCheck, PictureName

MOST_ACTIONS = 3
SHOWN = 8
"""Entries of a list in the text; JSON has all."""
FAULTS = {"dark": "dark", "uniform": "nearly uniform", "blurred": "blurred"}


def actions(advice: Advice) -> tuple[str, ...]:
    """Return the one to three most useful things to do, the most useful first.

    Wrong data comes before missing data, because it also misleads the rest of the advice.
    """
    if not advice.pictures:
        return ("Enroll photos: edge-runtime enroll FOLDER",)
    found = [*_wrong_data(advice), *_missing_data(advice)]
    if not found:
        found = ["Nothing needs a new photo now."]
    return tuple(found[:MOST_ACTIONS])


def _wrong_data(advice: Advice) -> list[str]:
    found = []
    if advice.mislabeled:
        one = advice.mislabeled[0]
        found.append(
            f"Check the label of {_count(len(advice.mislabeled), 'picture')}: "
            f"{shown(one.picture)} looks like {one.other.label}."
        )
    if advice.duplicates:
        pair = advice.duplicates[0]
        found.append(
            f"Decide where {_count(len(advice.duplicates), 'picture')} under two labels should be: "
            f"{shown(pair.picture)} is also under {pair.other.label}."
        )
    return found


def _missing_data(advice: Advice) -> list[str]:
    found = []
    if advice.few:
        most = max(one.needed for one in advice.few)
        each = "" if len(advice.few) == 1 else " each"
        found.append(
            f"Photograph {_some([one.label for one in advice.few])} from other sides and in other "
            f"light: {'up to ' if len({one.needed for one in advice.few}) > 1 else ''}"
            f"{most} more{each}."
        )
    if advice.labels == 1:
        found.append(
            "Enroll a second label: with one, how similar unknown things are cannot be measured."
        )
    if advice.alike:
        pair = advice.alike[0]
        found.append(
            f"Photograph {pair.label} and {pair.other_label} again where they differ, close up, "
            "or give them one label: they are hard to tell apart."
        )
    few = {one.label for one in advice.few}
    weak = [
        one
        for one in (advice.accuracy.labels if advice.accuracy else ())
        if 2 * one.right < one.pictures and one.label not in few
    ]
    accuracy = advice.accuracy
    if accuracy and 2 * len(weak) > len(accuracy.labels) and _limited(accuracy):
        found.append(
            "Photograph from closer, or accept more wrong names (--false-name-rate 0.1): the right "
            f"label comes first for {accuracy.first / accuracy.pictures:.0%}, but the labels "
            "resemble each other, so the limit is strict and most new photos would be unknown."
        )
    elif weak:
        weak.sort(key=lambda one: one.right / one.pictures)
        found.append(
            f"Photograph {_some([one.label for one in weak])} from more sides and in more light: "
            "most new photos of them would be unknown or get a wrong name."
        )
    if faulty := advice.photos.faulty:
        faults = " or ".join(sorted({FAULTS[one.fault] for one in faulty}))
        first = shown(faulty[0].picture)
        others = f" and {_count(len(faulty) - 1, 'other picture')}" if len(faulty) > 1 else ""
        found.append(f"Replace {first}{others}: {faults}.")
    return found


def _limited(accuracy: Accuracy) -> bool:
    """Return whether the limit, not the order of the labels, makes most answers unknown."""
    return 2 * accuracy.right < accuracy.pictures and accuracy.first >= 0.7 * accuracy.pictures


def text_of(advice: Advice) -> str:
    """Return the advice as text, the actions first."""
    lines = ["What to do next"]
    lines += [f"  {number}. {action}" for number, action in enumerate(advice.actions, 1)]
    if advice.note:
        lines += ["", f"Note: {advice.note}"]
    if advice.accuracy is not None:
        lines += ["", *_accuracy(advice.accuracy)]
    lines += _list(
        "Labels with too few pictures",
        [f"{one.label}: {one.needed} more; {one.reason}" for one in advice.few],
    )
    lines += _list(
        "Pictures that probably have the wrong label",
        [
            f"{shown(one.picture)}: {one.similarity:.2f} to its label, {one.other_similarity:.2f} "
            f"to {one.other.label} (see {shown(one.other)})"
            for one in advice.mislabeled
        ],
    )
    lines += _list(
        "Labels that are hard to tell apart",
        [
            f"{one.label} and {one.other_label}: {one.mistaken} of {one.checked} pictures "
            "may be mistaken for the other; most similar at "
            f"{one.similarity:.2f}: {shown(one.picture)}, {shown(one.other)}"
            for one in advice.alike
        ],
    )
    lines += _list(
        "Almost the same picture under two labels",
        [
            f"{shown(one.picture)}, {shown(one.other)}: {one.similarity:.2f}"
            for one in advice.duplicates
        ],
    )
    repeats = Counter(one.picture.label for one in advice.repeated)
    lines += _list(
        "Near duplicates, which teach nothing new",
        [
            f"{label}: {_count(count, 'picture')}, such as "
            f"{shown(next(one.picture for one in advice.repeated if one.picture.label == label))}"
            for label, count in repeats.most_common()
        ],
    )
    lines += _list(
        "Pictures that show too little",
        [f"{shown(one.picture)}: {FAULTS[one.fault]}" for one in advice.photos.faulty],
    )
    return "\n".join([*lines, *_checked(advice)])


def shown(picture: PictureName) -> str:
    """Return a picture as text: label, file name and id."""
    name = PurePath(picture.source).name or "picture"
    return f"{picture.label}/{name} (id {picture.id})"


def _accuracy(accuracy: Accuracy) -> Iterable[str]:
    total = accuracy.pictures
    yield "Expected accuracy for new photos like the enrolled ones"
    yield (
        f"  {accuracy.right / total:.0%} right, {accuracy.unknown / total:.0%} unknown, "
        f"{accuracy.wrong / total:.0%} wrong: {_count(total, 'picture')}, each queried without "
        "itself"
    )
    yield f"  {accuracy.first / total:.0%} have their own label first, known or unknown"
    if accuracy.strangers:
        yield (
            f"  {accuracy.strangers_named / accuracy.strangers:.0%} of unknown things named: "
            f"{_count(accuracy.strangers, 'picture')}, each queried without its label"
        )
    weak = sorted(accuracy.labels, key=lambda one: (one.right / one.pictures, one.label))
    weak = [one for one in weak if one.right < one.pictures]
    for one in weak[:SHOWN]:
        yield (
            f"  {one.label}: {one.right} of {one.pictures} right, {one.unknown} unknown, "
            f"{one.wrong} wrong"
        )
    if len(weak) > SHOWN:
        yield f"  and {len(weak) - SHOWN} more (--json lists all)"


def _checked(advice: Advice) -> Iterable[str]:
    """Yield what was not checked."""
    photos: PhotoCheck = advice.photos
    if not advice.pictures:
        return
    yield ""
    compared = f"; {advice.queried} were compared" if advice.queried else ""
    yield (
        f"{_count(advice.pictures, 'picture')} under {_count(advice.labels, 'label')}{compared}; "
        f"the pixels of {photos.checked} were checked"
    )
    if photos.unavailable:
        yield (
            f"{_count(photos.unavailable, 'picture')} could not be checked for blur and darkness: "
            "not kept in the gallery, and the file is gone or has changed"
        )
    if photos.skipped:
        yield f"{_count(photos.skipped, 'picture')} not checked for blur and darkness (--photos)"


def _list(title: str, entries: Sequence[str]) -> list[str]:
    if not entries:
        return []
    lines = ["", f"{title} ({len(entries)})", *(f"  {entry}" for entry in entries[:SHOWN])]
    if len(entries) > SHOWN:
        lines.append(f"  and {len(entries) - SHOWN} more (--json lists all)")
    return lines


def _some(labels: Sequence[str]) -> str:
    """Return the first three labels, and how many others there are."""
    if len(labels) <= 3:
        return " and ".join(filter(None, [", ".join(labels[:-1]), labels[-1]]))
    return f"{', '.join(labels[:3])} and {_count(len(labels) - 3, 'other label')}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
