"""The units: valid, shut in, and without harm to each other; and the one that follows a fleet."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from device_tests.machine.steps import EXPOSURE
from tests.support.processes import ROOT

UNITS = ("edge-runtime.service", "edge-runtime-fleet.service")
SERVICES = sorted(path.name for path in (ROOT / "deploy" / "units").glob("*.service"))
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd-analyze here"
)


def _installed(name: str, folder: Path) -> Path:
    text = (ROOT / "deploy" / "units" / name).read_text()
    for program in ("/opt/edge-runtime/current/venv/bin/edge-runtime", "/usr/bin/python3"):
        text = text.replace(program, sys.executable)
    unit = folder / name
    unit.write_text(text)
    return unit


@needs_systemd
def test_the_unit_is_valid_for_systemd(tmp_path: Path) -> None:
    for name in UNITS:
        _installed(name, tmp_path)
    unit = tmp_path / UNITS[1]
    done = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False
    )
    assert [line for line in done.stderr.splitlines() if "edge-runtime" in line] == []


@needs_systemd
@pytest.mark.parametrize("name", SERVICES)
def test_every_unit_is_shut_in(name: str, tmp_path: Path) -> None:
    """That of roll-outs as well, although it installs releases as root."""
    unit = _installed(name, tmp_path)
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"exposure level.*?: ([0-9.]+)", done.stdout)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze is too old to rate a file")
    assert found, done.stderr
    assert float(found[1]) <= EXPOSURE


def test_units_agree_on_the_mode_of_their_folder() -> None:
    """At each start, systemd gives the folder the mode of the unit that starts."""
    modes = {}
    for name in SERVICES:
        text = (ROOT / "deploy" / "units" / name).read_text()
        for folders in re.findall(r"(?m)^StateDirectory=(.*)$", text):
            assert folders == "edge-runtime"
            modes[name] = re.findall(r"(?m)^StateDirectoryMode=(.*)$", text)
    assert len(modes) == 3
    assert all(mode == ["2770"] for mode in modes.values()), modes


def test_the_unit_waits_for_a_board_that_has_joined() -> None:
    text = (ROOT / "deploy" / "units" / UNITS[1]).read_text()
    condition = re.search(r"ConditionPathExists=(.*)", text)
    assert condition is not None
    assert condition[1] == "/var/lib/edge-runtime/gallery.sqlite.fleet/join.json"
    assert "PartOf=edge-runtime.service" in text
