"""Six seconds of the soak test and one fault of each kind.

The assertions are those of the long runs, `make soak` and `make faults`.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from profiles.bench.faults import inject
from profiles.bench.soak import DRIFT_BYTES, soak
from tests.support.processes import patience


@pytest.mark.slow
def test_the_daemon_does_not_grow() -> None:
    report = soak(200_000, at_most_s=6)
    assert report["met"], report
    assert report["rss_drift_bytes"] <= DRIFT_BYTES
    assert report["events"] > 0
    assert report["faults"] == 0


@pytest.mark.slow
def test_the_daemon_recovers_from_every_kind_of_fault(tmp_path: Path) -> None:
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount a small file system")
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)
    report = inject(12)
    assert report["met"], report
    assert report["recovered"] == 12
    assert len(report["kinds"]) == 12
    assert report["ended_s"] < 2 * patience()
