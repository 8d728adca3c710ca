"""Which cameras are attached, and a picture of one, with programs that act like rpicam's."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.camera import attached
from edge_runtime.camera.attached import AttachedCamera, attached_cameras
from edge_runtime.errors import EdgeRuntimeError, InputError
from edge_runtime.image import Image
from edge_runtime.web.settings.preview import CameraPreview

LISTED = """\
Available cameras
-----------------
0 : imx219 [3280x2464 10-bit RGGB] (/base/soc/i2c0mux/i2c@1/imx219@10)
    Modes: 'SRGGB10_CSI2P' : 640x480 [206.65 fps - (1000, 752)/1280x960 crop]
1 : ov5647 [2592x1944 10-bit GBRG] (/base/soc/i2c0mux/i2c@0/ov5647@36)
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(attached, "CLASS", tmp_path / "class")
    monkeypatch.setattr(attached, "DEVICES", tmp_path / "dev")
    return tmp_path


def _write(path: Path, body: str) -> None:
    path.write_text(f"#!{sys.executable}\n{body}")
    path.chmod(0o755)


def test_csi_cameras_are_listed_by_their_program(programs: Path) -> None:
    assert attached_cameras() == []
    _write(programs / "rpicam-vid", "")
    assert attached_cameras() == [AttachedCamera("rpicam", "CSI camera")]
    _write(programs / "rpicam-hello", f"print({LISTED!r})")
    assert attached_cameras() == [
        AttachedCamera("rpicam:0", "imx219 (3280x2464)"),
        AttachedCamera("rpicam:1", "ov5647 (2592x1944)"),
    ]
    _write(programs / "rpicam-hello", "raise SystemExit('no cameras available')")
    assert attached_cameras() == []


def test_a_program_that_hangs_is_reported(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attached, "LIST_S", 0.2)
    _write(programs / "rpicam-vid", "")
    _write(programs / "rpicam-hello", "import time; time.sleep(60)")
    (camera,) = attached_cameras()
    assert "does not answer" in camera.fault


def test_devices_that_are_no_cameras_are_left_out(programs: Path) -> None:
    for node in ("video2", "video10", "v4l-subdev0"):
        (programs / "class" / node).mkdir(parents=True)
        (programs / "class" / node / "name").write_text("A \x1b[2Jcamera\n")
    (programs / "dev" / "v4l" / "by-id").mkdir(parents=True)
    (programs / "dev" / "video2").touch()  # a file: it answers no request for capabilities
    (programs / "dev" / "v4l" / "by-id" / "usb-cam").symlink_to(programs / "dev" / "video10")
    (camera,) = attached_cameras()  # the other one cannot be opened, and says why
    assert camera.source.endswith("by-id/usb-cam")
    assert camera.fault == "no such file or directory"
    assert camera.name.isprintable()


def test_a_picture_of_a_camera_that_is_free(programs: Path, cat: Image) -> None:
    frame = cv2.cvtColor(cv2.resize(cat, (640, 480)), cv2.COLOR_BGR2YUV_I420)
    (programs / "frame").write_bytes(frame.tobytes())
    _write(
        programs / "rpicam-vid",
        "import sys, time\n"
        f"data = open({str(programs / 'frame')!r}, 'rb').read()\n"
        "while True:\n    sys.stdout.buffer.write(data)\n    sys.stdout.buffer.flush()\n"
        "    time.sleep(0.05)\n",
    )
    preview = CameraPreview(lambda: {"rpicam:1": "door"})
    data = preview.picture("rpicam:0")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None and image.shape == (360, 480, 3)
    assert preview.user_of("rpicam") is None and preview.user_of("rpicam:1") == "door"
    with pytest.raises(InputError, match="uses it as door"):
        preview.picture("rpicam:1")
    for source in ("http://192.168.1.2/", "/etc/hostname", "picamera2", ""):
        with pytest.raises(InputError, match="camera of this board"):
            preview.picture(source)


def test_a_camera_that_fails_says_why(programs: Path) -> None:
    _write(programs / "rpicam-vid", "raise SystemExit('no cameras available')")
    with pytest.raises(EdgeRuntimeError, match="no cameras available"):
        CameraPreview(dict).picture("rpicam:0")
