"""deploy/release.py: which release a board starts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.processes import ROOT
from tests.support.systemd import load

release = load("release")
MAIN = "venv/lib/edge_runtime/__main__.py"


class Deployment:
    """A board's folder and the steps of deploy/board.sh."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.prefix = folder / "opt"
        self.unit = folder / "edge-runtime.service"
        self.boot_id = folder / "boot_id"
        (self.prefix / "releases").mkdir(parents=True)
        monkeypatch.setattr(release, "BOOT_ID", self.boot_id)
        systemd = SimpleNamespace(run=lambda *_, **__: None, SubprocessError=OSError)
        monkeypatch.setattr(release, "subprocess", systemd)
        self.boot("1")

    def boot(self, name: str) -> None:
        self.boot_id.write_text(name + "\n")

    @property
    def board(self) -> Any:
        return release.Board(self.prefix)

    def file(self, name: str, path: str = MAIN) -> Path:
        return self.prefix / "releases" / name / path

    def install(self, name: str) -> None:
        assert self.board.place(name) == name
        for path in (MAIN, "venv/bin/python", "edge-runtime.service", "model/a b\u00e9.onnx"):
            self.file(name, path).parent.mkdir(parents=True, exist_ok=True)
            self.file(name, path).write_text(f"{path} of {name}")
        self.file(name, "venv/bin/python").chmod(0o755)
        self.board.seal(name)

    def begin(self, name: str, *, running: bool = False) -> None:
        self.board.begin(name, self.unit, running=running)

    def deploy(self, name: str) -> None:
        self.install(name)
        self.begin(name)
        assert self.start() == name
        self.board.confirm(name, 3)

    def start(self) -> str:
        self.board.check()
        current: str = self.board.current
        assert self.unit.read_text() == f"edge-runtime.service of {current}"
        return current


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    return Deployment(tmp_path, monkeypatch)


def test_a_good_release_is_started_in_every_boot(board: Deployment) -> None:
    board.deploy("a")
    board.deploy("b")
    for boot in ("1", "2", "2"):
        board.boot(boot)
        assert board.start() == "b"


@pytest.mark.parametrize("damage", ["empty", "missing", "changed", "list", "python", "release"])
def test_a_damaged_release_is_left(
    board: Deployment, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    board.deploy("a")
    board.deploy("b")
    assert board.start() == "b"
    text = board.file("b").read_text()
    if damage == "empty":
        board.file("b").write_text("")
    elif damage == "missing":
        board.file("b").unlink()
    elif damage == "changed":
        board.file("b").write_text(text.swapcase())
    elif damage == "list":
        board.file("b", "files.sha256").write_text("")
    elif damage == "python":
        board.file("b", "venv/bin/python").chmod(0o644)
    else:
        shutil.rmtree(board.file("b", "."))
    assert board.start() == "a"
    output = capsys.readouterr().err
    assert "going back to a" in output
    if damage in ("empty", "missing", "changed"):
        assert MAIN in output
    assert board.board.state.good == ["a"]

    board.deploy("c")
    assert board.board.state.good == ["c", "a"]


def test_an_unconfirmed_release_has_one_start(board: Deployment) -> None:
    board.deploy("a")
    board.install("b")
    board.begin("b")
    assert board.start() == "b"
    assert board.start() == "a"  # a second start in the same boot
    with pytest.raises(release.ReleaseError, match="no longer in use"):
        board.board.confirm("b", 3)
    assert board.start() == "a"


def test_an_unconfirmed_release_is_left_in_the_next_boot(board: Deployment) -> None:
    board.deploy("a")
    board.install("b")
    board.begin("b")
    board.boot("2")
    assert board.start() == "a"


def test_a_deployment_cut_before_or_after_each_step(board: Deployment) -> None:
    board.deploy("a")
    board.install("b")
    board.boot("2")
    assert board.start() == "a"  # sealed, never begun

    board.install("b")
    state = board.board.state
    board.begin("b")
    board.board.switch("a")  # the state is durable, the link is not
    board.boot("3")
    assert board.board.state != state
    board.board.check()
    assert board.board.current == "a"

    board.install("b")
    board.begin("b")
    board.board.revert()
    board.board.switch("b")  # the state of a rollback is durable, the link is not
    assert board.start() == "a"


def test_the_same_release_again_keeps_the_one_before(board: Deployment) -> None:
    board.deploy("a")
    board.deploy("b")
    assert board.board.place("b") == "b"
    board.begin("b")
    assert board.board.state.trial is None
    board.boot("2")
    assert board.start() == "b"  # it was confirmed before
    board.board.confirm("b", 3)
    assert board.board.state.good == ["b", "a"]
    assert board.board.revert() == "a"  # not ready this time


def test_the_same_release_again_after_damage_is_installed_anew(board: Deployment) -> None:
    board.deploy("a")
    board.deploy("b")
    board.file("b").write_text("")
    assert board.board.place("b") == "b-2"  # b is in use
    board.deploy("b-2")
    assert board.board.state.good[0] == "b-2"
    assert "a" in board.board.state.good
    board.file("b-2").write_text("")
    assert board.start() == "a"


def test_only_the_last_good_releases_are_kept(board: Deployment) -> None:
    for name in "abcde":
        board.deploy(name)
    assert sorted(path.name for path in (board.prefix / "releases").iterdir()) == ["c", "d", "e"]


def test_a_damaged_earlier_release_is_passed_over(board: Deployment) -> None:
    for name in "abc":
        board.deploy(name)
    board.file("c").write_text("")
    board.file("b").write_text("")
    assert board.start() == "a"


@pytest.mark.parametrize("state", [None, "", "[]", '{"bad": 1}', "\0" * 100])
def test_a_lost_state_starts_the_release_in_use(board: Deployment, state: str | None) -> None:
    board.deploy("a")
    board.deploy("b")
    if state is None:
        (board.prefix / "state.json").unlink()
    else:
        (board.prefix / "state.json").write_text(state)
    assert board.start() == "b"
    board.file("b").write_text("")
    board.board.check()
    assert board.board.current == "a"


def test_the_only_release_is_started_even_if_damaged(
    board: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    board.deploy("a")
    board.file("a").write_text("")
    assert board.start() == "a"
    assert f"release a is damaged ({MAIN} is empty)" in capsys.readouterr().err


def test_a_board_without_any_release_says_so(board: Deployment) -> None:
    with pytest.raises(release.ReleaseError, match="run make deploy again"):
        board.board.check()


def test_a_release_of_an_earlier_version_counts_if_it_runs(board: Deployment) -> None:
    board.install("old")
    board.file("old", "files.sha256").unlink()
    board.board.switch("old")
    board.unit.write_text("edge-runtime.service of old")
    board.install("new")
    board.begin("new", running=True)
    assert board.board.state.good == ["old"]
    board.boot("2")
    assert board.start() == "old"


def test_a_release_leads_to_the_gallery_of_its_model(board: Deployment, tmp_path: Path) -> None:
    gallery, own = tmp_path / "gallery.sqlite", tmp_path / "gallery-abcdefabcdef.sqlite"
    board.install("a")
    link = board.file("a", "gallery.sqlite")
    board.board.link_gallery("a", gallery)  # its bundle has no manifest
    assert link.readlink() == gallery
    board.file("a", "model/manifest.json").write_text('{"model": {"id": "abcdefabcdef0123"}}')
    board.board.link_gallery("a", gallery)
    assert link.readlink() == gallery
    own.touch()  # a roll-out of this model left it
    board.board.link_gallery("a", gallery)
    assert link.readlink() == own


def test_the_list_is_that_of_sha256sum(board: Deployment) -> None:
    board.install("a")
    folder = board.file("a", ".")
    done = subprocess.check_output(["sha256sum", "--check", "files.sha256"], cwd=folder, text=True)
    assert done.count(": OK\n") == 4


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the runtime, to be damaged."""
    ignored = shutil.ignore_patterns("__pycache__", "*.c", "*.h")
    return Path(shutil.copytree(ROOT / "edge_runtime", tmp_path / "edge_runtime", ignore=ignored))


def _run(package: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        cwd=package.parent,
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_empty_main_is_an_error(package: Path) -> None:
    assert _run(package, "-m", "edge_runtime", "--version").returncode == 0
    (package / "__main__.py").write_text("")
    done = _run(package, "-m", "edge_runtime", "--version")
    assert done.returncode == 1
    assert "__main__.py is empty" in done.stderr


@pytest.mark.parametrize("files", ["__init__.py", "__main__.py", "cli/__init__.py", "**/*.py"])
def test_the_service_never_ends_well_without_its_files(package: Path, files: str) -> None:
    unit = (ROOT / "deploy" / "units" / "edge-runtime.service").read_text()
    (command,) = (line for line in unit.splitlines() if line.startswith("ExecStart="))
    assert "/bin/edge-runtime run" in command  # the script that pip writes, and not "-m"
    script = package.parent / "edge-runtime"
    script.write_text("import sys\nfrom edge_runtime.cli import main\nsys.exit(main())\n")
    for path in package.glob(files):
        path.write_text("")
    done = _run(package, str(script), "run", "--config", "/nonexistent.toml")
    assert done.returncode != 0
    assert done.stderr
