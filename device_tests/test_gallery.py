"""Acknowledged codes survive kill -9."""

from __future__ import annotations

from device_tests.devices.base import Device


def test_kill_9_during_enrollment_loses_no_acknowledged_code(
    device: Device, remote_bundle: str
) -> None:
    path, kills = f"{device.folder}/durable.sqlite", 1 if device.emulated else 20
    outcome = device.run_script("durability", path, remote_bundle, str(kills))
    assert outcome["lost_or_wrong"] == [], outcome
    assert outcome["problems"] == []
    assert 0 < outcome["acknowledged"] <= outcome["stored"] <= outcome["acknowledged"] + 30 * kills


def test_the_gallery_verifies_also_after_a_repeated_enrollment(
    device: Device, remote_bundle: str, photos: str, gallery: str
) -> None:
    done = device.runtime("gallery", "verify", "--gallery", gallery)
    assert done.returncode == 0, done.stdout + done.stderr
    if not device.emulated:
        done = device.runtime("enroll", "--gallery", gallery, "--model", remote_bundle, photos)
        assert done.returncode == 0, done.stderr
        assert device.runtime("gallery", "verify", "--gallery", gallery).returncode == 0
