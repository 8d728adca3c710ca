"""Film photographs as a hand-held camera would, into a video file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from demo.scenes import SCENES, read_scene
from edge_runtime.errors import StorageError
from edge_runtime.image import Image

WIDTH, HEIGHT = 640, 480
FRAMES_PER_SECOND = 20
FRAMES_PER_SCENE = 30
SEED = 2017

Curve = Callable[[float], float]


@dataclass(frozen=True)
class Segment:
    """The frames that show one scene."""

    label: str | None
    photo: str
    first: int
    last: int
    """Inclusive."""


def write_clip(path: Path) -> list[Segment]:
    """Film all scenes into the video file `path` and return which frames show which scene."""
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter.fourcc(*"mp4v"), FRAMES_PER_SECOND, (WIDTH, HEIGHT)
    )
    if not writer.isOpened():
        raise StorageError("cannot write the video", where=path, remedy="check the disk")
    generator = np.random.default_rng(SEED)
    segments = []
    try:
        for index, scene in enumerate(SCENES):
            first = index * FRAMES_PER_SCENE
            for frame in film(read_scene(scene.photo), FRAMES_PER_SCENE, generator):
                writer.write(frame)
            segments.append(Segment(scene.label, scene.photo, first, first + FRAMES_PER_SCENE - 1))
    finally:
        writer.release()
    return segments


def film(photo: Image, frames: int, generator: np.random.Generator) -> Iterator[Image]:
    """Yield hand-held frames (uint8 480 x 640 x 3 BGR) of `photo`.

    Each frame shows a crop of 60 to 85 % of the photo, which drifts, zooms, tilts and shakes. The
    frame is blurred along its motion, slightly over- or underexposed, and noisy.
    """
    drift_x, drift_y = _wander(generator, 0.5), _wander(generator, 0.5)
    shake_x, shake_y = _wander(generator, 4.0), _wander(generator, 4.0)
    zoom, roll, exposure = (_wander(generator, 0.4) for _ in range(3))
    tilts = [_wander(generator, 0.6) for _ in range(8)]
    warmth = generator.uniform(-0.06, 0.06)
    previous: tuple[float, float] | None = None
    for index in range(frames):
        time_s = index / FRAMES_PER_SECOND
        share = 0.725 + 0.125 * zoom(time_s)
        slack = (1 - share) / 2
        x = 0.5 + slack * drift_x(time_s) + 0.012 * shake_x(time_s)
        y = 0.5 + slack * drift_y(time_s) + 0.012 * shake_y(time_s)
        corners = _corners(photo, x, y, share, np.deg2rad(9) * roll(time_s))
        corners += np.array([0.035 * share * tilt(time_s) for tilt in tilts]).reshape(4, 2) * (
            photo.shape[1],
            photo.shape[0],
        )
        frame = _project(photo, corners)
        if previous is not None:
            frame = _motion_blur(
                frame, (x - previous[0]) * WIDTH / share, (y - previous[1]) * HEIGHT / share
            )
        previous = (x, y)
        yield _expose(frame, 1 + 0.3 * exposure(time_s), warmth, generator)


def _wander(generator: np.random.Generator, hertz: float) -> Curve:
    """Return a smooth random curve within -1 to 1 that varies at about `hertz`."""
    phases = generator.uniform(0, 2 * np.pi, 3)
    speeds = 2 * np.pi * hertz * generator.uniform(0.5, 1.5, 3)
    weights = np.array([0.5, 0.3, 0.2])
    return lambda time_s: float(np.sum(weights * np.sin(phases + speeds * time_s)))


def _corners(photo: Image, x: float, y: float, share: float, angle: float) -> NDArray[np.float64]:
    """Return the corners (4 x 2, pixels) of a 4:3 view centered at the relative position x, y."""
    height, width = photo.shape[:2]
    half_width = share * min(width, height * WIDTH / HEIGHT) / 2
    half = np.array([half_width, half_width * HEIGHT / WIDTH])
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
    corners: NDArray[np.float64] = np.array([x * width, y * height]) + square @ rotation
    return corners


def _project(photo: Image, corners: NDArray[np.float64]) -> Image:
    screen = np.array([[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT]], dtype=np.float32)
    matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), screen)
    view = cv2.warpPerspective(
        photo, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(view, dtype=np.uint8)


def _motion_blur(frame: Image, dx: float, dy: float) -> Image:
    """Blur the frame along half of its motion, as a shutter that is open half of the time does."""
    length = int(np.hypot(dx, dy) / 2)
    if length < 2:
        return frame
    kernel = np.zeros((length, length), dtype=np.float32)
    center = (length - 1) / 2
    for step in np.linspace(-center, center, 2 * length):
        scale = 1 / max(abs(dx), abs(dy), 1e-6)
        column, row = round(center + step * dx * scale), round(center + step * dy * scale)
        kernel[row, column] = 1
    return np.asarray(cv2.filter2D(frame, -1, kernel / kernel.sum()), dtype=np.uint8)


def _expose(frame: Image, gain: float, warmth: float, generator: np.random.Generator) -> Image:
    light = frame.astype(np.float32) * (gain * np.array([1 - warmth, 1, 1 + warmth], np.float32))
    light += generator.normal(0, 6, frame.shape).astype(np.float32)
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)
