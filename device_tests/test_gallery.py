"""What the gallery acknowledged is there, whatever happens to the device."""

from __future__ import annotations

from device_tests.devices.base import Device


def test_kill_9_during_enrolment_loses_nothing_that_was_acknowledged(
    device: Device, placed: str
) -> None:
    place, kills = f"{device.folder}/durable.sqlite", 1 if device.emulated else 20
    found = device.ask("durability", place, placed, str(kills))
    assert found["lost_or_wrong"] == [], found
    assert found["complaints"] == []
    assert 0 < found["promised"] <= found["stored"] <= found["promised"] + 30 * kills


def test_the_gallery_is_verified_and_repeats_an_enrolment(
    device: Device, placed: str, photos: str, gallery: str
) -> None:
    done = device.runtime("gallery", "verify", "--gallery", gallery)
    assert done.returncode == 0, done.stdout + done.stderr
    if not device.emulated:
        done = device.runtime("enroll", "--gallery", gallery, "--model", placed, photos)
        assert done.returncode == 0, done.stderr
        assert device.runtime("gallery", "verify", "--gallery", gallery).returncode == 0
