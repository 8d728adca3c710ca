"""The statements in a current ClickHouse, in this process: make setup-clickhouse."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT

PACKAGES = ROOT / "build" / "chdb"
"""Where make setup-clickhouse installs chdb, whose 530 MB no environment needs otherwise."""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PACKAGES.exists() and importlib.util.find_spec("chdb") is None,
        reason="chdb is not installed: make setup-clickhouse",
    ),
]


def test_a_current_clickhouse_gives_the_answers_of_a_sort(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "profiles.bench.server.clickhouse"]
    done = subprocess.run(
        [*command, "--codes", "200000", "--queries", "4", "--out", str(report)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(PACKAGES)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())
    assert found["different"] == 0
    assert [each["queries"] for each in found["scopes"]] == [4] * 4
