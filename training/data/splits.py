"""Splits of a photo set, each named in every result that uses it.

A set's own `split` column counts where it names queries. `random`: photos at random; leaks where
photos come in bursts. `stretch`: a contiguous run of each label's photos in the order they were
taken, so that no near copy of a held-out photo stays behind. `classes`: whole labels.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from training.data.photo_sets import DataError, Photo
from training.files import write_bytes

TRAIN_SPLITS = frozenset({"train", "val", "gallery", ""})
QUERY_SPLITS = frozenset({"test", "query"})
SPLIT_SEED = 1  # of sets without a split of their own: the same for fitting and for judging
OFFICIAL = "official"  # the protocol of `default_split`
_HEAD = ["split", "part", "source", "path"]  # of a stored one


def default_split(
    photos: Sequence[Photo], seed: int = SPLIT_SEED
) -> tuple[list[Photo], list[Photo], str]:
    """Return database, queries and split name: each set's own split, or a stretch without one.

    Each set is split separately, so its split does not depend on the other sets. The `split` of
    each held-out photo is set to query. Splitting the result again therefore gives the same
    split, even after unreadable photos are removed.
    """
    database: list[Photo] = []
    queries: list[Photo] = []
    names: dict[str, None] = {}
    for source in dict.fromkeys(photo.source for photo in photos):
        own = [photo for photo in photos if photo.source == source]
        if any(photo.split in QUERY_SPLITS for photo in own):
            names["the set's own split"] = None
            database += [photo for photo in own if photo.split in TRAIN_SPLITS]
            queries += [photo for photo in own if photo.split in QUERY_SPLITS]
        else:
            names["a contiguous fifth of each label held out"] = None
            held = _stretches(own, 0.2, seed)
            database += [photo for i, photo in enumerate(own) if i not in held]
            queries += [replace(own[i], split="test") for i in sorted(held)]
    name = "; ".join(names)
    return *_checked(database, queries, name), name


def random_split(
    photos: Sequence[Photo], share: float, seed: int
) -> tuple[list[Photo], list[Photo]]:
    """Hold out a random `share` of each label's photos, none from a label with one photo.

    Returns the photos kept and the photos held out.
    """
    rng = np.random.default_rng(seed)
    held: set[int] = set()
    for members in _by_label(photos).values():
        count = min(round(share * len(members)), len(members) - 1)
        held.update(int(i) for i in rng.permutation(members)[:count])
    return _parted(photos, held, "random")


def stretch_split(
    photos: Sequence[Photo], share: float, seed: int
) -> tuple[list[Photo], list[Photo]]:
    """Hold out one contiguous run of `share` of each label's photos, placed by `seed`.

    Returns the photos kept and the photos held out.
    """
    return _parted(photos, _stretches(photos, share, seed), "stretch")


def _stretches(photos: Sequence[Photo], share: float, seed: int) -> set[int]:
    rng = np.random.default_rng(seed)
    held: set[int] = set()
    for members in _by_label(photos).values():
        count = round(share * len(members))
        if 0 < count < len(members):
            start = int(rng.integers(0, len(members) - count + 1))
            held.update(members[start : start + count])
    return held


def class_split(
    photos: Sequence[Photo], share: float, seed: int
) -> tuple[list[Photo], list[Photo]]:
    """Hold out all photos of a `share` of each source's labels; return (seen, unseen)."""
    rng = np.random.default_rng(seed)
    hidden: set[str] = set()
    for source in sorted({photo.source for photo in photos}):
        labels = sorted({photo.label for photo in photos if photo.source == source})
        hidden.update(str(label) for label in rng.permutation(labels)[: round(share * len(labels))])
    held = {i for i, photo in enumerate(photos) if photo.label in hidden}
    return _parted(photos, held, "classes")


Parts = Mapping[str, Sequence[Photo]]
"""The photos of each part of a split."""


def split_csv(splits: Iterable[tuple[str, Parts]]) -> bytes:
    """Format named splits as CSV, one line per photo: split name, part, source, path."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(_HEAD)
    for name, parts in splits:
        for part, photos in parts.items():
            writer.writerows([name, part, photo.source, photo.name] for photo in photos)
    return text.getvalue().encode()


def split_digest(name: str, parts: Parts) -> str:
    """Return the hexadecimal SHA-256 of a split's CSV; equal digests mean equal photos."""
    return hashlib.sha256(split_csv([(name, parts)])).hexdigest()


def describe_splits(
    database: Sequence[Photo], queries: Sequence[Photo], words: str
) -> dict[str, dict[str, str]]:
    """Describe each set's split for results: its `words` and the `digest` of its photos.

    `python -m training evaluate` gives the same digest for the same photos.
    """
    found = {}
    for source in sorted({photo.source for photo in database}):
        parts = {
            part: [photo for photo in photos if photo.source == source]
            for part, photos in (("database", database), ("queries", queries))
        }
        found[source] = {"split": words, "split_sha256": split_digest(OFFICIAL, parts)}
    return found


def save_split(path: Path, name: str, parts: Parts) -> str:
    """Store a split as CSV; returns the file's SHA-256, hexadecimal."""
    write_bytes(path, split_csv([(name, parts)]))
    return split_digest(name, parts)


def read_split(path: Path) -> tuple[str, dict[str, set[tuple[str, str]]]]:
    """Return the name of a stored split and the (source, name) of each part's photos.

    Raises DataError when `path` is not a split file.
    """
    try:
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        what = error.strerror if isinstance(error, OSError) else "not a CSV file in UTF-8"
        raise _no_split(path, str(what)) from error
    if not rows or rows[0] != _HEAD:
        raise _no_split(path, f"its first line is not {','.join(_HEAD)}")
    parts: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for line, row in enumerate(rows[1:], start=2):
        if len(row) != len(_HEAD) or row[0] != rows[1][0]:
            raise _no_split(f"{path}:{line}", "not a line of the same split")
        parts[row[1]].add((row[2], row[3]))
    if not parts:
        raise _no_split(path, "the file lists no photos")
    return rows[1][0], parts


def held_out_labels(path: Path, photos: Sequence[Photo]) -> set[str]:
    """Return the labels of `photos` that the stored split `path` holds out completely.

    Raises DataError when it holds out none of them, or only part of a label.
    """
    name, parts = read_split(path)
    if name != "classes":
        raise _no_split(path, f'its split is "{name}", which does not hold out whole labels')
    held, visible = (
        {photo.label for photo in photos if (photo.source, photo.name) in parts[part]}
        for part in ("validation", "train")
    )
    if not held:
        count = len(parts["validation"])
        raise DataError(
            f"none of its {count} held-out photos is in the data",
            where=path,
            remedy="give --data the sets that it parts",
        )
    if both := sorted(held & visible):
        raise _no_split(path, f"label {both[0]} has photos in both parts")
    return held


def _no_split(where: object, what: str) -> DataError:
    return DataError(
        what, where=where, remedy="give the split.csv of python -m training train --hold classes"
    )


def _by_label(photos: Sequence[Photo]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = defaultdict(list)
    for index in sorted(range(len(photos)), key=lambda i: photos[i].order):
        groups[photos[index].label].append(index)
    return groups


def _parted(photos: Sequence[Photo], held: set[int], name: str) -> tuple[list[Photo], list[Photo]]:
    database = [photo for i, photo in enumerate(photos) if i not in held]
    return _checked(database, [photos[i] for i in sorted(held)], name)


def _checked(
    database: list[Photo], held: list[Photo], name: str
) -> tuple[list[Photo], list[Photo]]:
    for part, what in ((database, "train on"), (held, "hold out")):
        if not part:
            raise DataError(
                f"the split leaves no photo to {what}",
                where=name,
                remedy="add photos or labels",
            )
    return database, held


HOLD_OUT = {"random": random_split, "stretch": stretch_split, "classes": class_split}


def hold_out(photos: list[Photo], hold: str, seed: int) -> tuple[list[Photo], list[Photo]]:
    """Split into training and validation photos: hold out a fifth by `hold`, unless "none"."""
    return HOLD_OUT[hold](photos, 0.2, seed) if hold in HOLD_OUT else (photos, [])
