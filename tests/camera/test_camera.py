"""Sources deliver frames through `Capture`, and their failures become errors."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from demo.clip import FRAMES_PER_SCENE, film
from edge_runtime.camera import Capture, open_camera, parse_source
from edge_runtime.camera.fake import FakeSource
from edge_runtime.camera.folder import FolderSource
from edge_runtime.camera.video import DeviceSource, FileSource, StreamSource
from edge_runtime.errors import CameraLostError, CameraNotFoundError, CameraSilentError
from edge_runtime.image import Image

Noise = Callable[[int], Image]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, cat: Image) -> Path:
    path = tmp_path_factory.mktemp("clip") / "cat.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 20, (640, 480))
    for frame in film(cat, FRAMES_PER_SCENE, np.random.default_rng(1)):
        writer.write(frame)
    writer.release()
    return path


def test_a_file_delivers_every_frame_in_order(clip: Path) -> None:
    with open_camera(str(clip)) as camera:
        frames = list(camera)
    assert [frame.sequence for frame in frames] == list(range(FRAMES_PER_SCENE))
    assert camera.dropped == 0
    assert frames[0].image.shape == (480, 640, 3)
    times = [frame.captured_at_s for frame in frames]
    assert times == sorted(times)
    assert camera.read() is None


def test_a_folder_delivers_its_photos_by_name_and_skips_unusable_ones(
    tmp_path: Path, noise: Noise, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (2, 1, 3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), noise(number))
    (tmp_path / "2.png").write_bytes(b"ruined")
    with open_camera(str(tmp_path)) as camera:
        frames = list(camera)
    assert [Path(frame.name).name for frame in frames] == ["1.png", "3.png"]
    assert (frames[1].image == noise(3)).all()
    assert "2.png: not an image" in caplog.text


def test_a_single_photo_is_a_camera(tmp_path: Path, noise: Noise) -> None:
    cv2.imwrite(str(tmp_path / "one.png"), noise(0))
    with open_camera(str(tmp_path / "one.png")) as camera:
        assert len(list(camera)) == 1


class _MotionJpeg(BaseHTTPRequestHandler):
    """Serves Motion JPEG, as a network camera does."""

    frames = 50
    change = staticmethod(lambda number, data: data)
    """What the camera does to the JPEG of its frame `number`."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        image = np.full((48, 64, 3), 128, np.uint8)
        image[::2, ::3] = 60
        encoded = cv2.imencode(".jpg", image)[1].tobytes()
        for number in range(self.frames):
            data = self.change(number, encoded)
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            self.wfile.write(head.encode() + data + b"\r\n")

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def ip_camera() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _MotionJpeg) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/video.mjpg"
        server.shutdown()
        thread.join()


def test_a_network_camera_and_the_end_of_its_stream(ip_camera: str) -> None:
    with open_camera(ip_camera) as camera:
        frame = camera.read()
        assert frame is not None
        assert frame.image.shape == (48, 64, 3)
        with pytest.raises(CameraLostError, match="the stream ended"):
            for _ in camera:
                pass


def test_a_stream_that_ended_before_its_first_picture_was_fetched(ip_camera: str) -> None:
    with open_camera(ip_camera) as camera:
        while camera.is_hung:  # until its thread ends
            time.sleep(0.01)
        assert camera.read() is not None, "its last picture is still there"
        with pytest.raises(CameraLostError, match="the stream ended"):
            camera.read()


def test_stray_bytes_of_a_network_camera_are_skipped(
    ip_camera: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stray(_number: int, data: bytes) -> bytes:
        return data.replace(b"\xff\xc0", b"\x00\xff\xc0").replace(b"\xff\xda", b"\x1f\xff\xda")

    monkeypatch.setattr(_MotionJpeg, "change", staticmethod(stray))
    with open_camera(ip_camera) as camera:
        frame = camera.read()
        assert frame is not None
        assert frame.image.shape == (48, 64, 3)
        assert camera.damaged == 0


@pytest.mark.parametrize("ending", [b"", b"\xff\xd9"])
def test_half_frames_of_a_network_camera_are_damaged(
    ending: bytes, ip_camera: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def halved(number: int, data: bytes) -> bytes:
        scan = data.index(b"\xff\xda") + 14
        return data if number % 5 == 4 else data[: (scan + len(data)) // 2] + ending

    monkeypatch.setattr(_MotionJpeg, "change", staticmethod(halved))
    with open_camera(ip_camera) as camera:
        frame = camera.read()
        assert frame is not None
        assert abs(int(frame.image[-8:].mean()) - int(frame.image[:8].mean())) < 5
        while camera.is_hung:  # until the stream ends
            time.sleep(0.01)
    assert camera.damaged == 40
    assert camera.sequence == 10


def test_an_address_without_a_server_is_an_error() -> None:
    with (
        open_camera("http://127.0.0.1:9/none.mjpg") as camera,
        pytest.raises(CameraNotFoundError, match="no readable video"),
    ):
        camera.read()


def test_text_names_the_right_kind_of_source(tmp_path: Path, clip: Path) -> None:
    kinds = {
        "0": DeviceSource,
        "/dev/v4l/by-id/usb-Some_Camera-video-index0": DeviceSource,
        "rtsp://127.0.0.1/stream": StreamSource,
        str(tmp_path): FolderSource,
        str(clip): FileSource,
    }
    for text, kind in kinds.items():
        assert type(parse_source(text)) is kind
    assert parse_source("7").name == "/dev/video7"
    with pytest.raises(CameraNotFoundError, match="no such camera"):
        parse_source(str(tmp_path / "nothing.mp4"))


def test_an_inaccessible_path_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CameraNotFoundError, match=r"aa: file name too long \(check the path"):
        parse_source("a" * 300)

    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_dir", refuse)  # as in a folder of another user
    with pytest.raises(
        CameraNotFoundError, match=r"film\.mp4: permission denied \(check"
    ) as caught:
        parse_source("film.mp4")
    assert caught.value.exit_code == 7


def test_a_missing_device_is_an_error() -> None:
    with (
        open_camera("/dev/video99") as camera,
        pytest.raises(CameraNotFoundError, match=r"/dev/video99: no such camera device .*by-id"),
    ):
        camera.read()


def test_a_device_that_is_not_a_camera_is_an_error(tmp_path: Path) -> None:
    source = DeviceSource("/dev/null")
    with (
        Capture(source) as camera,
        pytest.raises(CameraNotFoundError, match="not a camera that V4L2"),
    ):
        camera.read()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open any device")
def test_a_device_without_permission_is_an_error() -> None:
    with (
        Capture(DeviceSource("/dev/mem")) as camera,
        pytest.raises(CameraNotFoundError, match=r"permission denied .*group video"),
    ):
        camera.read()


@pytest.mark.parametrize("content", [b"", b"not a video" * 100])
def test_a_file_that_is_not_a_video_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    with open_camera(str(path)) as camera, pytest.raises(CameraNotFoundError, match=r"film\.mp4"):
        camera.read()


def test_a_camera_without_frames_is_an_error_and_does_not_hang() -> None:
    release = threading.Event()
    source = FakeSource([release.wait], live=True)
    began = time.monotonic()
    with Capture(source, first_frame_s=0.05) as camera:
        with pytest.raises(CameraSilentError, match=r"no frame for 0\.05 s.*rpicam"):
            camera.read()
        release.set()
    assert time.monotonic() - began < 5
    assert source.closed == 1


def test_a_camera_whose_first_read_fails_is_silent() -> None:
    """CSI cameras through V4L2 open, then return (False, None)."""
    with (
        Capture(FakeSource([], live=True)) as camera,
        pytest.raises(CameraSilentError, match="the first read failed"),
    ):
        camera.read()


def test_a_camera_that_stops_is_lost(noise: Noise) -> None:
    release = threading.Event()
    source = FakeSource([noise(0), release.wait], live=True)
    with Capture(source, next_frame_s=0.05) as camera:
        assert camera.read() is not None
        with pytest.raises(CameraLostError, match=r"no frame for 0\.05 s"):
            camera.read()
        release.set()


def test_a_live_source_stores_the_newest_frame_and_counts_dropped_ones(noise: Noise) -> None:
    release = threading.Event()
    items = [*(noise(n) for n in range(5)), release.wait, noise(5)]
    with Capture(FakeSource(items, live=True)) as camera:
        with camera._condition:
            camera._condition.wait_for(lambda: camera.dropped == 4, timeout=5)
        frame = camera.read()
        assert frame is not None
        assert frame.sequence == 4
        release.set()
        frame = camera.read()
        assert frame is not None
        assert frame.sequence == 5
    assert camera.dropped == 4


def test_an_exception_in_the_driver_is_reported(noise: Noise) -> None:
    with (
        Capture(FakeSource([noise(0), RuntimeError("bus error")])) as camera,
        pytest.raises(CameraLostError, match="fake: RuntimeError: bus error"),
    ):
        list(camera)


def test_closing_early_ends_the_thread(noise: Noise) -> None:
    source = FakeSource([noise(n) for n in range(100)])
    camera = Capture(source)
    camera.read()
    camera.close()
    assert source.closed == 1
    assert not camera._thread.is_alive()


def test_jpegs_of_a_network_camera_stay_encoded_with_preview_only(ip_camera: str) -> None:
    with Capture(parse_source(ip_camera), preview_only=True) as camera:
        frame = camera.read()
        assert frame is not None
        assert frame.picture.encoded
        preview = frame.picture.preview
        assert preview is not None
        assert frame.image.shape == (48, 64, 3)
        assert abs(int(frame.image.mean()) - int(preview.mean())) <= 1


class _Driver:
    """OpenCV's V4L2 capture of a camera that uses the format `fourcc`."""

    def __init__(self, fourcc: str, data: np.ndarray) -> None:
        self._fourcc, self._data = cv2.VideoWriter.fourcc(*fourcc), data
        self.set_to: dict[int, float] = {}

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def get(self, key: int) -> float:
        return self._fourcc if key == cv2.CAP_PROP_FOURCC else 0.0

    def set(self, key: int, value: float) -> bool:
        self.set_to[key] = value
        return True

    def grab(self) -> bool:
        return True

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, self._data

    def release(self) -> None:
        pass


@pytest.mark.parametrize("fourcc", ["MJPG", "YUYV"])
def test_a_usb_camera_is_set_to_jpeg_and_its_jpegs_stay_encoded(
    fourcc: str, cat: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    jpeg = cv2.imencode(".jpg", cat)[1].reshape(1, -1)
    driver = _Driver(fourcc, jpeg if fourcc == "MJPG" else cat)
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: driver)
    source = DeviceSource("/dev/null")
    source.open()
    assert driver.set_to[cv2.CAP_PROP_FOURCC] == cv2.VideoWriter.fourcc(*"MJPG")
    assert driver.set_to.get(cv2.CAP_PROP_CONVERT_RGB) == (0 if fourcc == "MJPG" else None)
    shot = source.next()
    assert shot is not None
    assert shot.picture is not None
    assert shot.picture.encoded == (fourcc == "MJPG")
    assert np.abs(shot.picture.image.astype(int) - cat).mean() < 4
    source.close()
