"""The runtime is installed completely and works."""

from __future__ import annotations

import json

from device_tests.devices.base import Device
from device_tests.results import Results
from edge_runtime import __version__


def test_the_installed_version_is_this_one(device: Device) -> None:
    done = device.runtime("--version")
    assert done.returncode == 0, done.stderr
    assert __version__ in done.stdout


def test_the_doctor_finds_nothing_wrong(
    device: Device, remote_bundle: str, gallery: str, results: Results
) -> None:
    done = device.runtime("doctor", "--json", "--model", remote_bundle, "--gallery", gallery)
    findings = {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}
    results.notes += [
        f"doctor: {finding['name']}: {finding['detail']} -> {finding['remedy']}"
        for finding in findings.values()
        if finding["status"] == "warn"
    ]
    failed = [finding for finding in findings.values() if finding["status"] == "fail"]
    assert not failed, failed
    assert done.returncode == 0, done.stderr
    assert "compiled" in findings["model"]["detail"], findings["model"]


def test_a_photo_is_recognized(
    device: Device, remote_bundle: str, photos: str, gallery: str
) -> None:
    done = device.runtime(
        "query", "--json", "--gallery", gallery, "--model", remote_bundle, f"{photos}/hall/1.png"
    )
    assert done.returncode == 0, done.stderr
    text = json.dumps(json.loads(done.stdout))
    assert "hall" in text and '"distance": 0' in text, text
