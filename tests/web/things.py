"""Films of things that come and go before a wall."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from demo.scenes import read_scene
from edge_runtime.image import Image

FPS = 10


def before_wall(photo: str = "") -> Image:
    """Return a picture (uint8 480 x 640 x 3) of a brick wall with a photo before it."""
    wall = np.asarray(cv2.resize(read_scene("brick.png"), (640, 480)), np.uint8)
    if photo:
        wall[60:420, 80:560] = cv2.resize(read_scene(photo), (480, 360))
    return wall


def write_film(path: Path, photos: Sequence[str], seconds: float) -> Path:
    """Film each of `photos` for some seconds; "" is the wall alone."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (640, 480))
    noise = np.random.default_rng(1).integers(0, 6, (4, 480, 640, 3), dtype=np.uint8)
    for photo in photos:
        picture = before_wall(photo)
        for number in range(round(FPS * seconds)):
            writer.write(np.asarray(cv2.add(picture, noise[number % 4]), np.uint8))
    writer.release()
    return path
