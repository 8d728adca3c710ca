"""The daemon on the device: cameras, readiness, recognition and shutdown."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from device_tests.devices.base import Device
from device_tests.results import Results
from edge_runtime.image import Image

SHUTDOWN_LIMIT_S = 2.0


@pytest.fixture(scope="module")
def clip(device: Device, pictures: Image, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A video of the photo that is enrolled as "hall"."""
    path = tmp_path_factory.mktemp("clip") / "clip.avi"
    height, width = pictures.shape[1:3]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 5, (width, height))
    assert writer.isOpened()
    for _ in range(10):
        writer.write(np.asarray(pictures[0], np.uint8))
    writer.release()
    return device.put(path)


def test_start_ready_recognize_and_sigterm(
    device: Device, remote_bundle: str, gallery: str, clip: str, results: Results
) -> None:
    outcome = device.run_script("daemon", device.folder, gallery, remote_bundle, clip, "hall")
    assert outcome["recognized"], outcome["log"]
    assert outcome["exit_code"] == 0, outcome["log"]
    results.notes.append(
        f"daemon: ready after {outcome['ready_s']:.2f} s, SIGTERM took {outcome['ended_s']:.2f} s"
    )
    if not device.emulated:
        assert outcome["ended_s"] < SHUTDOWN_LIMIT_S


def test_a_folder_of_photos_as_the_camera(
    device: Device, remote_bundle: str, photos: str, gallery: str
) -> None:
    done = device.runtime(
        "run", "--json", "--gallery", gallery, "--model", remote_bundle, "--window", "1",
        "--camera", f"{photos}/hall",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert any(event.get("label") == "hall" for event in events), done.stdout


def test_the_camera_of_the_board(device: Device, remote_bundle: str, gallery: str) -> None:
    if not device.info.cameras:
        pytest.skip("the device has no V4L2 camera")
    details = {}
    for camera in device.info.cameras:  # on a Raspberry Pi, some nodes are codecs
        done = device.runtime(
            "doctor", "--json", "--gallery", gallery, "--model", remote_bundle, "--camera", camera
        )
        findings = {item["name"]: item for item in json.loads(done.stdout)["findings"]}
        details[camera] = findings["camera"]["detail"]
        if findings["camera"]["status"] == "ok":
            return
    pytest.fail(f"no camera delivers a picture: {details}")
