"""Compute handcrafted features with OpenCV: the baseline that a learned network must beat.

Image search used these before networks: shape as histograms of oriented gradients (HOG; Dalal &
Triggs 2005), color as a histogram of hue, saturation and value (Swain & Ballard 1991, with square
roots: Arandjelovic & Zisserman 2012), and the scene's layout as the energy of Gabor filters in a
coarse grid (GIST; Oliva & Torralba 2001). Each part has length 1, so that none dominates.
VHB and SSFS, the handcrafted methods of the papers, are rebuilt in training/papers/handmade.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.input_tensor import Floats

SIZE = 128
"""Side in pixels of the square image that features are computed from."""
_DIRECTIONS, _CELL, _CLIP = 9, 16, 0.2  # HOG: directions in 180 degrees, pixels, limit of a value
_BINS, _RANGES = [12, 4, 4], [0, 180, 0, 256, 0, 256]  # hue (OpenCV's, in 2 degrees), S, V
_WAVELENGTHS, _ORIENTATIONS, _GRID = (4.0, 8.0, 16.0), 8, 4


def _filters() -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return even and odd Gabor filters with zero mean, so that flat areas have no energy."""
    pairs = []
    for wavelength in _WAVELENGTHS:
        for turn in range(_ORIENTATIONS):
            angle = np.pi * turn / _ORIENTATIONS
            side = 2 * int(wavelength) + 1
            even, odd = (
                cv2.getGaborKernel((side, side), wavelength / 2, angle, wavelength, 1.0, phase)
                for phase in (0.0, np.pi / 2)
            )
            pairs.append((even - even.mean(), odd - odd.mean()))
    return pairs


_GABOR = _filters()


def _shape(gray: NDArray[np.float32]) -> Floats:
    """Return HOG, float32 [blocks * 4 * directions]: 2 x 2 cells per block, stride 1 (L2-Hys)."""
    across, down = (cv2.Sobel(gray, cv2.CV_32F, *order, ksize=1) for order in ((1, 0), (0, 1)))
    length, angle = cv2.cartToPolar(across, down)
    place = angle.astype(np.float64) % np.pi * (_DIRECTIONS / np.pi)
    first = np.floor(place)
    share = (place - first).astype(np.float32)  # of the vote, for the next direction
    cells = []
    for direction in range(_DIRECTIONS):
        votes = np.where(first % _DIRECTIONS == direction, 1 - share, 0)
        votes += np.where((first + 1) % _DIRECTIONS == direction, share, 0)
        side = SIZE // _CELL
        cells.append((length * votes).reshape(side, _CELL, side, _CELL).sum((1, 3)))
    grid = np.stack(cells, -1)
    corners = (grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:])
    blocks = np.concatenate(corners, -1).reshape(-1, 4 * _DIRECTIONS)
    clipped = [np.minimum(_unit(block), _CLIP) for block in blocks]
    return np.concatenate([_unit(block) for block in clipped]).astype(np.float32)


def _layout(gray: NDArray[np.float32]) -> Floats:
    """Return the mean Gabor energy per cell, float32 [wavelengths * orientations * cells]."""
    maps = []
    for even, odd in _GABOR:
        parts = (cv2.filter2D(gray, cv2.CV_32F, each) for each in (even, odd))
        energy = cv2.magnitude(*parts)
        maps.append(cv2.resize(energy, (_GRID, _GRID), interpolation=cv2.INTER_AREA).ravel())
    return np.concatenate(maps).astype(np.float32)


def _unit(part: Floats) -> Floats:
    """Scale `part` to length 1; leave zeros as they are (a flat photo has no shape)."""
    length = float(np.linalg.norm(part))
    return part / np.float32(length) if length else part


def describe(square: NDArray[np.uint8]) -> Floats:
    """Return the features float32 [F] of an image uint8 SIZE x SIZE x 3, BGR."""
    gray = cv2.cvtColor(square, cv2.COLOR_BGR2GRAY).astype(np.float32)
    hsv = cv2.cvtColor(square, cv2.COLOR_BGR2HSV)
    color = cv2.calcHist([hsv], [0, 1, 2], None, _BINS, _RANGES).ravel()
    parts = (_shape(gray), np.sqrt(color), _layout(gray))
    return np.concatenate([_unit(part) for part in parts])


def run(image: Floats) -> Floats:
    """Compute features like a network: float32 [1, 3, SIZE, SIZE] RGB in -1..1 -> [1, F]."""
    pixels = np.rint((image[0, ::-1].transpose(1, 2, 0) + 1.0) * 127.5).astype(np.uint8)
    return describe(np.ascontiguousarray(pixels))[None]
