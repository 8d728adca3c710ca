"""The daemon on the device: cameras, readiness, recognition, and its end."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from device_tests.devices.base import Device
from device_tests.results import Results
from edge_runtime.image import Image

ENDED_S = 2.0


@pytest.fixture(scope="module")
def clip(device: Device, pictures: Image, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A film of what is enrolled as "hall", without loss."""
    path = tmp_path_factory.mktemp("clip") / "clip.avi"
    height, width = pictures.shape[1:3]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 5, (width, height))
    assert writer.isOpened()
    for _ in range(10):
        writer.write(np.asarray(pictures[0], np.uint8))
    writer.release()
    return device.put(path)


def test_start_ready_recognise_and_sigterm(
    device: Device, placed: str, gallery: str, clip: str, results: Results
) -> None:
    found = device.ask("daemon", device.folder, gallery, placed, clip, "hall")
    assert found["recognised"], found["said"]
    assert found["exit_code"] == 0, found["said"]
    results.notes.append(
        f"daemon: ready after {found['ready_s']:.2f} s, SIGTERM took {found['ended_s']:.2f} s"
    )
    if not device.emulated:
        assert found["ended_s"] < ENDED_S


def test_a_folder_of_photos_as_the_camera(
    device: Device, placed: str, photos: str, gallery: str
) -> None:
    done = device.runtime(
        "run", "--json", "--gallery", gallery, "--model", placed, "--window", "1",
        "--camera", f"{photos}/hall",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert any(event.get("label") == "hall" for event in events), done.stdout


def test_its_own_camera(device: Device, placed: str, gallery: str) -> None:
    if not device.about.cameras:
        pytest.skip("no V4L2 camera there")
    found = {}
    for camera in device.about.cameras:  # some nodes of a Raspberry Pi are codecs
        done = device.runtime(
            "doctor", "--json", "--gallery", gallery, "--model", placed, "--camera", camera
        )
        findings = {item["name"]: item for item in json.loads(done.stdout)["findings"]}
        found[camera] = findings["camera"]["detail"]
        if findings["camera"]["status"] == "ok":
            return
    pytest.fail(f"no camera gives a picture: {found}")
