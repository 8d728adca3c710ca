"""deploy/rollout.py: a model that the fleet rolled out becomes a release, or the old one stays."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fleet.releases import ID, Board, bundle, release, rollout


def test_a_model_becomes_a_release_with_its_own_gallery(board: Board) -> None:
    new = board.home.with_name("gallery-abababababab.sqlite")
    new.write_text("the new model's")
    board.request(gallery=new.name)
    assert board.take() == ""
    assert (board.text, board.gallery) == ("good", new)
    name = board.board.current
    assert board.record | {"time": 0} == {
        "id": ID,
        "attempt": 1,
        "action": "install",
        "state": "ready",
        "why": "",
        "release": name,
        "tries": 1,
        "time": 0,
    }
    assert board.board.state.good == [name, "base"]
    assert board.board.fault(name) == ""
    venv = board.prefix / "releases" / name / "venv"
    assert (venv / "bin" / "edge-runtime").read_text() == f"#!{venv}/bin/python\n"
    assert f"{venv}\n" in (venv / "pyvenv.cfg").read_text()
    files = [path for path in venv.parent.rglob("*") if path.is_file()]
    assert {path.lstat().st_nlink for path in files} == {1}  # no other release has them
    unit = (board.folder / "edge-runtime.service").read_text()
    assert unit == f"Environment=EDGE_RUNTIME_GALLERY={board.prefix}/current/gallery.sqlite\n"
    assert not (board.prefix / "rollout").exists()

    assert board.take() == ""  # the same request again: nothing happens
    assert board.restarts == [name]


def test_a_way_back_leads_to_the_gallery_of_the_old_model(board: Board) -> None:
    board.request(gallery="gallery-new.sqlite")
    assert board.take() == ""
    board.request(action="back")
    assert board.take() == ""
    assert (board.text, board.gallery) == ("old", board.home)
    assert board.record["state"] == "back"
    assert board.home.read_text() == "gallery"
    board.request(attempt=2, gallery="gallery-new.sqlite")  # --resume
    assert board.take() == ""
    assert (board.text, board.gallery.name) == ("good", "gallery-new.sqlite")


def test_back_changes_nothing_on_a_board_that_was_deployed_to_since(board: Board) -> None:
    board.request()
    assert board.take() == ""
    shutil.copytree(board.prefix / "releases" / "base", board.prefix / "releases" / "other")
    board.board.begin("other", board.folder / "edge-runtime.service", running=True)
    board.board.check()
    board.board.confirm("other", 3)
    board.request(action="back")
    assert board.take() == ""
    assert board.board.current == "other"
    assert board.record["why"] == "this board was not on it"


def test_a_model_that_never_becomes_ready_is_left(board: Board) -> None:
    board.request(bundle("hangs"), gallery="gallery-new.sqlite")
    assert "did not become ready in 60 s" in board.take()
    assert (board.text, board.gallery) == ("old", board.home)
    assert board.record["state"] == "failed"
    assert board.board.state.good == ["base"]
    assert [path.name for path in (board.prefix / "releases").iterdir()] == ["base"]
    tried = len(board.restarts)
    assert board.take() == ""  # once is enough
    assert len(board.restarts) == tried
    board.request(bundle(), attempt=2)
    assert board.take() == ""
    assert board.text == "good"


def test_the_program_says_one_line(board: Board) -> None:
    shutil.copy(Path(release.__file__), board.prefix)
    shutil.copy(Path(rollout.__file__), board.prefix)
    command = [sys.executable, "-I", str(board.prefix / "rollout.py"), f"--spool={board.spool}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")  # no request
    (board.spool / "request.json").write_text("{}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("deploy: roll-out: request.json is not a request")
    assert done.stderr.count("\n") == 1


def test_the_units_are_valid_for_systemd(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here")
    units = []
    for name in ("edge-runtime-rollout.path", "edge-runtime-rollout.service"):
        text = (Path(rollout.__file__).parent / "units" / name).read_text()
        units.append(tmp_path / name)
        units[-1].write_text(text.replace("/usr/bin/python3", sys.executable))
    command = ["systemd-analyze", "verify", *map(str, units)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if "edge-runtime-rollout" in line] == []
