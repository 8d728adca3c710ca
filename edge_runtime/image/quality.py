"""Tell a photo that shows too little: dark, nearly uniform, or blurred.

Blur is measured after Crete et al. 2007, "The blur effect: perception and estimation with a new
no-reference perceptual blur metric": a sharp picture loses much of its contrast between neighboring
pixels when it is blurred again, a blurred one loses little. Unlike the variance of the Laplacian,
this depends little on what the photo shows. It is measured at about the size of the network's
input, so that blur that the network cannot see does not count.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.image import Image

PhotoFault = Literal["dark", "uniform", "blurred"]
PhotoHint = Literal["dark", "uniform", "blurred", "closer"]

SIDE = 224
"""Pixels of the shorter side; a larger photo is reduced to it."""
DARK = 64
"""Of 255. A photo whose brightest twentieth is darker shows too little."""
UNIFORM = 24
"""Of 255. A photo whose darkest and brightest hundredth differ by less shows nothing."""
BLURRED = 0.55
"""Blur of the whole photo, 0 to 1, from which it may count as blurred."""
BLURRED_PART = 0.40
"""Blur of its sharpest part. Below, the background alone is blurred, and the subject is sharp."""
FILLED = 0.3
"""Share of the parts that show something below which the thing is too small in the photo."""
_PARTS = 4
"""Parts per side."""
_CONTRAST = 8
"""Standard deviation of a part below which it shows nothing whose blur can be measured."""
_WINDOW = 9
"""Pixels of the blur that is applied, as in the paper."""


def photo_fault(image: Image) -> PhotoFault | None:
    """Return what is wrong with a photo (uint8 H x W x 3, BGR), or None."""
    return _fault_of(_reduced(image))


def photo_hint(image: Image) -> PhotoHint | None:
    """Return what would make a better photo of this one (uint8 H x W x 3, BGR), or None.

    "closer": most of it shows nothing, so the thing is small. Otherwise it is the `photo_fault`.
    """
    gray = _reduced(image)
    parts = _parts(gray)
    filled = sum(part.std() >= _CONTRAST for part in parts) / len(parts)
    return _fault_of(gray) or ("closer" if filled < FILLED else None)


def photo_blur(image: Image) -> float:
    """Return the blur of a photo (uint8 H x W x 3, BGR) at about the size that the network sees."""
    return blur_of(_reduced(image))


def _reduced(image: Image) -> NDArray[np.uint8]:
    gray = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
    scale = SIDE / min(gray.shape)
    if scale >= 1:
        return gray
    size = (max(1, round(gray.shape[1] * scale)), max(1, round(gray.shape[0] * scale)))
    return np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8)


def _fault_of(gray: NDArray[np.uint8]) -> PhotoFault | None:
    darkest, bright, brightest = np.percentile(gray, (1, 95, 99))
    if bright < DARK:
        return "dark"
    if brightest - darkest < UNIFORM:
        return "uniform"
    if blur_of(gray) < BLURRED:
        return None
    seen = (blur_of(part) for part in _parts(gray) if part.std() >= _CONTRAST)
    sharpest = min(seen, default=1.0)
    return "blurred" if sharpest >= BLURRED_PART else None


def blur_of(gray: NDArray[np.uint8]) -> float:
    """Return the blur of a picture (uint8 H x W), from 0, sharp, to 1; along its worse axis."""
    values = gray.astype(np.float32)
    blurs = []
    for axis, window in ((0, (1, _WINDOW)), (1, (_WINDOW, 1))):
        again = np.asarray(cv2.blur(values, window))
        contrast = np.abs(np.diff(values, axis=axis))
        lost = np.maximum(contrast - np.abs(np.diff(again, axis=axis)), 0)
        blurs.append(1 - float(lost.sum()) / max(float(contrast.sum()), 1e-6))
    return max(blurs)


def _parts(gray: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [
        part
        for band in np.array_split(gray, _PARTS)
        for part in np.array_split(band, _PARTS, axis=1)
    ]
