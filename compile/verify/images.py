"""The pictures to verify a compiled network on: photographs, and disturbed views of them."""

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

MAX_SIDE = 640
"""Longer side, in pixels, to which a photograph is reduced first."""


def load_views(folder: Path | None, size: int, count: int, seed: int = 1) -> Image:
    """Return `count` preprocessed pictures, uint8 [count, size, size, 3], BGR.

    They show the photographs in turn, first unchanged, then disturbed. The photographs are those
    below `folder` (None: those of scikit-image). Raises `NoPhotosError`.
    """
    return make_views(load_photos(folder, count), size, count, seed)


def make_views(photos: list[Image], size: int, count: int, seed: int = 1) -> Image:
    """Return `count` views of `photos`. View i shows photograph i modulo their number."""
    generator = np.random.default_rng(seed)
    views = np.empty((count, size, size, 3), np.uint8)
    for index in range(count):
        photo = photos[index % len(photos)]
        views[index] = preprocess(
            photo if index < len(photos) else _disturb(photo, generator), size
        )
    return views


def load_photos(folder: Path | None, limit: int) -> list[Image]:
    """Return at most `limit` reduced photographs; raises `NoPhotosError`."""
    paths = photo_files(folder)
    chosen = paths[:: max(1, len(paths) // limit)][:limit]
    photos = list(_readable(chosen))
    if not photos:
        raise _no_photo(folder or _sample_folder())
    return photos


def photo_files(folder: Path | None) -> list[Path]:
    """Return the files that `load_photos` chooses from, in order; raises `NoPhotosError`."""
    where = folder or _sample_folder()
    if not where.is_dir():
        raise NoPhotosError("no such folder", where=where, remedy="name a folder of photos")
    files = sorted(find_photos(where))
    if not files:
        raise _no_photo(where)
    return files


def _no_photo(where: Path) -> NoPhotosError:
    return NoPhotosError("contains no usable photo", where=where, remedy="name another folder")


def _sample_folder() -> Path:
    spec = importlib.util.find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise NoPhotosError(
            "no photos to verify the bundle on",
            where="scikit-image",
            remedy="install scikit-image, or name a folder with --photos",
        )
    return Path(spec.submodule_search_locations[0]) / "data"


def _readable(paths: list[Path]) -> Iterator[Image]:
    for path in paths:
        try:
            photo = read_photo(path)
        except PhotoError:
            continue
        scale = MAX_SIDE / max(photo.shape[:2])
        if scale < 1:
            sides = (max(1, int(photo.shape[1] * scale)), max(1, int(photo.shape[0] * scale)))
            photo = np.asarray(cv2.resize(photo, sides, interpolation=cv2.INTER_AREA), np.uint8)
        yield photo


def _disturb(photo: Image, generator: np.random.Generator) -> Image:
    """Return a randomly cropped, rotated, lit, blurred or occluded copy."""
    height, width = photo.shape[:2]
    share = generator.uniform(0.6, 1)
    high, wide = int(height * share), int(width * share)
    top, left = generator.integers(0, height - high + 1), generator.integers(0, width - wide + 1)
    photo = photo[top : top + high, left : left + wide]
    rotation = cv2.getRotationMatrix2D((wide / 2, high / 2), generator.uniform(-25, 25), 1.1)
    changed = cv2.warpAffine(photo, rotation, (wide, high), borderMode=cv2.BORDER_REFLECT)
    changed = cv2.convertScaleAbs(
        changed, alpha=generator.uniform(0.5, 1.7), beta=generator.uniform(-30, 30)
    )
    if generator.random() < 0.3:
        changed = cv2.GaussianBlur(changed, (0, 0), generator.uniform(0.5, 4))
    if generator.random() < 0.3:
        y, x = generator.integers(0, high // 2 + 1), generator.integers(0, wide // 2 + 1)
        changed[y : y + high // 4, x : x + wide // 4] = generator.integers(0, 256, 3)
    return np.ascontiguousarray(changed, np.uint8)
