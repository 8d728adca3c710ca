"""The profile of the device is within its budget."""

from __future__ import annotations

import pytest

from device_tests.bundles import SMALL
from device_tests.devices.base import Device
from device_tests.results import Results
from edge_runtime.errors import EXIT_CHECK_FAILED
from edge_runtime.image import Image


def test_the_profile_is_within_budget(
    device: Device, pictures: Image, remote_bundle: str, photos: str, gallery: str, results: Results
) -> None:
    if device.emulated and pictures.shape[1] > SMALL:  # seconds per picture, which mean nothing
        pytest.skip("under emulation, only with the small network: SMALL=1")
    path = f"{device.folder}/report.json"
    quick = pictures.shape[1] <= SMALL  # checks the test itself; a board gets a full profile
    length = ("--samples", "16", "--seconds", "1") if device.emulated else ("--quick",) * quick
    done = device.runtime(
        "profile", *length, "--gallery", gallery, "--model", remote_bundle, "--out", path, photos
    )
    assert done.returncode in (0, EXIT_CHECK_FAILED), done.stderr
    report = results.fetch_report(path)
    flags = [f"{brand['name']}: {brand['detail']}" for brand in report["brands"]]
    assert report["ended"] == "finished", flags
    assert all(stage["p50_ms"] > 0 for stage in report["warm"]["stages"].values())
    assert report["met"] == (done.returncode == 0)
    if device.emulated:
        assert not report["measurement"]
        return  # an emulated run has no verdict
    if flags:
        results.notes.append(f"NOT A VALID MEASUREMENT: {'; '.join(flags)}")
        pytest.skip(f"not a valid measurement, so no verdict: {'; '.join(flags)}")
    results.notes += [
        f"budget: {line['name']}: {line['value']} of {line['budget']:g}"
        for line in report["budget"]
    ]
    assert not [line for line in report["budget"] if line["met"] is False]
