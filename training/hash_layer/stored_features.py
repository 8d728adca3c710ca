"""Features of photos, stored in blocks as they are computed, so that a killed command resumes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_runtime.image.preprocess import preprocess
from training.cli import log
from training.data.augment import GENTLE, augment
from training.data.input_tensor import Floats
from training.data.photo_sets import Photo
from training.data.pixel_cache import PixelCache
from training.files import write_whole
from training.hash_layer.feature_model import FeatureModel
from training.hash_layer.features import run_all

BLOCK = 200
"""Photos per file."""


def stored_passes(
    model: FeatureModel, cache: PixelCache, views: int, seed: int, folder: Path
) -> list[Floats]:
    """Return the clean features of the photos, then those of `views` augmented views each.

    Each is float32 [N, F]. Blocks that `folder` holds from an earlier run are read. Raises
    StorageError when writing fails.
    """
    stamp = _stamp(model, cache.photos)
    found = [_pass(model, cache, None, folder / f"{stamp}-clean")]
    for view in range(views):
        place = folder / f"{stamp}-view{seed + view}"
        found.append(_pass(model, cache, seed + view, place))
    return found


def _stamp(model: FeatureModel, photos: Sequence[Photo]) -> str:
    digest = hashlib.sha256(f"1 {model.size} {model.provenance} {GENTLE}\n".encode())
    for photo in photos:
        stat = photo.path.stat()
        digest.update(f"{photo.path.resolve()} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _pass(model: FeatureModel, cache: PixelCache, seed: int | None, place: Path) -> Floats:
    def view(index: int) -> NDArray[np.uint8]:
        if seed is None:
            return preprocess(cache[index], model.size)
        return augment(cache[index], model.size, np.random.default_rng((seed, index)), GENTLE)

    blocks = []
    for start in range(0, len(cache), BLOCK):
        count = min(BLOCK, len(cache) - start)
        path = place.with_name(f"{place.name}-{start // BLOCK:04}.npy")
        block = _read(path, count)
        if block is None:
            log(f"computing features: {place.name}, {start + count} of {len(cache)} photos")
            block = run_all(model.run, count, partial(_from, view, start))
            _write(path, block)
        blocks.append(block)
    return np.concatenate(blocks)


def _from(view: Callable[[int], NDArray[np.uint8]], start: int, index: int) -> NDArray[np.uint8]:
    return view(start + index)


def _read(path: Path, count: int) -> Floats | None:
    try:
        found: Floats = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.dtype == np.float32 and found.shape[:1] == (count,) else None


def _write(path: Path, block: Floats) -> None:
    write_whole(path, lambda file: np.save(file, block, allow_pickle=False))
