"""Small copies of the photo sets and a stand-in for CIFAR-10, for the tiny form of the tables.

The photos are real, a few of each set, scaled down. CIFAR-10 is replaced by crops of them in its
form, 32 x 32 pixels, so that the tiny form needs no download. Its figures mean nothing.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edge_runtime.errors import EdgeRuntimeError
from edge_runtime.image import Image
from edge_runtime.image.decode import read_photo
from training.data.photo_sets import SAMPLE, DataError, Photo, read_set, sample_evenly
from training.data.splits import default_split
from training.files import write_bytes
from training.papers.cifar10.images import SIDE

LABELS, STORED, ASKED = 3, 5, 2
"""Labels of a set, and the most photos of a label that are searched and queried."""
MOST_PIXELS = 240
"""Longer side of a photo."""
CROPS = {"train": 20, "test": 10}
"""Images of a class of the stand-in for CIFAR-10."""


def small_sets(data: Path, out: Path) -> list[str]:
    """Write a small copy of every set in `data` to `out`; return their names.

    A set that was copied before is left as it is. Raises DataError without any set.
    """
    folders = [each for each in sorted(data.iterdir()) if each.is_dir() and each.name != SAMPLE]
    for folder in folders:
        if not (out / folder.name / "manifest.csv").exists():
            _copy(read_set(folder), out / folder.name)
    if not folders:
        raise DataError("no sets of photos", where=data, remedy="one folder per set is needed")
    return [each.name for each in folders]


def stand_in_for_cifar10(photos: Path, out: Path) -> Path:
    """Write crops of the small set `photos` in the form of CIFAR-10; return the folder `out`."""
    rng = np.random.default_rng(1)
    database, queries, _ = default_split(read_set(photos))
    for part, source in (("train", database), ("test", queries)):
        for label, own in _by_label(source).items():
            images = [read_photo(photo.path) for photo in own]
            for number in range(CROPS[part]):
                crop = _crop(images[number % len(images)], rng)
                write_bytes(out / part / label / f"{number:04}.png", _encoded(crop, ".png"))
    return out


def _copy(photos: Sequence[Photo], out: Path) -> None:
    database, queries, _ = default_split(photos)
    stored, asked = _by_label(database), _by_label(queries)
    labels = sorted(
        set(stored) & set(asked), key=lambda name: (-min(ASKED, len(asked[name])), name)
    )
    table = io.StringIO(newline="")
    lines = csv.writer(table, lineterminator="\n")
    lines.writerow(["path", "label", "seq", "split"])
    for label in labels[:LABELS]:
        kept = [("gallery", photo) for photo in sample_evenly(stored[label], STORED)]
        kept += [("query", photo) for photo in asked[label][:ASKED]]
        for number, (split, photo) in enumerate(kept):
            name = f"{label}/{number:03}.jpg"
            try:
                data = _encoded(_scaled(read_photo(photo.path)), ".jpg")
            except EdgeRuntimeError as error:
                raise DataError(str(error)) from error
            write_bytes(out / name, data)
            lines.writerow([name, label, number, split])
    write_bytes(out / "manifest.csv", table.getvalue().encode())


def _by_label(photos: Sequence[Photo]) -> dict[str, list[Photo]]:
    found: dict[str, list[Photo]] = defaultdict(list)
    for photo in photos:
        found[photo.label].append(photo)
    return dict(found)


def _scaled(image: Image) -> Image:
    ratio = min(1.0, MOST_PIXELS / max(image.shape[:2]))
    size = [max(1, round(ratio * each)) for each in image.shape[1::-1]]
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _crop(image: Image, rng: np.random.Generator) -> Image:
    """Return a random square of the image, three quarters of its shorter side, as SIDE x SIDE."""
    side = max(1, min(image.shape[:2]) * 3 // 4)
    top, left = (int(rng.integers(0, each - side + 1)) for each in image.shape[:2])
    square = image[top : top + side, left : left + side]
    return np.asarray(cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def _encoded(image: Image, kind: str) -> bytes:
    return bytes(cv2.imencode(kind, image)[1].tobytes())
