"""The disturbances of the survey's open issues, at three severities each, for evaluation.

Each is applied before the runtime's `edge_runtime.image.preprocess`. A photo's index seeds its
disturbance, so that all models are judged on the same pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.augment import flash, jpeg, motion_blur, occlude

Image = NDArray[np.uint8]
SEVERITIES = ("mild", "medium", "severe")
_Disturbance = Callable[[Image, float, np.random.Generator], Image]


def _warp(image: Image, matrix: NDArray[np.float64]) -> Image:
    size = (image.shape[1], image.shape[0])
    border = cv2.BORDER_REFLECT_101
    return np.asarray(cv2.warpPerspective(image, matrix, size, borderMode=border), dtype=np.uint8)


def _flash(image: Image, power: float, rng: np.random.Generator) -> Image:
    return flash(image, power, rng)


def _occlusion(image: Image, share: float, rng: np.random.Generator) -> Image:
    return occlude(image, share, rng)


def _rotation(image: Image, degrees: float, rng: np.random.Generator) -> Image:
    center = (image.shape[1] / 2, image.shape[0] / 2)
    turn = cv2.getRotationMatrix2D(center, degrees * rng.choice([-1, 1]), 1.0)
    return _warp(image, np.vstack([turn, [0, 0, 1]]))


def _blur(image: Image, sigma: float, rng: np.random.Generator) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), dtype=np.uint8)


def _motion(image: Image, length: float, rng: np.random.Generator) -> Image:
    return motion_blur(image, int(length), float(rng.uniform(0, 180)))


def _affine(image: Image, strength: float, rng: np.random.Generator) -> Image:
    height, width = image.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moved = corners + (rng.uniform(-strength, strength, (4, 2)) * (width, height)).astype(
        np.float32
    )
    return _warp(image, np.asarray(cv2.getPerspectiveTransform(corners, moved), np.float64))


def _light(image: Image, strength: float, rng: np.random.Generator) -> Image:
    factor = 1 + strength * rng.choice([-1, 1])
    return np.asarray(np.clip(np.rint(image * factor), 0, 255), dtype=np.uint8)


def _jpeg(image: Image, quality: float, rng: np.random.Generator) -> Image:
    return jpeg(image, int(quality))


def _noise(image: Image, sigma: float, rng: np.random.Generator) -> Image:
    noisy = image + rng.normal(0, sigma, image.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


# name -> (function, strength at mild, medium, severe), with the strengths' meaning
CORRUPTIONS: dict[str, tuple[_Disturbance, tuple[float, float, float], str]] = {
    "flash": (_flash, (0.4, 0.7, 1.0), "reflection of a flash, share of full white"),
    "occlusion": (_occlusion, (0.10, 0.20, 0.30), "share of the area covered"),
    "rotation": (_rotation, (10, 20, 30), "degrees either way"),
    "blur": (_blur, (1.0, 2.0, 3.0), "sigma in pixels on a short side of 224"),
    "motion": (_motion, (5, 9, 15), "length in pixels"),
    "affine": (_affine, (0.05, 0.10, 0.15), "each corner moved by up to this share of a side"),
    "light": (_light, (0.2, 0.4, 0.6), "brighter or darker by this share"),
    "jpeg": (_jpeg, (40, 20, 10), "quality"),
    "noise": (_noise, (8, 16, 28), "standard deviation of each value"),
}


def corruption(name: str, severity: str) -> Callable[[Image, int], Image]:
    """Return `disturb(image uint8 H x W x 3, photo index) -> image` for a name and severity."""
    function, strengths, _ = CORRUPTIONS[name]
    strength = strengths[SEVERITIES.index(severity)]
    kind = sorted(CORRUPTIONS).index(name)

    def apply(image: Image, index: int) -> Image:
        return function(image, strength, np.random.default_rng((kind, index)))

    return apply
