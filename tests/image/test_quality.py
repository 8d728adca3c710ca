"""What would make a better photo."""

from __future__ import annotations

import cv2
import numpy as np

from edge_runtime.image import Image
from edge_runtime.image.quality import photo_fault, photo_hint


def test_a_hint_for_each_fault(cat: Image) -> None:
    assert photo_hint(cat) is None
    dark = np.asarray(cat // 8, np.uint8)
    blurred = np.asarray(cv2.GaussianBlur(cat, (0, 0), 12), np.uint8)
    wall = np.full_like(cat, 200)
    for image, fault in ((dark, "dark"), (blurred, "blurred"), (wall, "uniform")):
        assert photo_fault(image) == fault
        assert photo_hint(image) == fault


def test_a_small_thing_before_a_wall_is_too_far_away(cat: Image) -> None:
    wall = np.full((480, 640, 3), 200, np.uint8)
    wall[200:290, 250:390] = cv2.resize(cat, (140, 90))
    assert photo_fault(wall) is None
    assert photo_hint(wall) == "closer"
    wall[40:440, 100:540] = cv2.resize(cat, (440, 400))
    assert photo_hint(wall) is None
