"""What the hand-made systems take from each photo, computed once per set and kept in a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import thread_time

import numpy as np
from numpy.typing import NDArray

from training.data.pixel_cache import PhotoReader
from training.papers.handmade import boundary, saliency
from training.papers.handmade.local_features import Floats, LocalFeatures, local_features, shrunk
from training.papers.kept import Arrays, kept

FEATURES = 150
"""Local features of a photo that are used, at most."""
_VERSION = 1


@dataclass(frozen=True)
class Prepared:
    """Local features and the outline of one photo."""

    features: LocalFeatures
    salient: Floats
    """Saliency [N] at each feature, 0 to 1."""
    boundary: Floats
    """The boundary feature."""
    ms: tuple[float, float, float]
    """CPU milliseconds for the local features, their saliency, and the boundary feature."""


def prepare(image: NDArray[np.uint8]) -> Prepared:
    """Compute everything of `image`, uint8 H x W x 3 BGR."""
    times = [thread_time()]
    found = local_features(image, FEATURES)
    times.append(thread_time())
    salient = saliency.at(saliency.saliency(shrunk(image)), found.places)
    times.append(thread_time())
    edge = boundary.central_distance(boundary.outline(image))
    times.append(thread_time())
    first, second, third = (1000 * float(each) for each in np.diff(times))
    return Prepared(found, salient, edge, (first, second, third))


def prepare_all(reader: PhotoReader, folder: Path) -> list[Prepared]:
    """Return the features of all photos of `reader`, from a file in `folder` if it has them."""
    settings = f"{_VERSION} {FEATURES} {boundary.SIDE}"

    def compute() -> Arrays:
        return _packed([prepare(reader[row]) for row in range(len(reader))])

    return _unpacked(kept(folder, "prepared", settings, reader.photos, compute))


def _packed(found: Sequence[Prepared]) -> Arrays:
    parts = [each.features for each in found]
    return {
        "counts": np.array([len(each) for each in parts]),
        "places": np.concatenate([each.places for each in parts]),
        "angles": np.concatenate([each.angles for each in parts]),
        "scales": np.concatenate([each.scales for each in parts]),
        "descriptors": np.concatenate([each.descriptors for each in parts]),
        "salient": np.concatenate([each.salient for each in found]),
        "boundary": np.stack([each.boundary for each in found]),
        "ms": np.array([each.ms for each in found]),
    }


def _unpacked(arrays: Arrays) -> list[Prepared]:
    ends = np.cumsum(arrays["counts"])
    found = []
    for row, (first, last) in enumerate(zip(ends - arrays["counts"], ends, strict=True)):
        names = ("places", "angles", "scales", "descriptors")
        features = LocalFeatures(*(arrays[name][first:last] for name in names))
        first_ms, second_ms, third_ms = map(float, arrays["ms"][row])
        salient = arrays["salient"][first:last]
        edge = arrays["boundary"][row]
        found.append(Prepared(features, salient, edge, (first_ms, second_ms, third_ms)))
    return found
