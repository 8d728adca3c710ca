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
from edge_runtime.camera.conversion import ConversionCheck
from edge_runtime.camera.fake import FakeSource
from edge_runtime.errors import CameraError, CameraNotFoundError
from edge_runtime.image import Image

DATA = Path(__file__).parents[1] / "data"
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


def _gradient() -> Image:
    """Return the picture of the films in tests/data, which moves to the right there."""
    image = np.full((128, 160, 3), 90, np.uint8)
    image[..., 0] = np.linspace(40, 215, 160)
    image[..., 1] = np.linspace(215, 40, 128)[:, None]
    return image


def test_interlaced_frames_are_pictures_or_damaged() -> None:
    """tests/data: ffmpeg -f rawvideo ... -c:v libx264 -flags +ilme+ildct interlaced.mp4.

    Which of the two it is depends on the FFmpeg that OpenCV contains.
    """
    camera = open_camera(str(DATA / "interlaced.mp4"))
    with camera:
        try:
            frames = list(camera)
        except CameraNotFoundError as error:
            assert "interlaced" in error.what and "ffmpeg -i" in error.remedy
            frames = []
    assert len(frames) + camera.damaged == 12
    for frame in frames:
        assert np.abs(frame.image.astype(int) - _gradient()).mean() < 8


def test_interlaced_frames_in_a_progressive_film_never_repeat_an_earlier_picture() -> None:
    """tests/data/partly_interlaced.ts: 8 progressive frames, 8 interlaced, 8 progressive ones."""
    with open_camera(str(DATA / "partly_interlaced.ts")) as camera:
        frames = list(camera)
    assert len(frames) + camera.damaged == 24
    assert camera.damaged in (0, 8)
    if not camera.damaged:  # an OpenCV that converts them
        for frame in frames[9:15]:
            assert np.abs(frame.image.astype(int) - _gradient()).mean() < 8


def test_a_live_source_of_unconverted_frames_is_lost_and_says_why() -> None:
    options = CameraOptions(loop=True, real_time=True)
    with Capture(parse_source(str(DATA / "interlaced.mp4"), options)) as camera:
        try:
            frame = camera.read()
        except CameraError as error:
            assert "interlaced" in error.what and "progressive" in error.remedy
        else:
            assert frame is not None
            assert frame.image.max() > 100


def test_equal_frames_that_were_converted_are_delivered(tmp_path: Path, cat: Image) -> None:
    """A film of one photo, and a black one: the converter says that nothing failed."""
    for number, picture in enumerate((cat[:240, :320], np.zeros((240, 320, 3), np.uint8))):
        path = tmp_path / f"{number}.avi"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20, (320, 240))
        for _ in range(5):
            writer.write(np.ascontiguousarray(picture))
        writer.release()
        with open_camera(str(path)) as camera:
            assert len(list(camera)) == 5
        assert camera.damaged == 0


def test_without_the_log_of_the_converter_only_plain_frames_are_refused(
    monkeypatch: pytest.MonkeyPatch, noise: Noise
) -> None:
    monkeypatch.setattr("edge_runtime.camera.conversion._library", lambda: None)
    check = ConversionCheck()
    for image, failed in ((noise(0), False), (noise(0), False), (np.zeros_like(noise(0)), True)):
        assert check.failed(image, lambda: None) is failed
