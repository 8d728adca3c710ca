"""Read photos without labels, and leave out copies of one photo."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_runtime.image.decode import SUFFIXES
from training.data.photo_sets import DataError, Photo
from training.methods.linear_map import Floats

LEAST_HELD_OUT = 10
"""Photos that are held out at least; they judge the codes."""
SHARE = 5
"""One photo in so many is held out."""
SAME = 0.9999
"""Cosine of the features above which two photos are copies of one."""
_ROWS = 1000


def read_unlabelled(folders: Iterable[Path]) -> list[Photo]:
    """Return every photo in `folders` and below, in the order of their names, without labels.

    Raises DataError if a folder is missing, or if there is no photo at all.
    """
    photos: list[Photo] = []
    for folder in folders:
        if not folder.is_dir():
            raise DataError("not a folder", where=folder, remedy="give --data a folder of photos")
        paths = sorted(
            path
            for path in folder.rglob("*")
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
        )
        photos += [
            Photo(path, path.relative_to(folder).as_posix(), "", "", folder.name) for path in paths
        ]
    if not photos:
        raise DataError("no photos", where=folder, remedy="give --data a folder of photos")
    return photos


def different_photos(features: Floats) -> NDArray[np.intp]:
    """Return the rows of features float32 [N, F] that are not copies of an earlier row."""
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    copies = np.zeros(len(unit), bool)
    for start in range(0, len(unit), _ROWS):
        alike = unit[start : start + _ROWS] @ unit.T > SAME
        earlier = np.arange(len(unit)) < np.arange(start, start + len(alike))[:, None]
        copies[start : start + _ROWS] = (alike & earlier).any(1)
    return np.flatnonzero(~copies)


def require_different(different: int, readable: int, listed: int, bits: int, where: Path) -> None:
    """Raise DataError unless enough photos differ to fit `bits` bits and to judge them.

    A code of K bits has K directions, which K + 1 photos span; a fifth of the photos are held out.
    """
    needed = max(bits + 1 + LEAST_HELD_OUT, -(-(bits + 1) * SHARE // (SHARE - 1)))
    if different >= needed:
        return
    what = f"{different} different photo{'' if different == 1 else 's'}"
    if different < readable:
        what += f" among {readable}"
    if readable < listed:
        what += f", and {listed - readable} unreadable"
    raise DataError(
        f"{what}; {bits} bits need {needed}",
        where=where,
        remedy="add photos, or ask for fewer bits",
    )


def hold_out(count: int, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the places of `count` photos that are fitted to, and of those that are held out.

    The photos held out are one run in the order of the names, because photos of a burst are alike.
    """
    held = max(count // SHARE, LEAST_HELD_OUT)
    start = int(np.random.default_rng(seed).integers(0, count - held + 1))
    places = np.arange(count)
    chosen = (places >= start) & (places < start + held)
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def without_judged(photos: Sequence[Photo], judged: Iterable[Photo]) -> list[Photo]:
    """Return `photos` without those that are also among the labelled photos kept aside."""
    aside = {each.path.resolve() for each in judged}
    return [photo for photo in photos if photo.path.resolve() not in aside]
