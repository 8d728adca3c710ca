"""The kept pictures: how alike they are, and which one adds least."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from edge_runtime.errors import PhotoError
from edge_runtime.fitting.quantized import Floats
from edge_runtime.image import Image
from edge_runtime.unknowns.sightings import vector_of
from edge_runtime.unknowns.store import StoredPicture

QUALITY = 85
"""JPEG quality."""


def likeness(pictures: Sequence[StoredPicture], bits: int) -> Floats:
    """Return the cosines of N pictures with each other, float32 [N, N]; `bits`: of a code."""
    rows = np.stack([vector_of(one.embedding, bits) for one in pictures])
    cosines: Floats = rows @ rows.T
    return cosines


def least_useful(pictures: Sequence[StoredPicture], bits: int) -> StoredPicture:
    """Return the older one of the two pictures that are most alike; they are in order of time."""
    if len(pictures) == 1:
        return pictures[0]
    cosines = likeness(pictures, bits)
    np.fill_diagonal(cosines, -2)
    return pictures[int(cosines.argmax()) // len(pictures)]


def small_jpeg(image: Image, size: int) -> bytes:
    """Return `image` as a JPEG whose shorter side has at most `size` pixels."""
    scale = size / min(image.shape[:2])
    if scale < 1:
        shape = (round(image.shape[1] * scale), round(image.shape[0] * scale))
        image = np.asarray(cv2.resize(image, shape, interpolation=cv2.INTER_AREA), np.uint8)
    encoded, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not encoded:
        raise PhotoError("cannot be encoded as JPEG")
    return data.tobytes()
