"""Cameras without hardware: a fake rpicam-vid, files in a loop, an RTSP server."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.camera import CameraOptions, Capture, open_camera, parse_source
from edge_runtime.camera.picamera import Picamera2Source
from edge_runtime.camera.pipe import RpicamSource, decode_i420, padded_row_bytes
from edge_runtime.camera.video import DeviceSource, StreamSource
from edge_runtime.errors import (
    CameraError,
    CameraLostError,
    CameraNotFoundError,
    CameraSilentError,
)
from edge_runtime.image import Image

Install = Callable[[str], Image]

PROGRAM = '''#!{python}
"""Writes I420 pictures with rows padded to 64 bytes, as rpicam-vid does."""
import os, sys, time
arguments = dict(zip(sys.argv[1::1], sys.argv[2::1]))
assert arguments["--codec"] == "yuv420" and arguments["--output"] == "-", sys.argv
width, height = int(arguments["--width"]), int(arguments["--height"])
data = open({frame!r}, "rb").read()
print("[0:00:00.0] INFO Camera camera_manager.cpp:326 libcamera v0.5.2", file=sys.stderr)
mode = {mode!r}
if mode == "absent":
    print("ERROR: *** no cameras available ***", file=sys.stderr)
    sys.exit(255)
for number in range(1000 if mode == "endless" else 3):
    for at in range(0, len(data), 40_000):  # a pipe splits pictures anywhere
        sys.stdout.buffer.write(data[at : at + 40_000])
        sys.stdout.buffer.flush()
    print("x" * 2000, file=sys.stderr)  # its messages must not fill the stderr pipe
    time.sleep(0.01)
if mode == "hangs":
    sys.stdout.buffer.write(data[:1000])
    sys.stdout.buffer.flush()
    time.sleep(600)
if mode == "dies":
    os.kill(os.getpid(), 9)
'''


def _i420(image: Image, row: int) -> bytes:
    """Return I420 in libcamera's layout: luma rows of `row` bytes, chroma rows of half that."""
    height, width = image.shape[:2]
    planes = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420)
    luma = np.full((height, row), 77, np.uint8)
    luma[:, :width] = planes[:height]
    chroma = np.full((height, row // 2), 200, np.uint8)
    chroma[:, : width // 2] = planes[height:].reshape(height, width // 2)
    return luma.tobytes() + chroma.tobytes()


@pytest.fixture
def rpicam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cat: Image) -> Install:
    """Return a function that installs a fake rpicam-vid with the given behavior in PATH."""

    def install(mode: str, width: int = 300, height: int = 200) -> Image:
        image = np.ascontiguousarray(cat[:height, :width])
        frame = tmp_path / "frame.i420"
        frame.write_bytes(_i420(image, padded_row_bytes(width)))
        program = tmp_path / "rpicam-vid"
        program.write_text(PROGRAM.format(python=sys.executable, frame=str(frame), mode=mode))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return image

    return install


@pytest.mark.parametrize("width", [300, 320, 130])
def test_row_padding_is_removed(cat: Image, width: int) -> None:
    image = np.ascontiguousarray(cat[:200, :width])
    image_read = decode_i420(_i420(image, padded_row_bytes(width)), width, 200)
    assert image_read.shape == image.shape
    plain = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420), cv2.COLOR_YUV2BGR_I420)
    assert (image_read == plain).all()


def _options(image: Image) -> CameraOptions:
    return CameraOptions(width=image.shape[1], height=image.shape[0])


def test_a_csi_camera_through_the_pipe(rpicam: Install) -> None:
    image = rpicam("endless")
    source = parse_source("rpicam", _options(image))
    assert isinstance(source, RpicamSource)
    with Capture(source) as camera:
        numbers = []
        for _ in range(5):
            frame = camera.read()
            assert frame is not None
            assert frame.image.shape == image.shape
            assert np.abs(frame.image.astype(int) - image).mean() < 4
            assert 0 <= time.monotonic() - frame.captured_at_s < 5
            numbers.append(frame.sequence)
    assert numbers == sorted(set(numbers))
    assert not camera.is_hung
    assert source._child is not None
    assert source._child.poll() is not None


def test_a_killed_program_is_a_lost_camera(rpicam: Install) -> None:
    image = rpicam("dies")
    with (
        Capture(RpicamSource(0, _options(image))) as camera,
        pytest.raises(CameraLostError, match="the stream ended"),
    ):
        list(camera)


def test_a_silent_pipe_is_an_error_and_its_program_is_killed(rpicam: Install) -> None:
    image = rpicam("hangs")
    camera = Capture(RpicamSource(0, _options(image)), next_frame_s=0.3)
    with pytest.raises(CameraLostError, match=r"no frame for 0\.3 s"):
        list(camera)
    camera.close()
    assert not camera.is_hung


def test_the_error_message_of_the_program_is_reported(rpicam: Install) -> None:
    image = rpicam("absent")
    with (
        Capture(RpicamSource(0, _options(image))) as camera,
        pytest.raises(CameraError, match="no cameras available"),
    ):
        camera.read()


def test_a_missing_program_is_an_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with (
        Capture(parse_source("rpicam:1")) as camera,
        pytest.raises(CameraNotFoundError, match=r"rpicam:1: .*apt install rpicam-apps"),
    ):
        camera.read()


def test_without_picamera2_the_error_suggests_rpicam() -> None:
    source = parse_source("picamera2:0")
    assert isinstance(source, Picamera2Source)
    with Capture(source) as camera, pytest.raises(CameraNotFoundError, match="use the camera rpic"):
        camera.read()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, cat: Image) -> Path:
    path = tmp_path_factory.mktemp("clip") / "cat.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 50, (64, 48))
    for number in range(10):
        writer.write(np.ascontiguousarray(cat[number : number + 48, :64]))
    writer.release()
    return path


def test_a_file_can_loop(clip: Path) -> None:
    with Capture(parse_source(str(clip), CameraOptions(loop=True))) as camera:
        numbers = [frame.sequence for _ in range(25) if (frame := camera.read())]
    assert numbers == list(range(25))
    assert camera.dropped == 0


def test_a_file_in_real_time_plays_at_its_own_speed(clip: Path) -> None:
    with Capture(parse_source(str(clip), CameraOptions(real_time=True))) as camera:
        times = [frame.captured_at_s for frame in camera]
    assert len(times) == 10
    assert times[-1] - times[0] >= 0.15


def test_a_file_that_loops_in_real_time_is_live(clip: Path) -> None:
    source = parse_source(str(clip), CameraOptions(loop=True, real_time=True))
    assert source.live
    with Capture(source) as camera:
        while camera.dropped < 20:
            time.sleep(0.01)
        frame = camera.read()
    assert frame is not None
    assert frame.sequence >= 20


def test_a_folder_can_loop(tmp_path: Path, cat: Image) -> None:
    for number in range(2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), cat)
    (tmp_path / "ruined.png").write_bytes(b"")
    with Capture(parse_source(str(tmp_path), CameraOptions(loop=True))) as camera:
        names = [Path(frame.name).stem for _ in range(5) if (frame := camera.read())]
    assert names == ["0", "1", "0", "1", "0"]
    for number in range(2):
        (tmp_path / f"{number}.png").unlink()
    source = parse_source(str(tmp_path), CameraOptions(loop=True))
    with Capture(source) as camera, pytest.raises(CameraNotFoundError, match="no readable picture"):
        camera.read()


def test_a_device_is_found_again_by_its_persistent_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain files replace the devices behind the links of /dev/v4l/by-id."""
    links = tmp_path / "by-id"
    links.mkdir()
    first, second = tmp_path / "video0", tmp_path / "video2"
    first.touch()
    (links / "usb-Cam-index0").symlink_to(first)
    monkeypatch.setattr("edge_runtime.camera.video.BY_ID", links)
    from edge_runtime.camera.video import by_id

    assert by_id(first) == links / "usb-Cam-index0"
    first.unlink()
    (links / "usb-Cam-index0").unlink()
    second.touch()
    (links / "usb-Cam-index0").symlink_to(second)
    source = DeviceSource(str(first), persistent_path=links / "usb-Cam-index0").clone()
    with pytest.raises(CameraNotFoundError, match="not a camera that V4L2 can read"):
        source.open()  # it opens the second file, which exists but is not a camera


def test_passwords_stay_out_of_names() -> None:
    source = parse_source("rtsp://user:secret@camera/stream")
    assert isinstance(source, StreamSource)
    assert source.name == "rtsp://camera/stream"
    assert "secret" in source.clone()._address


RTSP_SERVER = """
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service("0")
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(
    "( videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=10/1"
    " ! jpegenc ! rtpjpegpay name=pay0 pt=26 )"
)
server.get_mount_points().add_factory("/eye", factory)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
"""


@pytest.fixture
def rtsp_server() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start GStreamer's RTSP server with the system's Python; yield it and its address."""
    server = subprocess.Popen(
        ["/usr/bin/python3", "-c", RTSP_SERVER],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert server.stdout
    port = server.stdout.readline().strip()
    if port:
        yield server, f"rtsp://127.0.0.1:{port}"
    server.kill()
    server.wait()
    server.stdout.close()
    if not port:
        pytest.skip("no rtsp server: apt install gir1.2-gst-rtsp-server-1.0 python3-gi "
                    "gstreamer1.0-plugins-good")  # fmt: skip


def test_an_rtsp_camera_that_disconnects_is_an_error(
    rtsp_server: tuple[subprocess.Popen[str], str],
) -> None:
    server, address = rtsp_server
    with open_camera(f"{address}/eye") as camera:
        first, second = camera.read(), camera.read()
        assert first is not None and second is not None
        assert first.image.shape == (240, 320, 3)
        assert first.sequence < second.sequence
        server.kill()
        with pytest.raises((CameraLostError, CameraSilentError)):
            for _ in camera:
                pass


def test_an_rtsp_address_without_a_camera_is_an_error(
    rtsp_server: tuple[subprocess.Popen[str], str],
) -> None:
    _, address = rtsp_server
    with (
        open_camera(f"{address}/nothing") as camera,
        pytest.raises(CameraNotFoundError, match="no readable video at this address"),
    ):
        camera.read()
