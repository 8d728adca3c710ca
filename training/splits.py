"""Splits of a photo set, each named in every result that uses it.

`official`: the set's own `split` column. `random`: photos at random; leaks where photos come in
bursts. `stretch`: a contiguous run of each label's photos in the order they were taken, so that
no near copy of a held-out photo stays behind. `classes`: whole labels.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from training.data import DataError, Photo

TRAIN_SPLITS = frozenset({"train", "val", "gallery", ""})
QUERY_SPLITS = frozenset({"test", "query"})


def official(photos: Sequence[Photo]) -> tuple[list[Photo], list[Photo]]:
    """Database (train, val, gallery) and queries (test, query) by the sets' own split column."""
    database = [photo for photo in photos if photo.split in TRAIN_SPLITS]
    queries = [photo for photo in photos if photo.split in QUERY_SPLITS]
    return _checked(database, queries, "official")


def default_split(photos: Sequence[Photo], seed: int) -> tuple[list[Photo], list[Photo], str]:
    """Database, queries and the split's name: the set's own, or a stretch where it has none."""
    if any(photo.split in QUERY_SPLITS for photo in photos):
        return *official(photos), "the set's own split"
    return *stretch_split(photos, 0.2, seed), "a contiguous fifth of each label held out"


def random_split(
    photos: Sequence[Photo], share: float, seed: int
) -> tuple[list[Photo], list[Photo]]:
    """Kept and held out: `share` of each label's photos at random, none of a lone photo."""
    rng = np.random.default_rng(seed)
    held: set[int] = set()
    for members in _by_label(photos).values():
        count = min(round(share * len(members)), len(members) - 1)
        held.update(int(i) for i in rng.permutation(members)[:count])
    return _parted(photos, held, "random")


def stretch_split(
    photos: Sequence[Photo], share: float, seed: int
) -> tuple[list[Photo], list[Photo]]:
    """Kept and held out: one contiguous run of `share` of each label's photos, placed by `seed`."""
    rng = np.random.default_rng(seed)
    held: set[int] = set()
    for members in _by_label(photos).values():
        count = round(share * len(members))
        if 0 < count < len(members):
            start = int(rng.integers(0, len(members) - count + 1))
            held.update(members[start : start + count])
    return _parted(photos, held, "stretch")


def class_split(
    photos: Sequence[Photo], share: float, seed: int
) -> tuple[list[Photo], list[Photo]]:
    """Seen and unseen: `share` of each source's labels are held out whole."""
    rng = np.random.default_rng(seed)
    hidden: set[str] = set()
    for source in sorted({photo.source for photo in photos}):
        labels = sorted({photo.label for photo in photos if photo.source == source})
        hidden.update(str(label) for label in rng.permutation(labels)[: round(share * len(labels))])
    held = {i for i, photo in enumerate(photos) if photo.label in hidden}
    return _parted(photos, held, "classes")


def save_split(path: Path, name: str, parts: dict[str, list[Photo]]) -> None:
    """Store a split as CSV: split name, part, photo."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["split", "part", "source", "path"])
        for part, photos in parts.items():
            writer.writerows([name, part, photo.source, photo.name] for photo in photos)


def _by_label(photos: Sequence[Photo]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = defaultdict(list)
    for index in sorted(range(len(photos)), key=lambda i: photos[i].order):
        groups[photos[index].label].append(index)
    return groups


def _parted(photos: Sequence[Photo], held: set[int], name: str) -> tuple[list[Photo], list[Photo]]:
    kept = [photo for i, photo in enumerate(photos) if i not in held]
    return _checked(kept, [photos[i] for i in sorted(held)], name)


def _checked(kept: list[Photo], held: list[Photo], name: str) -> tuple[list[Photo], list[Photo]]:
    for part, what in ((kept, "train on"), (held, "hold out")):
        if not part:
            raise DataError(
                f"the split leaves no photo to {what}", where=name, remedy="add photos or labels"
            )
    return kept, held
