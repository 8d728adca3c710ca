"""The photos that galleries are drawn from: read once, grouped by label, bounded in number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from edge_runtime.image import Image
from training.data.photo_sets import Photo
from training.data.pixel_cache import PhotoReader

T = TypeVar("T")


class Pool:
    """The photos of a set by label, each decoded once."""

    def __init__(self, photos: Sequence[Photo], most: int, seed: int) -> None:
        """Keep the readable photos, at most `most` of each label, chosen by `seed`.

        Raises NoPhotosError if none can be read.
        """
        self._reader = PhotoReader(photos)
        self.skipped = self._reader.skipped
        # A label of several sets is "set/label", and a gallery accepts no slash.
        named = [replace(each, label=each.label.replace("/", ": ")) for each in self._reader.photos]
        self._rows = {photo: row for row, photo in enumerate(named)}
        self._images: dict[Photo, Image] = {}
        grouped: dict[str, list[Photo]] = {}
        # By `order`, so that draws do not depend on how the photos are laid out in folders.
        for photo in sorted(named, key=lambda photo: (photo.label, photo.order)):
            grouped.setdefault(photo.label, []).append(photo)
        rng = np.random.default_rng(seed)
        self.by_label = {label: shuffled(rng, own, most) for label, own in grouped.items()}

    def __len__(self) -> int:
        return sum(map(len, self.by_label.values()))

    def image(self, photo: Photo) -> Image:
        """Return the pixels of `photo`, uint8 H x W x 3 BGR."""
        if photo not in self._images:
            self._images[photo] = self._reader[self._rows[photo]]
        return self._images[photo]

    def having_more_than(self, count: int) -> list[str]:
        """Return the labels that have more than `count` photos, sorted."""
        return [label for label, own in self.by_label.items() if len(own) > count]


def shuffled(rng: np.random.Generator, items: Sequence[T], count: int | None = None) -> list[T]:
    """Return at most `count` of `items` (None: all) in random order."""
    return [items[int(index)] for index in rng.permutation(len(items))[:count]]
