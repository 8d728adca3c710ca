"""Films with a damaged part continue after it, and a damaged picture is never delivered."""

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
from edge_runtime.types import Frame

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


@pytest.fixture
def other_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV contains a version of FFmpeg whose structures are not known."""
    monkeypatch.setattr("edge_runtime.camera.interlaced._api", lambda: None)


def _error(frame: Frame) -> float:
    return float(np.abs(frame.image.astype(int) - _gradient()).mean())


def test_interlaced_frames_are_decoded() -> None:
    """tests/data: ffmpeg -f rawvideo ... -c:v libx264 -flags +ilme+ildct interlaced.mp4."""
    with open_camera(str(DATA / "interlaced.mp4")) as camera:
        frames = list(camera)
    assert (len(frames), camera.damaged) == (12, 0)
    assert max(map(_error, frames)) < 3


def test_interlaced_frames_in_a_progressive_film_are_decoded() -> None:
    """tests/data/partly_interlaced.ts: 8 progressive frames, 8 interlaced, 8 progressive ones."""
    with open_camera(str(DATA / "partly_interlaced.ts")) as camera:
        frames = list(camera)
    assert (len(frames), camera.damaged) == (24, 0)
    assert max(map(_error, frames[8:16])) < 3
    for first, second in zip(frames[:8], frames[16:], strict=True):  # the same pictures
        assert abs(_error(first) - _error(second)) < 0.5


def test_a_damaged_interlaced_film_goes_on(tmp_path: Path) -> None:
    data = bytearray((DATA / "partly_interlaced.ts").read_bytes())
    data[5000:6500] = bytes(1500)
    (tmp_path / "cut.ts").write_bytes(data)
    with open_camera(str(tmp_path / "cut.ts")) as camera:
        frames = list(camera)
    with open_camera(str(DATA / "partly_interlaced.ts")) as camera:
        last = list(camera)[-1]
    assert len(frames) >= 12
    assert np.array_equal(frames[-1].image, last.image)


def test_an_interlaced_film_that_loops_begins_anew() -> None:
    options = CameraOptions(loop=True)
    with Capture(parse_source(str(DATA / "interlaced.mp4"), options)) as camera:
        for _ in range(30):
            frame = camera.read()
            assert frame is not None
            assert _error(frame) < 3
    assert camera.damaged == 0


@pytest.mark.usefixtures("other_ffmpeg")
def test_interlaced_frames_of_another_ffmpeg_are_damaged_or_pictures() -> None:
    """Whether such an OpenCV converts them depends on its FFmpeg."""
    camera = open_camera(str(DATA / "interlaced.mp4"))
    with camera:
        try:
            frames = list(camera)
        except CameraNotFoundError as error:
            assert "interlaced" in error.what and "ffmpeg -i" in error.remedy
            frames = []
    assert len(frames) + camera.damaged == 12
    assert all(_error(frame) < 8 for frame in frames)


@pytest.mark.usefixtures("other_ffmpeg")
def test_frames_that_were_not_converted_never_repeat_an_earlier_picture() -> None:
    with open_camera(str(DATA / "partly_interlaced.ts")) as camera:
        frames = list(camera)
    assert len(frames) + camera.damaged == 24
    assert camera.damaged in (0, 8)


def test_a_live_interlaced_source_is_decoded() -> None:
    options = CameraOptions(loop=True, real_time=True)
    with Capture(parse_source(str(DATA / "interlaced.mp4"), options)) as camera:
        for _ in range(3):
            frame = camera.read()
            assert frame is not None
            assert _error(frame) < 3


@pytest.mark.usefixtures("other_ffmpeg")
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
    monkeypatch.setattr("edge_runtime.camera.conversion.ffmpeg_library", lambda _: None)
    check = ConversionCheck()
    for image, failed in ((noise(0), False), (noise(0), False), (np.zeros_like(noise(0)), True)):
        assert check.failed(image, lambda: None) is failed
