"""Local features of a photo: SIFT (Lowe 2004) with place, angle and scale, strongest first."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Image = NDArray[np.uint8]

MOST = 300
"""Features of one photo, at most."""
LONG_SIDE = 480
"""Larger photos are shrunk to this many pixels before the features are found."""
STEPS = 255
"""Places are sent as steps of 1/255 of the longer side, so one byte per coordinate."""


@dataclass(frozen=True)
class LocalFeatures:
    """N features of one photo, the strongest first."""

    places: Floats
    """x and y [N, 2], divided by the longer side: 0 to 1, in the steps in which they are sent."""
    angles: Floats
    """Direction of the gradient [N], in degrees, 0 to 360."""
    scales: Floats
    """Diameter of the patch [N], divided by the longer side."""
    descriptors: NDArray[np.uint8]
    """SIFT [N, 128]."""

    def __len__(self) -> int:
        return len(self.angles)

    def rows(self, chosen: NDArray[np.intp] | slice) -> LocalFeatures:
        """Return the features `chosen`, in that order."""
        return LocalFeatures(
            self.places[chosen], self.angles[chosen], self.scales[chosen], self.descriptors[chosen]
        )


def shrunk(image: Image) -> Image:
    """Return `image`, uint8 H x W x 3 BGR, with a longer side of at most LONG_SIDE pixels."""
    longer = max(image.shape[:2])
    if longer <= LONG_SIDE:
        return image
    size = [max(1, round(side * LONG_SIDE / longer)) for side in image.shape[1::-1]]
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def local_features(image: Image, most: int = MOST) -> LocalFeatures:
    """Find up to `most` SIFT features of `image`, uint8 H x W x 3 BGR; a flat photo has none."""
    gray = cv2.cvtColor(shrunk(image), cv2.COLOR_BGR2GRAY)
    found, values = cv2.SIFT.create(nfeatures=most).detectAndCompute(gray, None)
    if values is None:
        none = np.zeros(0, np.float32)
        return LocalFeatures(none.reshape(0, 2), none, none, np.zeros((0, 128), np.uint8))
    order = np.argsort([-each.response for each in found], kind="stable")[:most]
    points = [found[int(row)] for row in order]
    longer = np.float32(max(gray.shape))
    places = np.array([each.pt for each in points], np.float32) / longer
    return LocalFeatures(
        np.rint(places * STEPS).astype(np.float32) / np.float32(STEPS),
        np.array([each.angle for each in points], np.float32),
        np.array([each.size for each in points], np.float32) / longer,
        np.rint(values[order]).clip(0, 255).astype(np.uint8),
    )


def root(descriptors: NDArray[np.uint8]) -> Floats:
    """Return RootSIFT [N, 128], rows of length 1 (Arandjelovic & Zisserman 2012)."""
    values = descriptors.astype(np.float32)
    result: Floats = np.sqrt(values / np.maximum(values.sum(1, keepdims=True), 1))
    return result
