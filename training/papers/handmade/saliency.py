"""Where a photo attracts the eye: the spectral residual (Hou & Zhang 2007) of each channel.

The amplitude spectrum of a photo is smooth but for what is unusual in it. Brightness and the two
color axes of CIE L*a*b* are treated alike, and their maps are added.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SIDE = 64
"""Side in pixels of the image that the map is computed from, as in the paper."""
_MEAN, _BLUR = 3, 3.0


def saliency(image: NDArray[np.uint8]) -> Floats:
    """Return the saliency of `image`, uint8 H x W x 3 BGR, as float32 H x W from 0 to 1."""
    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    channels = cv2.cvtColor(small, cv2.COLOR_BGR2LAB).astype(np.float64)
    total = np.zeros((SIDE, SIDE))
    for channel in np.moveaxis(channels, 2, 0):
        spectrum = np.fft.fft2(channel - channel.mean())
        amplitude = np.log(np.abs(spectrum) + 1e-3)
        residual = amplitude - cv2.blur(amplitude, (_MEAN, _MEAN))
        energy = np.abs(np.fft.ifft2(np.exp(residual + 1j * np.angle(spectrum)))) ** 2
        smooth = cv2.GaussianBlur(energy, (0, 0), _BLUR)
        total += smooth / max(smooth.max(), 1e-12) if channel.std() > 1e-9 else 0
    full = cv2.resize(total, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    result: Floats = (full / max(full.max(), 1e-12)).astype(np.float32)
    return result


def at(salient: Floats, places: Floats) -> Floats:
    """Return the values [N] of a map H x W at places [N, 2], divided by the longer side."""
    height, width = salient.shape
    across, down = np.rint(places.T * max(height, width)).astype(np.int64)
    result: Floats = salient[down.clip(0, height - 1), across.clip(0, width - 1)]
    return result
