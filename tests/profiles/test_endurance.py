"""A tenth of a minute of the soak, and each kind of fault once, with the assertions of the long
runs (`make soak`, `make faults`)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from profiles.bench.faults import inject
from profiles.bench.soak import DRIFT_BYTES, soak
from tests.support.processes import patience


@pytest.mark.slow
def test_it_stays_as_small_as_it_was() -> None:
    report = soak(200_000, at_most_s=6)
    assert report["met"], report
    assert report["rss_drift_bytes"] <= DRIFT_BYTES
    assert report["events"] > 0
    assert report["faults"] == 0


@pytest.mark.slow
def test_it_comes_back_from_every_kind_of_fault(tmp_path: Path) -> None:
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a small file system here")
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)
    report = inject(12)
    assert report["met"], report
    assert report["recovered"] == 12
    assert len(report["kinds"]) == 12
    assert report["ended_s"] < 2 * patience()
