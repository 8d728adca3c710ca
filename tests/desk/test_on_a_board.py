"""A board has no part of the desk, and says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT

_WITHOUT_CHECKOUT = """
import runpy, sys
sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in getattr(f, "__module__", "")]
runpy.run_module("edge_runtime", run_name="__main__", alter_sys=True)
"""
"""Runs the command as on a board: an editable installation would find the checkout's desk."""


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is deployed to a board."""
    parcel = tmp_path_factory.mktemp("board") / "parcel"
    subprocess.run(["sh", ROOT / "deploy" / "parcel.sh", parcel], check=True)
    return parcel / "source"


def test_what_is_deployed_has_no_desk(board: Path) -> None:
    assert (board / "edge_runtime" / "fleet").is_dir()
    assert not (board / "edge_runtime" / "desk").exists()
    for path in (board / "edge_runtime").rglob("*.py"):
        if "desk" not in path.relative_to(board).parts:
            assert "import edge_runtime.desk" not in path.read_text(), path


@pytest.mark.parametrize("arguments", [["desk"], ["desk", "--help"], ["desk", "publish"]])
def test_the_command_says_so_in_one_line(board: Path, arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_CHECKOUT, *arguments],
        cwd=board,
        env={**os.environ, "PYTHONPATH": str(board)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 15
    assert done.stdout == ""
    assert done.stderr == (
        "edge-runtime: edge-runtime desk: not installed here, since a desk never runs on a board "
        "(use it on a workstation: pip install edge-runtime[desk])\n"
    )
