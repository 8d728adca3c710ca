"""Features of every image by the frozen ImageNet MobileNet-v1, computed once and stored.

All methods start from them: one clean view of each image, and several augmented views of the
training images. They are stored as float16 in blocks, each durable once written, so that an
interrupted computation continues where it stopped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_runtime.model import identify
from training.cli import log
from training.data.augment import Strength, augment
from training.data.input_tensor import to_input
from training.files import write_whole
from training.hash_layer.backbone import feature_runner
from training.hash_layer.features import Run
from training.models.imagenet_weights import load_imagenet
from training.papers.cifar10.images import Images, Ints, Pixels
from training.papers.cifar10.split import Split

Halves = NDArray[np.float16]
SIZE = 128
"""Side in pixels to which an image is scaled. On validation images, 128 is better than 96 and 224,
and 160 no better (`papers cifar10 --validation --methods paper --bits 32 --seeds 1 --size 224`).
"""
VIEWS = 4
"""Augmented views of each training image."""
BLOCK = 1000  # images per stored file
VIEW = Strength(
    min_crop=0.6, rotation=10, shear=0.03, perspective=0.03, flip_p=0.5, color=0.3, tint=0.05,
    blur_p=0, flash_p=0, occlusion_p=0, noise_p=0, jpeg_p=0,
)  # fmt: skip
"""Augmentation: crops, flips, small rotations and color."""


@dataclass(frozen=True)
class Material:
    """What a method gets: features and labels of all images, and the split."""

    features: Halves
    """Clean view of all images, float16 [N, F]."""
    views: Halves
    """Views of the training images, float16 [1 + views, len(split.training), F], clean first."""
    labels: Ints
    """Class of each image, int64 [N]."""
    classes: int
    split: Split
    stamp: str
    """Identifies images, weights and extraction; part of the key of a run."""
    kind: str
    """A sentence on the images, for the result file."""

    @cached_property
    def standard(self) -> Standard:
        """The features with mean 0 and variance 1 over all views; computed once."""
        flat = torch.from_numpy(self.views.reshape(-1, self.views.shape[-1])).float()
        spread, mean = torch.std_mean(flat, 0)
        scale = 1 / spread.clamp_min(1e-3)
        features = torch.from_numpy(self.features).float().sub_(mean).mul_(scale)
        return Standard(features, flat.sub_(mean).mul_(scale))


@dataclass(frozen=True)
class Standard:
    """Standardized features."""

    features: Tensor
    """Clean view of all images, float [N, F]."""
    views: Tensor
    """Views of the training images, float [V * n, F], view by view."""


def load_material(
    images: Images, split: Split, weights: Path, folder: Path, size: int = SIZE, views: int = VIEWS
) -> Material:
    """Compute the features, or read them from `folder`; raises WeightsError and StorageError."""
    identity = f"{images.stamp} {identify(weights)[0]} {size} {VIEW} 1"
    stamp = hashlib.sha256(identity.encode()).hexdigest()[:16]
    place = folder / f"features-{stamp}"
    source = _Source(images, weights, size)
    clean = _stored(place, "clean", np.arange(len(images)), source, source.clean)
    shown = [clean[split.training]]
    for number in range(views):
        view = source.augmented(number)
        shown.append(_stored(place, f"view{number}", split.training, source, view))
    kind = "the lossless python version" if images.lossless else "a JPEG copy of the public set"
    return Material(clean, np.stack(shown), images.labels, len(images.classes), split, stamp, kind)


class _Source:
    """Views of images and the network that computes their features, loaded when needed."""

    def __init__(self, images: Images, weights: Path, size: int) -> None:
        self._images, self._weights, self._size = images, weights, size
        self._run: Run | None = None

    def features(self, views: Sequence[Pixels]) -> Halves:
        """Return the features float16 [n, F] of pictures uint8 [size, size, 3]."""
        if self._run is None:
            cv2.setNumThreads(1)
            self._run = feature_runner(load_imagenet(self._weights), self._size)
        return np.concatenate([self._run(to_input(each)) for each in views]).astype(np.float16)

    def clean(self, index: int) -> Pixels:
        """Return image `index` scaled to the input size."""
        side = (self._size, self._size)
        return np.asarray(cv2.resize(self._images[index], side, interpolation=cv2.INTER_LINEAR),
                          dtype=np.uint8)  # fmt: skip

    def augmented(self, number: int) -> Callable[[int], Pixels]:
        """Return the function that makes augmented view `number` of an image."""

        def view(index: int) -> Pixels:
            rng = np.random.default_rng((number, index))
            return augment(self._images[index], self._size, rng, VIEW)

        return view


def _stored(
    place: Path, name: str, rows: Ints, source: _Source, view: Callable[[int], Pixels]
) -> Halves:
    """Return the features of `view` of the images `rows`, from blocks in `place` where present."""
    blocks = []
    for start in range(0, len(rows), BLOCK):
        own = rows[start : start + BLOCK]
        path = place / f"{name}-{start // BLOCK:02}.npy"
        found = _read(path, len(own))
        if found is None:
            log(f"computing features: {name}, {start + len(own)} of {len(rows)} images")
            found = source.features([view(int(row)) for row in own])
            _write(path, found)
        blocks.append(found)
    return np.concatenate(blocks)


def _read(path: Path, count: int) -> Halves | None:
    try:
        found: Halves = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    whole = found.dtype == np.float16 and found.ndim == 2 and len(found) == count
    return found if whole else None


def _write(path: Path, block: Halves) -> None:
    write_whole(path, lambda file: np.save(file, block, allow_pickle=False))
