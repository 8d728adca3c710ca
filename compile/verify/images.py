"""Pictures to prove a compiled network on: real photographs, and what a camera does to them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from edge_runtime.errors import NoPhotosError, PhotoError
from edge_runtime.image import Image
from edge_runtime.image.decode import find_photos, read_photo
from edge_runtime.image.preprocess import preprocess

LONGEST = 640
"""Pixels a side to which a photograph is reduced first."""


def pictures(folder: Path | None, size: int, count: int, seed: int = 1) -> Image:
    """`count` fitted pictures, uint8 [count, size, size, 3], BGR: photographs in turn, first as
    they are, then disturbed.

    The photographs are those below `folder`, or the ones that come with scikit-image. Raises
    `NoPhotosError`.
    """
    return views(photos(folder, count), size, count, seed)


def views(chosen: list[Image], size: int, count: int, seed: int = 1) -> Image:
    """The same of the photographs `chosen`: view i is of photograph i modulo their number."""
    generator = np.random.default_rng(seed)
    made = np.empty((count, size, size, 3), np.uint8)
    for index in range(count):
        photo = chosen[index % len(chosen)]
        made[index] = preprocess(photo if index < len(chosen) else _disturb(photo, generator), size)
    return made


def photos(folder: Path | None, most: int) -> list[Image]:
    """At most `most` photographs, reduced; raises `NoPhotosError`."""
    paths = photo_files(folder)
    chosen = paths[:: max(1, len(paths) // most)][:most]
    found = list(_readable(chosen))
    if not found:
        raise _no_photo(folder or _sample_folder())
    return found


def photo_files(folder: Path | None) -> list[Path]:
    """Those that `photos` chooses from, in order; raises `NoPhotosError`."""
    where = folder or _sample_folder()
    if not where.is_dir():
        raise NoPhotosError("no such folder", where=where, remedy="name a folder of photos")
    found = sorted(find_photos(where))
    if not found:
        raise _no_photo(where)
    return found


def _no_photo(where: Path) -> NoPhotosError:
    return NoPhotosError("no usable photo in it", where=where, remedy="name another folder")


def _sample_folder() -> Path:
    found = importlib.util.find_spec("skimage")
    if found is None or not found.submodule_search_locations:
        raise NoPhotosError(
            "no photos to prove the bundle on",
            where="scikit-image",
            remedy="install scikit-image, or name a folder with --photos",
        )
    return Path(found.submodule_search_locations[0]) / "data"


def _readable(paths: list[Path]) -> Iterator[Image]:
    for path in paths:
        try:
            photo = read_photo(path)
        except PhotoError:
            continue
        scale = LONGEST / max(photo.shape[:2])
        if scale < 1:
            sides = (max(1, int(photo.shape[1] * scale)), max(1, int(photo.shape[0] * scale)))
            photo = np.asarray(cv2.resize(photo, sides, interpolation=cv2.INTER_AREA), np.uint8)
        yield photo


def _disturb(photo: Image, generator: np.random.Generator) -> Image:
    """Turned, cut, lit, blurred or covered, each in its own measure."""
    height, width = photo.shape[:2]
    share = generator.uniform(0.6, 1)
    high, wide = int(height * share), int(width * share)
    top, left = generator.integers(0, height - high + 1), generator.integers(0, width - wide + 1)
    photo = photo[top : top + high, left : left + wide]
    turn = cv2.getRotationMatrix2D((wide / 2, high / 2), generator.uniform(-25, 25), 1.1)
    changed = cv2.warpAffine(photo, turn, (wide, high), borderMode=cv2.BORDER_REFLECT)
    changed = cv2.convertScaleAbs(
        changed, alpha=generator.uniform(0.5, 1.7), beta=generator.uniform(-30, 30)
    )
    if generator.random() < 0.3:
        changed = cv2.GaussianBlur(changed, (0, 0), generator.uniform(0.5, 4))
    if generator.random() < 0.3:
        y, x = generator.integers(0, high // 2 + 1), generator.integers(0, wide // 2 + 1)
        changed[y : y + high // 4, x : x + wide // 4] = generator.integers(0, 256, 3)
    return np.ascontiguousarray(changed, np.uint8)
