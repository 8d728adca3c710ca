"""Films with a damaged part go on after it, and a damaged picture is never delivered."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.camera import CameraOptions, Capture, open_camera, parse_source
from edge_runtime.camera.capture import DAMAGED_LIMIT
from edge_runtime.camera.fake import FakeSource
from edge_runtime.errors import CameraNotFoundError
from edge_runtime.image import Image

Noise = Callable[[int], Image]
FRAMES = 60
DAMAGE: dict[str, Callable[[int], bytes]] = {
    "zeros": bytes,
    "ones": lambda size: b"\xff" * size,
    "noise": random.Random(4).randbytes,
}


def _film(path: Path, codec: str, picture: Image) -> Path:
    """Write a film of a picture that moves to the left."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 20, (320, 240))
    for number in range(FRAMES):
        writer.write(np.roll(picture[:240, :320], -4 * number, axis=1))
    writer.release()
    return path


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "mp4v"), ("avi", "MJPG"), ("mkv", "mp4v")])
def test_a_film_goes_on_after_damage(
    suffix: str, codec: str, damage: str, tmp_path: Path, cat: Image
) -> None:
    path = _film(tmp_path / f"film.{suffix}", codec, cat)
    with open_camera(str(path)) as camera:
        last = list(camera)[-1].image
    data = bytearray(path.read_bytes())
    begin, end = (round(share * len(data)) for share in (0.4, 0.6))
    data[begin:end] = DAMAGE[damage](end - begin)
    path.write_bytes(data)
    with open_camera(str(path)) as camera:
        frames = list(camera)
    assert FRAMES // 2 < len(frames) <= FRAMES
    assert np.abs(frames[-1].image.astype(int) - last).mean() < 10, "the end is missing"


def test_the_unreadable_packets_of_a_film_are_counted(tmp_path: Path, cat: Image) -> None:
    path = _film(tmp_path / "film.mp4", "mp4v", cat)
    data = bytearray(path.read_bytes())
    middle = slice(round(0.4 * len(data)), round(0.6 * len(data)))
    data[middle] = bytes(middle.stop - middle.start)
    path.write_bytes(data)
    for options in (CameraOptions(), CameraOptions(real_time=True)):
        with Capture(parse_source(str(path), options)) as camera:
            frames = list(camera)
        assert camera.damaged > 1
        assert len(frames) + camera.damaged == FRAMES


def test_many_damaged_pictures_do_not_end_a_film(noise: Noise) -> None:
    bad = noise(0)[:, :, 0]
    items = [noise(0), *[bad] * (2 * DAMAGED_LIMIT), noise(1)]
    with Capture(FakeSource(items)) as camera:
        assert len(list(camera)) == 2
    assert camera.damaged == 2 * DAMAGED_LIMIT


def test_a_film_without_a_readable_picture_is_an_error(noise: Noise) -> None:
    bad = noise(0)[:, :, 0]
    with (
        Capture(FakeSource([bad] * 3)) as camera,
        pytest.raises(CameraNotFoundError, match="no re"),
    ):
        list(camera)
