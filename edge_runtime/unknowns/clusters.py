"""Group sightings of unknown things while they come in, by their features.

What a camera always sees is part of every picture's features: two things before one wall look more
alike than one thing before two walls. So each camera's mean is subtracted before features are
compared, and a thing before one camera can be found again before another. In the mean, each group
counts by the harmonic number of its sightings: what is seen most must not become the mean, as its
own features would then be noise.

`python -m profiles.bench.unknowns` measures how pure the groups are, and how many a thing has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_runtime.fitting.quantized import Floats, unit

ALIKE = 0.5
"""Least similarity to a group of what joins it: the cosine after the means are subtracted."""
SAME_VIEW = 0.97
"""Plain cosine from which two pictures of one camera show the same, whatever its mean."""
TRUSTED = 6.0
"""Weight from which the mean of a camera is subtracted in full; before, in proportion."""
UNSURE = 0.4
"""What is added to `ALIKE` as long as no mean is subtracted."""
MOST_WEIGHT = 200.0
"""Weight at which the mean of a camera becomes a moving one: a camera may be moved."""
MOST_SIGHTINGS = 20
"""Sightings after which a centroid becomes a moving mean."""


@dataclass
class CameraMean:
    """The mean of what a camera, or a region of it, shows."""

    mean: Floats
    """float32 [F]"""
    weight: float = 0.0

    @property
    def trust(self) -> float:
        """How much of the mean is subtracted, 0 to 1."""
        return min(self.weight / TRUSTED, 1.0)


@dataclass
class Centroid:
    """The mean of a group's sightings before one camera."""

    group: int
    camera: str
    mean: Floats
    """float32 [F], of length 1."""
    sightings: int = 0
    seconds: float = 0.0
    """For how long the camera has shown it."""


class Clusters:
    """The centroids of all groups, and the means of all cameras."""

    def __init__(self, features: int) -> None:
        """Start without groups, for vectors of `features` numbers."""
        self.cameras: dict[str, CameraMean] = {}
        self._features = features
        self._centroids: list[Centroid] = []
        self._rows = np.empty((0, features), np.float32)

    def load(self, cameras: dict[str, CameraMean], centroids: list[Centroid]) -> None:
        """Replace everything."""
        self.cameras, self._centroids = cameras, list(centroids)
        self._rows = np.array([one.mean for one in centroids], np.float32).reshape(
            -1, self._features
        )

    def nearest(self, vector: Floats, camera: str) -> tuple[int | None, float]:
        """Return the group that a sighting (float32 [F], length 1) belongs to, or None.

        Also returns its similarity to the nearest group, 0 if there is none.
        """
        if not self._centroids:
            return None, 0.0
        here = self.mean_of(camera)
        means = [self.mean_of(one.camera) for one in self._centroids]
        moved = self._rows - np.array([one.trust * one.mean for one in means], np.float32)
        similarities = unit(moved) @ unit(vector - here.trust * here.mean)
        trust = np.array([min(one.trust, here.trust) for one in means], np.float32)
        similarities -= UNSURE * (1 - trust)
        plain = self._rows @ vector
        own = np.array([one.camera == camera for one in self._centroids])
        similarities = np.where(own & (plain >= SAME_VIEW), plain, similarities)
        best = int(similarities.argmax())
        similarity = float(similarities[best])
        return (self._centroids[best].group if similarity >= ALIKE else None), similarity

    def add(self, vector: Floats, camera: str, group: int) -> Centroid:
        """Add a sighting to a group, which may be new; return its changed centroid."""
        total = sum(one.sightings for one in self.of(group))
        mean = self.mean_of(camera)
        weight = 1 / (total + 1)
        mean.weight = min(mean.weight + weight, MOST_WEIGHT)
        mean.mean = mean.mean + (vector - mean.mean) * np.float32(weight / mean.weight)
        self.cameras[camera] = mean
        owners = [(one.group, one.camera) for one in self._centroids]
        if (group, camera) not in owners:
            owners.append((group, camera))
            self._centroids.append(Centroid(group, camera, np.zeros_like(vector)))
            self._rows = np.concatenate([self._rows, np.zeros_like(vector)[np.newaxis]])
        place = owners.index((group, camera))
        one = self._centroids[place]
        known = min(one.sightings, MOST_SIGHTINGS)
        one.mean = unit((one.mean * np.float32(known) + vector) / np.float32(known + 1))
        one.sightings += 1
        self._rows[place] = one.mean
        return one

    def of(self, group: int) -> list[Centroid]:
        """Return the centroids of a group, one per camera."""
        return [one for one in self._centroids if one.group == group]

    def mean_of(self, camera: str) -> CameraMean:
        """Return the mean of a camera; zero and without weight if it is new."""
        return self.cameras.get(camera) or CameraMean(np.zeros(self._features, np.float32))

    def before(self, camera: str) -> list[Centroid]:
        """Return the centroids of what a camera has shown."""
        return [one for one in self._centroids if one.camera == camera]

    def remove(self, group: int) -> None:
        """Forget a group."""
        kept = [place for place, one in enumerate(self._centroids) if one.group != group]
        self._centroids = [self._centroids[place] for place in kept]
        self._rows = self._rows[kept]
