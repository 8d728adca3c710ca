"""Training augmentation: the disturbances a hand-held phone makes (survey, section on open issues).

One warp does crop, rotation, affine shear, perspective and squash together; then light, blur,
flash, occlusion, noise and JPEG. Everything derives from one numpy Generator, so that (seed,
epoch, photo) fixes the result whatever the order or number of workers.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Strength:
    """How strong each augmentation is; probabilities `*_p` in 0..1."""

    min_crop: float = 0.35  # smallest share of the photo's area
    rotation: float = 20.0  # degrees either way
    shear: float = 0.08
    perspective: float = 0.10  # share of a side by which a corner may move
    flip_p: float = 0.5
    color: float = 0.4  # brightness, contrast, saturation: factor 1 +- this
    tint: float = 0.10  # gain of each channel: factor 1 +- this
    blur_p: float = 0.25
    flash_p: float = 0.08
    occlusion_p: float = 0.4
    noise_p: float = 0.15
    jpeg_p: float = 0.25


STRONG = Strength()
MEDIUM = Strength(0.5, 12.0, 0.05, 0.06, 0.0, 0.3, 0.08, 0.2, 0.05, 0.3, 0.12, 0.2)
GENTLE = Strength(0.6, 8.0, 0.03, 0.04, 0.0, 0.2, 0.05, 0.1, 0.03, 0.15, 0.1, 0.1)


def augment(image: Image, size: int, rng: np.random.Generator, strength: Strength) -> Image:
    """Return a random view of `image` (uint8 H x W x 3 BGR) as uint8 size x size x 3 BGR."""
    view = _warp(image, size, rng, strength)
    view = _light(view, rng, strength)
    if rng.random() < strength.blur_p:
        view = _blur(view, rng)
    if rng.random() < strength.flash_p:
        view = flash(view, rng.uniform(0.3, 1.0), rng)
    if rng.random() < strength.noise_p:
        noise = rng.normal(0, rng.uniform(3, 12), view.shape).astype(np.float32)
        view = np.clip(view + noise, 0, 255).astype(np.uint8)
    if rng.random() < strength.occlusion_p:
        view = occlude(view, rng.uniform(0.03, 0.25), rng)
    if rng.random() < strength.jpeg_p:
        view = jpeg(view, int(rng.integers(20, 80)))
    return view


def _warp(image: Image, size: int, rng: np.random.Generator, strength: Strength) -> Image:
    """Map a random quadrilateral of the photo to the square network input."""
    height, width = image.shape[:2]
    area = rng.uniform(strength.min_crop, 1.0)
    ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
    wide, high = min(1.0, np.sqrt(area * ratio)), min(1.0, np.sqrt(area / ratio))
    center = np.array(
        [rng.uniform(wide / 2, 1 - wide / 2) * width, rng.uniform(high / 2, 1 - high / 2) * height]
    )
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=np.float64)
    corners += rng.uniform(-strength.perspective, strength.perspective, (4, 2))
    corners *= (wide * width / 2, high * height / 2)
    angle = np.deg2rad(rng.uniform(-strength.rotation, strength.rotation))
    shear = rng.uniform(-strength.shear, strength.shear)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = corners @ (turn @ np.array([[1.0, shear], [0.0, 1.0]])).T + center
    if rng.random() < strength.flip_p:
        corners = corners[[1, 0, 3, 2]]
    square = np.array([[0, 0], [size, 0], [size, size], [0, size]], dtype=np.float32)
    matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), square)
    view = cv2.warpPerspective(
        image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(view, dtype=np.uint8)


def _light(image: Image, rng: np.random.Generator, strength: Strength) -> Image:
    color = strength.color
    brightness, contrast, saturation = rng.uniform(1 - color, 1 + color, 3)
    gains = brightness * rng.uniform(1 - strength.tint, 1 + strength.tint, 3)
    # One 3 x 4 affine color matrix: saturation around gray, contrast around the mean, gains.
    gray = np.array([0.114, 0.587, 0.299])
    matrix = saturation * np.eye(3) + (1 - saturation) * np.tile(gray, (3, 1))
    mean = np.asarray(cv2.mean(image)[:3])
    matrix = contrast * matrix
    shift = (1 - contrast) * float(gray @ mean) * np.ones(3)
    full = np.column_stack([gains[:, None] * matrix, gains * shift])
    return np.asarray(cv2.transform(image, full), dtype=np.uint8)


def _blur(image: Image, rng: np.random.Generator) -> Image:
    if rng.random() < 0.5:
        sigma = float(rng.uniform(0.5, 2.5))
        return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), dtype=np.uint8)
    return motion_blur(image, int(rng.integers(3, 13)), float(rng.uniform(0, 180)))


def motion_blur(image: Image, length: int, angle: float) -> Image:
    """Blur along a line of `length` pixels at `angle` degrees."""
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1.0
    turn = cv2.getRotationMatrix2D((length / 2 - 0.5, length / 2 - 0.5), angle, 1.0)
    kernel = np.asarray(cv2.warpAffine(kernel, turn, (length, length)), dtype=np.float32)
    return np.asarray(cv2.filter2D(image, -1, kernel / max(kernel.sum(), 1e-6)), dtype=np.uint8)


def flash(image: Image, power: float, rng: np.random.Generator) -> Image:
    """Add a round reflection at a random place; `power` 1 saturates its center."""
    height, width = image.shape[:2]
    center = rng.uniform(0.2, 0.8, 2) * (height, width)
    radius = rng.uniform(0.15, 0.35) * max(height, width)
    y, x = np.ogrid[:height, :width]
    distance = ((y - center[0]) ** 2 + (x - center[1]) ** 2) / radius**2
    light = (255.0 * power * np.exp(-distance)).astype(np.float32)
    return np.asarray(np.clip(image + light[:, :, None], 0, 255), dtype=np.uint8)


def occlude(image: Image, share: float, rng: np.random.Generator) -> Image:
    """Cover `share` of the area with one rectangle of a random flat color or noise."""
    height, width = image.shape[:2]
    ratio = np.exp(rng.uniform(np.log(0.4), np.log(2.5)))
    high = min(height, round(np.sqrt(share * ratio) * height))
    wide = min(width, round(np.sqrt(share / ratio) * width))
    top, left = int(rng.integers(0, height - high + 1)), int(rng.integers(0, width - wide + 1))
    image = image.copy()
    patch = image[top : top + high, left : left + wide]
    if rng.random() < 0.5:
        patch[:] = rng.integers(0, 256, 3, dtype=np.uint8)
    else:
        patch[:] = rng.integers(0, 256, patch.shape, dtype=np.uint8)
    return image


def jpeg(image: Image, quality: int) -> Image:
    """Compress the photo as JPEG at `quality` (1..100) and decode it again."""
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise RuntimeError("OpenCV could not encode a JPEG")
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)
