"""The files that a device test leaves behind, also when it is cut short."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edge_runtime.bundle import write_manifest
from edge_runtime.engine.fake import FakeEngine
from tests.support.processes import ROOT

TESTS = """
from edge_runtime.errors import BoardLostError

def test_first(request):
    results = request.config.pluginmanager.get_plugin("device-test-results")
    results.fetch_report("remote.json")

def test_second():
    if {lost}:
        raise BoardLostError("it rebooted during the run", where="pi@board")

def test_third():
    pass
"""
RUN = """
import shutil, sys
from pathlib import Path
from types import SimpleNamespace
import pytest
from device_tests.devices.base import DeviceInfo
from device_tests.results import Results
folder, emulated = Path(sys.argv[1]), sys.argv[2] == "emulated"
device = SimpleNamespace(
    name="pi@board", emulated=emulated,
    get=lambda remote, local: shutil.copy(folder / remote, local),
    info=DeviceInfo("Raspberry Pi 4", "aarch64", (), 4, "Linux", "3.11.2"))
results = Results(folder / "out", SimpleNamespace(name="rpi4"), device, folder / "bundle")
tests = str(folder / "test_remote.py")
pytest.main(["-p", "no:cacheprovider", tests, f"--junitxml={results.path('junit', 'xml')}"],
            plugins=[results])
print(results.write().read_text())
print("error:", results.board_error)
"""


def _run(folder: Path, *, lost: bool, emulated: bool = False) -> str:
    (folder / "bundle").mkdir()
    write_manifest(
        folder / "bundle", FakeEngine().model,
        target={"cpu": "cortex-a72"}, precision="fp32", budgets={}, tools={},
    )  # fmt: skip
    (folder / "remote.json").write_text('{"brands": []}')
    (folder / "test_remote.py").write_text(TESTS.format(lost=lost))
    kind = "emulated" if emulated else "real"
    done = subprocess.run(
        [sys.executable, "-c", RUN, folder, kind],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    return done.stdout


def _single_file(folder: Path, pattern: str) -> Path:
    (path,) = (folder / "out").glob(pattern)
    return path


def test_a_complete_run(tmp_path: Path) -> None:
    output = _run(tmp_path, lost=False)
    assert "INCOMPLETE" not in output and "EMULATED" not in output
    assert "pi@board: Raspberry Pi 4, aarch64, 4 cores" in output
    assert output.count("passed  ") == 3
    assert "error: None" in output
    assert json.loads(_single_file(tmp_path, "report-2*.json").read_text()) == {"brands": []}
    assert 'tests="3"' in _single_file(tmp_path, "junit-2*.xml").read_text()


def test_a_lost_board_is_one_line_and_the_results_so_far_are_saved(tmp_path: Path) -> None:
    output = _run(tmp_path, lost=True)
    line = "pi@board: it rebooted during the run"
    assert f"INCOMPLETE: 2 of 3 tests ran: {line}" in output
    assert f"error: {line}" in output
    assert "Traceback" not in output
    assert _single_file(tmp_path, "report-2*.json").exists()
    assert 'failures="1"' in _single_file(tmp_path, "junit-2*.xml").read_text()


@pytest.mark.parametrize("lost", [False, True])
def test_an_emulated_run_never_looks_like_a_measurement(tmp_path: Path, lost: bool) -> None:
    output = _run(tmp_path, lost=lost, emulated=True)
    assert "EMULATED: its times do not apply to a board" in output
    report = _single_file(tmp_path, "report-*.json")
    assert report.name.startswith("report-emulated-")
    content = json.loads(report.read_text())
    assert [brand["name"] for brand in content["brands"]] == ["emulated"]
    assert content["measurement"] is content["met"] is False
