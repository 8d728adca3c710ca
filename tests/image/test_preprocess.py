"""Preprocessing is exact to the bit on every machine."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
import pytest

from edge_runtime.image import Image
from edge_runtime.image.preprocess import normalize, preprocess
from edge_runtime.model import InputSpec


def _pattern(height: int, width: int) -> Image:
    """Return an image with detail at every scale, the same bytes on every machine."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [(x * 7 + y * 3) ^ (x * y), x * 5 + (y >> 2) * 11, (x >> 3) ^ (y * 13)]
    return np.stack(planes, axis=-1).astype(np.uint8)


# Golden digests. If one changes, so does every enrolled code.
GOLDEN = {
    (480, 640): "84e04ff11c9ded46",
    (1080, 1920): "de1f22872813436e",
    (333, 517): "167a9bc6740bd8b8",
    (224, 224): "f1f6064ed141f62c",
    (448, 448): "3fe6363f0e925535",
    (64, 48): "b0e58348aa64c51e",
    (3024, 4032): "41b82fa3bb218a01",
}


@pytest.mark.parametrize("shape", GOLDEN)
def test_golden_digests(shape: tuple[int, int]) -> None:
    square = preprocess(_pattern(*shape), 224)
    assert square.shape == (224, 224, 3)
    assert square.dtype == np.uint8
    tensor = np.empty((3, 224, 224), np.float32)
    normalize(square, InputSpec(), tensor)
    digest = hashlib.sha256(square.tobytes() + tensor.astype("<f4").tobytes()).hexdigest()
    assert digest[:16] == GOLDEN[shape]


def test_an_image_of_the_right_size_is_unchanged() -> None:
    image = _pattern(224, 224)
    assert (preprocess(image, 224) == image).all()


def test_halving_averages_blocks_of_two_by_two() -> None:
    image = _pattern(448, 448)
    cells = image.reshape(224, 2, 224, 2, 3).astype(np.float64).mean(axis=(1, 3))
    assert np.abs(preprocess(image, 224) - cells).max() <= 0.5


def test_the_result_is_close_to_area_averaging_on_a_photo(cat: Image) -> None:
    big: Image = np.asarray(cv2.resize(cat, (1600, 1200), interpolation=cv2.INTER_CUBIC), np.uint8)
    exact = cv2.resize(big, (224, 224), interpolation=cv2.INTER_AREA)
    assert np.abs(preprocess(big, 224).astype(int) - exact).mean() < 2


def test_normalize_puts_red_first_and_maps_to_minus_one_to_one() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    image[..., 2] = 255
    tensor = np.empty((3, 2, 2), np.float32)
    normalize(image, InputSpec(size=2), tensor)
    assert tensor[0].tolist() == [[1, 1], [1, 1]]
    assert tensor[1:].tolist() == [[[-1, -1], [-1, -1]]] * 2


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_changes_nothing(threads: int) -> None:
    before = cv2.getNumThreads()
    cv2.setNumThreads(threads)
    try:
        square = preprocess(_pattern(1080, 1920), 224)
    finally:
        cv2.setNumThreads(before)
    tensor = np.empty((3, 224, 224), np.float32)
    normalize(square, InputSpec(), tensor)
    digest = hashlib.sha256(square.tobytes() + tensor.astype("<f4").tobytes()).hexdigest()
    assert digest[:16] == GOLDEN[(1080, 1920)]
