"""How fast it is there, and whether that is within the device's budget."""

from __future__ import annotations

import pytest

from device_tests.bundles import SMALL
from device_tests.devices.base import Device
from device_tests.results import Results
from edge_runtime.errors import EXIT_CHECK_FAILED
from edge_runtime.image import Image


def test_the_profile_is_within_budget(
    device: Device, pictures: Image, placed: str, photos: str, gallery: str, results: Results
) -> None:
    if device.emulated and pictures.shape[1] > SMALL:  # seconds a picture, that mean nothing
        pytest.skip("under emulation with the small network only: SMALL=1")
    place = f"{device.folder}/report.json"
    quick = pictures.shape[1] <= SMALL  # a test of the test; a board's own report is a full one
    length = ("--samples", "16", "--seconds", "1") if device.emulated else ("--quick",) * quick
    done = device.runtime(
        "profile", *length, "--gallery", gallery, "--model", placed, "--out", place, photos
    )
    assert done.returncode in (0, EXIT_CHECK_FAILED), done.stderr
    report = results.keep_report(place)
    brands = [f"{brand['name']}: {brand['detail']}" for brand in report["brands"]]
    assert report["ended"] == "finished", brands
    assert all(stage["p50_ms"] > 0 for stage in report["warm"]["stages"].values())
    assert report["met"] == (done.returncode == 0)
    if device.emulated:
        assert not report["measurement"]
        return  # so there is no verdict
    if brands:
        results.notes.append(f"NO MEASUREMENT: {'; '.join(brands)}")
        pytest.skip(f"no measurement, so no verdict: {'; '.join(brands)}")
    results.notes += [
        f"budget: {line['name']}: {line['value']} of {line['budget']:g}"
        for line in report["budget"]
    ]
    assert not [line for line in report["budget"] if line["met"] is False]
