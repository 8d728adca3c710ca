"""A fleet of processes under faults agrees in the end, and loses no enrollment."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemon.broker import needs_broker
from tests.support.processes import ROOT


def _live(folder: Path, boards: int, seconds: float, seed: int) -> dict[str, object]:
    """Return what the benchmark found."""
    command = [sys.executable, "-m", "profiles.bench.fleet", "--boards", boards]
    options = ["--seconds", seconds, "--seed", seed, "--keep", folder / "fleet"]
    done = subprocess.run(
        [str(each) for each in (*command, *options)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    result: dict[str, object] = json.loads(done.stdout)
    assert done.returncode == 0, result
    return result


@needs_broker
@pytest.mark.slow
@pytest.mark.parametrize(("boards", "seconds", "seed"), [(3, 15.0, 1), (6, 45.0, 2)])
def test_all_boards_hold_the_signed_content(
    tmp_path: Path, boards: int, seconds: float, seed: int
) -> None:
    result = _live(tmp_path, boards, seconds, seed)
    assert result["undecided"] == 0
    assert result["behind"] == []
    assert result["boards_with_the_signed_content"] == boards
    assert result["enrolled"]
    assert result["faults"]
