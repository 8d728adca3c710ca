"""Video files made of a real photograph."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from demo.clip import film
from demo.scenes import read_scene


def write_clip(path: Path, photo: str, frames: int = 12) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 20, (640, 480))
    for frame in film(read_scene(photo), frames, np.random.default_rng(5)):
        writer.write(frame)
    writer.release()
