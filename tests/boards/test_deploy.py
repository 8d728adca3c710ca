"""`make deploy` over a real ssh server on this machine."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest

from device_tests.devices.sshd import MISSING, Sshd
from edge_runtime.image import Image
from edge_runtime.model import MODEL_FILE
from tests.support.processes import ROOT
from tests.support.systemd import write_systemctl

needs_ssh = pytest.mark.skipif(
    bool(MISSING) or not shutil.which("rsync"),
    reason="no ssh server and rsync: apt install openssh-server rsync",
)


@dataclass
class Board:
    """This machine as a board that is reached over ssh, with separate folders."""

    folder: Path
    server: Sshd
    bundle: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def prefix(self) -> Path:
        return self.folder / "opt"

    def deploy(self, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
        here = {
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
            "PYTHON": sys.executable,
            "CONFIG": str(self.folder / "edge.toml"),
            "UNITS": str(self.folder / "units"),
            "GALLERY": str(self.folder / "gallery.sqlite"),
            "BIN": str(self.folder / "local"),
            "OWNER": getpass.getuser(),
            "READY_S": "20",
            "STEADY_S": "1",
            "CC": "false",  # the compiled lookup has its own tests
            **self.variables,
        }
        return subprocess.run(
            ["sh", root / "deploy" / "push.sh", "test", self.server.host],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            cwd=root,
            env={
                **os.environ,
                "SSH": self.server.ssh,
                "PREFIX": str(self.prefix),
                "BUNDLE": str(self.bundle),
                "BOARD_ENV": " ".join(f"{name}={value}" for name, value in here.items()),
                "NO_SUDO": "1",
            },
        )

    @property
    def current(self) -> str:
        return str((self.prefix / "current").readlink())

    def pid(self) -> int:
        return int((self.folder / "pid").read_text().split()[0])

    def command(self) -> str:
        return Path(f"/proc/{self.pid()}/cmdline").read_text().replace("\0", " ")


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory, cat: Image) -> Iterator[Board]:
    folder = tmp_path_factory.mktemp("board")
    for name in ("bin", "units", "bundle"):
        (folder / name).mkdir()
    manager = write_systemctl(folder / "bin", folder, folder / "units")
    shutil.copy(ROOT / "models" / MODEL_FILE, folder / "bundle" / "model.onnx")
    (folder / "bundle" / "manifest.json").write_text("{}")
    writer = cv2.VideoWriter(
        str(folder / "cat.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 20, (640, 480)
    )
    for _ in range(20):
        writer.write(np.asarray(cv2.resize(cat, (640, 480)), np.uint8))
    writer.release()
    (folder / "edge.toml").write_text(
        '[camera]\nsource = "cat.mp4"\nloop = true\nreal_time = true\n[http]\nport = 0\n'
    )
    _earlier_release(folder / "opt")
    with Sshd(folder) as server:
        yield Board(folder, server, folder / "bundle")
        subprocess.run([manager, "stop"], check=False)


def _earlier_release(prefix: Path) -> None:
    """Create a release whose packages are those of this environment, to avoid downloads."""
    venv = prefix / "releases" / "seed" / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    (packages,) = venv.glob("lib/python3*/site-packages")
    (packages / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    release = ROOT / "deploy" / "release.py"
    subprocess.run([sys.executable, release, "--prefix", prefix, "seal", "seed"], check=True)
    (prefix / "current").symlink_to("releases/seed")


@pytest.mark.slow
@needs_ssh
def test_deploy_again_and_roll_back(board: Board, tmp_path: Path) -> None:
    done = board.deploy()
    assert done.returncode == 0, done.stderr
    assert "is ready" in done.stderr
    assert "ok    model" in done.stderr  # the doctor's report
    first, pid = board.current, board.pid()
    sent = {path.name for path in (board.prefix / "staging" / "source").iterdir()}
    assert not sent & {
        "build",
        "edge_runtime.egg-info",
    }  # owned by root, they would break the next rsync
    assert first != "releases/seed"
    assert f"{board.prefix}/current/venv/bin/edge-runtime run" in board.command()
    assert "WatchdogSec=" in (board.folder / "units" / "edge-runtime.service").read_text()

    files = [path for path in (board.prefix / first).rglob("*") if path.is_file()]
    assert {path.lstat().st_nlink for path in files} == {1}  # no other release has them

    done = board.deploy()  # same release: nothing is installed, only restarted
    assert done.returncode == 0, done.stderr
    assert "installing" not in done.stderr
    assert board.current == first
    assert board.pid() != pid

    broken = tmp_path / "checkout"
    broken.mkdir()
    for name in ("edge_runtime", "deploy", "requirements"):
        shutil.copytree(ROOT / name, broken / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, broken)
    service = broken / "edge_runtime" / "daemon" / "service.py"
    service.write_text(service.read_text() + '\nraise RuntimeError("a release with a fault")\n')
    done = board.deploy(broken)
    assert done.returncode == 9
    output = done.stderr.partition("ended before it became ready:\n")[2]
    assert "a release with a fault" in output  # the reason, without a timeout
    assert f"rolling back to {Path(first).name}" in output
    assert board.current == first
    assert "/edge-runtime run" in board.command()

    (board.folder / "edge.toml").write_text("[camera]\nfps = 0\n")
    done = board.deploy()  # a wrong configuration changes nothing
    assert done.returncode == 3
    assert "edge.toml:2: camera.fps" in done.stderr
    assert board.current == first

    (board.folder / "edge.toml").write_text('[camera]\nsource = "cat.mp4"\nloop = true\n')
    board.variables["READY_S"] = "0.01"
    done = board.deploy()
    assert done.returncode == 9
    assert "did not become ready in 0.01 s:" in done.stderr
    assert "there is no previous release to roll back to" in done.stderr


def test_the_unit_is_valid_for_systemd(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here")
    unit = tmp_path / "edge-runtime.service"
    text = (ROOT / "deploy" / "units" / "edge-runtime.service").read_text()
    for program in ("/opt/edge-runtime/current/venv/bin/edge-runtime", "/usr/bin/python3"):
        text = text.replace(program, sys.executable)
    unit.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False
    )
    complaints = [line for line in done.stderr.splitlines() if "edge-runtime" in line]
    assert complaints == []
    for line in ("Type=notify", "ProtectSystem=strict", "SupplementaryGroups=video", "MemoryMax="):
        assert line in text
    # With the name instead of 81, a camera that is plugged in later would stay blocked.
    assert "DeviceAllow=char-81 rw" in text
    assert "char-video4linux" not in text


def test_deploy_without_a_bundle_or_board() -> None:
    done = subprocess.run(
        ["sh", ROOT / "deploy" / "push.sh", "no-such-target", "pi@board"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "make compile TARGET=no-such-target" in done.stderr


def test_an_unverified_bundle_is_not_deployed(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"verified": False}, indent=1))
    done = subprocess.run(
        ["sh", ROOT / "deploy" / "push.sh", "rpi4", "pi@board"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "BUNDLE": str(tmp_path)},
    )
    assert done.returncode == 2
    assert (
        done.stderr.count("\n") == 1
        and "is not verified (run: apt install qemu-user" in done.stderr
    )
