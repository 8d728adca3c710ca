"""The outline of the object in a photo, and the boundary feature of it (He et al. 2012).

The salient region starts a segmentation (GrabCut; Rother et al. 2004), whose largest part is the
object. The feature is the distance of the outline from its center, around the object: divided by
the largest, it does not depend on the size; the amplitudes of its Fourier transform do not depend
on where the outline starts, so not on the object's turn either.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from training.papers.handmade.saliency import saliency

Floats = NDArray[np.float32]
Image = NDArray[np.uint8]

SIDE = 64
"""Longer side in pixels of the image that is segmented."""
POINTS, FREQUENCIES = 128, 32
"""Points along the outline, and amplitudes that are kept: one byte each."""
_ROUNDS, _SEED = 2, 1


def outline(image: Image) -> NDArray[np.float64]:
    """Return the outline [N, 2] of the object in `image`, uint8 H x W x 3 BGR; N may be 0."""
    scale = SIDE / max(image.shape[:2])
    size = [max(8, round(side * scale)) for side in image.shape[1::-1]]
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    salient = saliency(small)
    mask = np.where(salient > salient.mean(), cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    mask[salient > 2 * salient.mean()] = cv2.GC_FGD  # Achanta et al. 2009: twice the mean
    mask[0], mask[-1], mask[:, 0], mask[:, -1] = (cv2.GC_BGD,) * 4
    if not {cv2.GC_FGD, cv2.GC_PR_FGD} & set(np.unique(mask).tolist()):
        return np.zeros((0, 2))
    cv2.setRNGSeed(_SEED)  # of the clusters of colors
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(small, mask, (0, 0, 1, 1), *models, _ROUNDS, cv2.GC_INIT_WITH_MASK)
    inside = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    found, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not found:
        return np.zeros((0, 2))
    return np.asarray(max(found, key=cv2.contourArea)[:, 0], np.float64)


def central_distance(points: NDArray[np.float64]) -> Floats:
    """Return the boundary feature [FREQUENCIES] of a closed outline [N, 2], in steps of 1/255.

    Zeros for fewer than three points or an outline without extent.
    """
    if len(points) < 3:
        return np.zeros(FREQUENCIES, np.float32)
    closed = np.concatenate([points, points[:1]])
    lengths = np.linalg.norm(np.diff(closed, axis=0), axis=1)
    along = np.concatenate([[0], np.cumsum(lengths)])
    wanted = np.linspace(0, along[-1], POINTS, endpoint=False)
    even = np.stack([np.interp(wanted, along, closed[:, axis]) for axis in (0, 1)], 1)
    distance = np.linalg.norm(even - even.mean(0), axis=1)
    largest = float(distance.max())
    if not largest:
        return np.zeros(FREQUENCIES, np.float32)
    amplitudes = np.abs(np.fft.rfft(distance / largest))[:FREQUENCIES] / POINTS
    return (np.rint(amplitudes * 255) / 255).astype(np.float32)


def likeness(query: Floats, stored: Floats) -> Floats:
    """Return how alike the boundary feature `query` [F] and each of `stored` [N, F] are, 0 to 1."""
    distance = np.linalg.norm(stored - query, axis=1)
    result: Floats = (1 / (1 + 10 * distance)).astype(np.float32)
    return result
