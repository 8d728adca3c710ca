"""A roll-out of another model, all the way: a desk, signed files over HTTP, three boards.

Real: the desk's files and decisions, the follower, root's script, doctor, daemons and galleries. A
replacement for systemctl starts the service, and the test calls what the path unit would start.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.desk.folder import Desk
from edge_runtime.desk.intake import take_status
from edge_runtime.desk.rollout.decision import Limits
from edge_runtime.desk.rollout.steps import abort, situation, start, step
from edge_runtime.desk.settings import DeskSettings
from edge_runtime.desk.setup import make_desk
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.enroll import EnrollOptions, enroll_photos
from edge_runtime.gallery import Gallery
from edge_runtime.image import Image
from edge_runtime.model import MODEL_FILE
from tests.support.bundles import portable_bundle
from tests.support.fleet.tuf_client import file_server
from tests.support.processes import ROOT
from tests.support.systemd import write_systemctl

pytestmark = pytest.mark.slow
OTHER_FILE = "mobilenet_v1_hash64.onnx"
UNIT = """[Service]
ExecStartPre=-+{python} -I {prefix}/release.py check
ExecStart={prefix}/current/venv/bin/edge-runtime run --config {config}
Environment=EDGE_RUNTIME_MODEL={prefix}/current/model
Environment=EDGE_RUNTIME_GALLERY={prefix}/current/gallery.sqlite
"""


@dataclass
class Board:
    """A board that was deployed to, with folders and a service of its own."""

    name: str
    folder: Path

    @property
    def prefix(self) -> Path:
        return self.folder / "opt"

    @property
    def gallery(self) -> Path:
        """The one of the release in use."""
        return (self.prefix / "current" / "gallery.sqlite").readlink()

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
            "READY_S": "60",
            "STEADY_S": "0.5",
        }

    def deploy(self, bundle: Path, gallery: Path, video: Path, extra: str = "") -> None:
        release = self.prefix / "releases" / "base"
        for name in ("bin", "units", "state"):
            (self.folder / name).mkdir(parents=True)
        write_systemctl(self.folder / "bin", self.folder, self.folder / "units")
        subprocess.run(
            [sys.executable, "-m", "venv", "--without-pip", release / "venv"], check=True
        )
        (packages,) = (release / "venv").glob("lib/python3*/site-packages")
        here = [path for path in sys.path if path.endswith("site-packages")]
        (packages / "shared.pth").write_text("\n".join([str(ROOT), *here, ""]))
        command = release / "venv" / "bin" / "edge-runtime"
        command.write_text(
            f"#!{release}/venv/bin/python\nimport sys\nfrom edge_runtime.cli import main\nmain()\n"
        )
        command.chmod(0o755)
        shutil.copytree(bundle, release / "model")
        shutil.copy(gallery, self.folder / "state" / "gallery.sqlite")
        config = self.folder / "edge.toml"
        config.write_text(f'[camera]\nsource = "{video}"\nloop = true\nfps = 2\n{extra}')
        (release / "gallery.sqlite").symlink_to(self.folder / "state" / "gallery.sqlite")
        unit = UNIT.format(python=sys.executable, prefix=self.prefix, config=config)
        (release / "edge-runtime.service").write_text(unit)
        for script in ("release.py", "rollout.py"):
            shutil.copy(ROOT / "deploy" / script, self.prefix)
        self.release("seal", "base")
        self.release("begin", "base")
        subprocess.run(["systemctl", "restart"], env=self.environment(), check=True)
        self.release("confirm", "base")

    def release(self, *arguments: str) -> None:
        unit = self.folder / "units" / "edge-runtime.service"
        script = self.prefix / "release.py"
        subprocess.run([sys.executable, script, *arguments, "--unit", unit], check=True)

    def follow(self) -> dict[str, object]:
        """One look of the follower; return the board's status."""
        self.run("fleet", "follow", "--once")
        path = self.folder / "state" / "gallery.sqlite.fleet" / "status.json"
        return dict(json.loads(path.read_bytes()))

    def rollout(self, status: dict[str, object] | None = None) -> dict[str, object]:
        """What the board says of the roll-out in its status, by default that of a new look."""
        found = (status or self.follow())["rollout"]
        assert isinstance(found, dict)
        return found

    def root(self) -> subprocess.CompletedProcess[str]:
        """What edge-runtime-rollout.service runs."""
        script = self.prefix / "rollout.py"
        return subprocess.run(
            [sys.executable, "-I", script, "--spool", self.folder / "state" / "rollout"],
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    def run(self, *arguments: str | Path) -> str:
        """Run the command of the release in use, as the service's user would."""
        variables = {
            "EDGE_RUNTIME_MODEL": str(self.prefix / "current" / "model"),
            "EDGE_RUNTIME_GALLERY": str(self.prefix / "current" / "gallery.sqlite"),
            "EDGE_RUNTIME_PREFIX": str(self.prefix),
        }
        done = subprocess.run(
            [self.prefix / "current" / "venv" / "bin" / "edge-runtime", *arguments],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def recognize(self, photo: Path) -> str:
        return str(json.loads(self.run("query", photo, "--json"))["label"])

    def runs(self) -> bool:
        active = ["systemctl", "is-active"]
        return subprocess.run(active, env=self.environment(), check=False).returncode == 0


@dataclass
class Fleet:
    desk: Desk
    boards: list[Board]

    def poll(self) -> dict[str, str]:
        """Let every board look, let root act, and report to the desk, as a minute would."""
        states = {}
        for board in self.boards:
            if board.rollout()["state"] == "asked":
                board.root()
            status = board.follow()
            states[board.name] = str(board.rollout(status)["state"])
            take_status(self.desk.store, [(board.name, json.dumps(status).encode(), False)])
        return states


@pytest.fixture
def photo(tmp_path: Path, cat: Image) -> Path:
    path = tmp_path / "cat.png"
    cv2.imwrite(str(path), cat)
    return path


def _gallery(path: Path, model: Path, photo: Path) -> Path:
    engine = PortableEngine(model)
    with Gallery(path, engine.model, create=True) as gallery:
        enroll_photos(engine, gallery, [("cat", photo)], EnrollOptions(keep_pictures=True))
    return path


@pytest.fixture
def fleet(
    tmp_path: Path, cat: Image, photo: Path, request: pytest.FixtureRequest
) -> Iterator[Fleet]:
    video = tmp_path / "cat.mp4"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"mp4v"), 20, (320, 240))
    for _ in range(10):
        writer.write(np.asarray(cv2.resize(cat, (320, 240)), np.uint8))
    writer.release()
    old = _gallery(tmp_path / "old.sqlite", ROOT / "models" / MODEL_FILE, photo)
    bundle = portable_bundle(tmp_path / "old bundle", ROOT / "models" / MODEL_FILE)
    desk = make_desk(tmp_path / "desk", tmp_path / "root", DeskSettings(fleet="shop"), gallery=old)
    boards = []
    with file_server(desk.public) as url:
        for name in getattr(request, "param", ("hall", "garden", "stuck")):
            folder = tmp_path / name
            folder.mkdir()
            board = Board(name, folder)
            # The stuck board's configuration insists on the gallery of the old model.
            fixed = (
                f'[gallery]\npath = "{folder}/state/gallery.sqlite"\n' if name == "stuck" else ""
            )
            board.deploy(bundle, old, video, fixed)
            board.run("fleet", "join", url, "--root", desk.root, "--board", name)
            boards.append(board)
        yield Fleet(desk, boards)
        for board in boards:
            subprocess.run(["systemctl", "stop"], env=board.environment(), check=False)


def test_a_board_that_is_not_ready_halts_the_roll_out_and_goes_back(
    fleet: Fleet, tmp_path: Path, photo: Path
) -> None:
    hall, garden, stuck = fleet.boards
    assert all(board.runs() for board in fleet.boards)
    other = ROOT / "models" / OTHER_FILE
    bundle = portable_bundle(tmp_path / "new bundle", other)
    gallery = _gallery(tmp_path / "new.sqlite", other, photo)
    limits = Limits(wait_s=600, failures=0)
    rollout = start(fleet.desk, bundle, gallery=gallery, waves=(100.0,), limits=limits)

    assert fleet.poll() == {"hall": "ready", "garden": "ready", "stuck": "failed"}
    assert (found := step(fleet.desk)) and found.action == "halt", found
    now = situation(fleet.desk)
    assert now and now.rollout.state == "halted"
    assert "stuck: release " in now.course.why and "before it became ready" in now.course.why
    assert sorted(now.progress.ready) == ["garden", "hall"]

    for board in fleet.boards:
        assert board.runs()
        assert board.recognize(photo) == "cat"
        with Gallery(board.gallery, read_only=True) as present:
            expected = json.loads((board.prefix / "current/model/manifest.json").read_text())
            assert present.model_id == expected["model"]["id"]
    assert (stuck.prefix / "current").readlink().name == "base"
    assert stuck.gallery.name == "gallery.sqlite"
    assert hall.gallery.name == garden.gallery.name == f"gallery-{rollout.model_id[:12]}.sqlite"

    with Gallery(hall.gallery) as present:  # enrolled since the switch
        engine = PortableEngine(other)
        enroll_photos(engine, present, [("tom", photo)], EnrollOptions(keep_pictures=True))
    abort(fleet.desk)
    assert fleet.poll() == {"hall": "back", "garden": "back", "stuck": "back"}
    for board in fleet.boards:
        assert (board.prefix / "current").readlink().name == "base"
        assert board.runs()
        assert board.recognize(photo) == "cat"
    with Gallery(hall.folder / "state" / f"gallery-{rollout.model_id[:12]}.sqlite") as kept:
        assert set(kept.labels()) == {"cat", "tom"}
    with Gallery(hall.gallery) as present:  # and hashed by the old model again
        assert set(present.labels()) == {"cat", "tom"}


@pytest.mark.parametrize("fleet", [("hall",)], indirect=True)
def test_what_was_changed_or_is_for_another_cpu_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    (hall,) = fleet.boards
    model = ROOT / "models" / MODEL_FILE
    foreign = portable_bundle(tmp_path / "foreign", model, features=["no_such_feature"])
    start(fleet.desk, foreign, waves=(100.0,))
    assert fleet.poll() == {"hall": "failed"}
    assert (found := step(fleet.desk)) and found.action == "halt"
    assert "hall: doctor: bundle: " in found.why and "no_such_feature" in found.why
    abort(fleet.desk)
    assert fleet.poll() == {"hall": "back"}

    rollout = start(fleet.desk, portable_bundle(tmp_path / "new", model, cpu="x"), waves=(100.0,))
    archive = fleet.desk.repository().path_of(rollout.archive)
    content = archive.read_bytes()
    archive.write_bytes(content[:5000] + b"?" + content[5001:])
    said = hall.rollout()
    assert said["state"] == "failed" and "was changed after it was signed" in str(said["why"])
    assert not list((hall.folder / "state" / "rollout").glob("*.tar"))
    assert (hall.prefix / "current").readlink().name == "base" and hall.runs()
    archive.write_bytes(content)
    assert fleet.poll() == {"hall": "ready"}
    assert (hall.prefix / "current").readlink().name != "base" and hall.runs()
    assert hall.gallery.name == "gallery.sqlite"  # the model is the same
