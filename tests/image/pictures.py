"""Smooth pictures, as files of several formats, and how far decoded ones are off."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow

from edge_runtime.image import Image

HEIGHT, WIDTH = 40, 64


@pytest.fixture(scope="module")
def rgb() -> NDArray[np.uint8]:
    """Smooth colors, uint8 [HEIGHT, WIDTH, 3], red, green, blue."""
    down, across = np.mgrid[:HEIGHT, :WIDTH]
    planes = (down * 6, across * 4, 255 - down * 3 - across)
    return np.stack(planes, axis=2).astype(np.uint8)


def encode(pixels: NDArray[Any], kind: str, mode: str = "", **options: Any) -> bytes:
    """Return `pixels` as a file of `kind`, a name of Pillow, which gets the `options`."""
    out = io.BytesIO()
    image = Pillow.fromarray(pixels)
    (image.convert(mode) if mode else image).save(out, kind, **options)
    return out.getvalue()


def off(image: Image, expected: NDArray[Any]) -> float:
    """Return the largest difference between `image` (BGR) and `expected` (RGB or gray)."""
    assert image.shape == (*expected.shape[:2], 3)
    wanted = expected if expected.ndim == 3 else np.repeat(expected[..., None], 3, axis=2)
    return float(np.abs(image[..., ::-1].astype(float) - wanted).max())


def gray_of(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return one channel of `rgb`."""
    return rgb[..., 1]
