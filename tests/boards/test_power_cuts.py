"""A deployment on a disk whose power is cut. After each cut, the board starts a whole release.

deploy/board.sh and deploy/release.py are the real ones, and so is the file system. What they
install is a stand-in of 300 small files, which checks all of them when it starts.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_runtime.system.durable import make_folder, write_file
from tests.support.power import Disk
from tests.support.processes import ROOT
from tests.support.systemd import write_systemctl

pytestmark = pytest.mark.slow
FILES = 300
SENT = (
    *("units/edge-runtime.service", "units/edge-runtime-rollout.path"),
    *("units/edge-runtime-rollout.service", "units/edge-runtime-fleet.service"),
    *("board.sh", "command.sh", "python.sh", "release.py", "rollout.py"),
)
MINUTE_S = 60
COMMIT_S = 5
"""How often ext4 makes names and sizes durable."""
WRITEBACK_S = 30
"""When the kernel begins to write the content of files that nobody synced."""

PYTHON = """#!/bin/sh
# Stands in for Python, pip and the packages that pip installs.
bin=$(dirname "$0") real={real}
case "$*" in
  "-m venv"*)
    for folder; do :; done
    mkdir -p "$folder/bin" "$folder/lib"
    cp "$0" "$folder/bin/python" ;;
  "-m pip"*source)
    for source; do :; done
    cp "$source/program" "$bin/edge-runtime"
    rm -rf "$bin/../lib/modules"
    cp -r "$source/modules" "$bin/../lib/modules" ;;
  "-m edge_runtime doctor --json"*) echo '{{"findings": []}}' ;;
  "-m "*) ;;
  *) exec "$real" -S "$@" ;;
esac
"""
PROGRAM = """#!{real} -S
# The stand-in for the service: ready if all files of its release are whole.
import os, pathlib, signal, socket
release = pathlib.Path(__file__).resolve().parents[2]
wanted = (release / "model/text").read_text()
modules = list((release / "venv/lib/modules").iterdir())
assert wanted and len(modules) == {files}
assert all(module.read_text() == wanted for module in modules)
channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
channel.connect(os.environ["NOTIFY_SOCKET"])
channel.send(b"READY=1")
signal.pause()
"""


@dataclass
class Board:
    """A board with its folders on a disk whose power can be cut."""

    disk: Disk
    folder: Path
    """For what is lost at every boot."""

    def __post_init__(self) -> None:
        self.prefix = self.disk.place / "opt"
        self.units = self.disk.place / "units"
        self.staging = self.prefix / "staging"
        self.boots = 0
        for place in (self.staging, self.units, self.folder / "bin"):
            place.mkdir(parents=True)
        self.systemctl = write_systemctl(self.folder / "bin", self.folder, self.units)
        real = sys.executable
        self.python = self.folder / "bin" / "python3"
        self.python.write_text(PYTHON.format(real=real, files=FILES))
        self.python.chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
            "PYTHON": str(self.python),
            "PREFIX": str(self.prefix),
            "CONFIG": str(self.disk.place / "etc" / "edge.toml"),
            "UNITS": str(self.units),
            "GALLERY": str(self.disk.place / "state" / "gallery.sqlite"),
            "BIN": str(self.disk.place / "bin"),
            "OWNER": "root",
            "STEADY_S": "0",
            "BOOT_ID": str(self.folder / "boot_id"),
        }
        self.boot_id()

    def boot_id(self) -> None:
        self.boots += 1
        (self.folder / "boot_id").write_text(f"{self.boots}\n")

    def send(self, text: str) -> str:
        """Send the files of a release with the content `text`; return its name."""
        modules = [self.staging / "source" / "modules" / f"{i}.py" for i in range(FILES)]
        for path in (self.staging / "model" / "text", *modules):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        program = self.staging / "source" / "program"
        program.write_text(PROGRAM.format(real=sys.executable, files=FILES))
        program.chmod(0o755)
        (self.staging / "requirements.txt").touch()
        for name in SENT:
            shutil.copy(ROOT / "deploy" / name, self.staging)
        subprocess.run(["sh", ROOT / "deploy" / "list.sh", self.staging], check=True)
        done = subprocess.run(
            ["sha256sum", self.staging / "files.sha256"], check=True, capture_output=True, text=True
        )
        return done.stdout[:12]

    def start_deployment(self, release: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["sh", self.staging / "board.sh", release],
            env=self.environment,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def deploy(self, text: str) -> str:
        release = self.send(text)
        deployment = self.start_deployment(release)
        _, output = deployment.communicate(timeout=120)
        assert deployment.returncode == 0, output
        assert " is ready\n" in output
        return self.running()

    def running(self) -> str:
        """Return the content of the running release."""
        pid = int((self.folder / "pid").read_text().split()[0])
        program = Path(f"/proc/{pid}/cmdline").read_text().split("\0")[2]
        assert program == f"{self.prefix}/current/venv/bin/edge-runtime"
        return (self.prefix / "current" / "model" / "text").read_text()

    def stop(self) -> None:
        subprocess.run([self.systemctl, "stop"], check=True)

    def request(self, mark: str, attempt: int, action: str = "install") -> None:
        """Ask for a roll-out, as the follower does: the present model, and the file `mark`."""
        files = {"text": (self.prefix / "current/model/text").read_bytes(), "mark": mark.encode()}
        digests = {
            name: {"sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()
        }
        files["manifest.json"] = json.dumps({"files": digests}).encode()
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for name, data in files.items():
                member = tarfile.TarInfo(f"model/{name}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        spool, content = self.disk.place / "state" / "rollout", archive.getvalue()
        make_folder(spool)
        digest = hashlib.sha256(content).hexdigest()
        write_file(spool / f"{digest[:12]}.tar", content)
        request = {"id": digest[:12], "attempt": attempt, "action": action}
        request |= {"sha256": digest, "bytes": len(content)}
        write_file(spool / "request.json", json.dumps(request).encode())

    def start_roll_out(self) -> subprocess.Popen[str]:
        """Start what the path unit would, and does at boot."""
        spool = self.disk.place / "state" / "rollout"
        return subprocess.Popen(
            [sys.executable, "-I", self.prefix / "rollout.py", "--spool", spool],
            env=self.environment,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def mark(self) -> str:
        """Return the mark of the running release; empty for the one that was deployed."""
        self.running()
        file = self.prefix / "current" / "model" / "mark"
        return file.read_text() if file.exists() else ""

    def boot(self) -> str:
        """Start as systemd would after a power cut; return the content of the running release."""
        self.boot_id()
        assert (self.units / "multi-user.target.wants" / "edge-runtime.service").is_symlink()
        done = subprocess.run([self.systemctl, "restart"], env=self.environment, check=False)
        assert done.returncode == 0, (self.folder / "log").read_text()[-2000:]
        return self.running()

    def cut(self) -> str:
        self.stop()
        self.disk.cut()
        return self.boot()

    def age(self, seconds: float, chance: random.Random) -> None:
        """Let the kernel do what it does in `seconds` with what nobody synced."""
        if seconds >= WRITEBACK_S:
            files = [path for path in self.prefix.rglob("*") if path.is_file()]
            for path in chance.sample(files, len(files) // 10):
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        if seconds >= COMMIT_S:
            self.disk.commit()


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    disk = Disk(tmp_path, megabytes=1000)
    try:
        board = Board(disk, tmp_path / "state")
        yield board
        board.stop()
    finally:
        disk.remove()


def test_power_cuts_in_the_minute_after_ready(board: Board) -> None:
    chance = random.Random(20)
    board.deploy("release 1\n" * 100)
    new = "release 2\n" * 100
    assert board.deploy(new) == new
    for instant in range(50):
        board.age(instant * MINUTE_S / 49, chance)
        board.stop()
        with board.disk.after_a_cut():
            assert board.boot() == new
            board.stop()


def test_power_cuts_during_a_deployment(board: Board) -> None:
    chance = random.Random(21)
    text = "release 0\n" * 100
    started = time.monotonic()
    board.deploy(text)
    took_s = time.monotonic() - started
    for number in range(1, 13):
        new = f"release {number}\n" * 100
        deployment = board.start_deployment(board.send(new))
        time.sleep(chance.uniform(0, took_s))
        os.killpg(deployment.pid, signal.SIGKILL)
        deployment.communicate()
        board.age(chance.uniform(0, MINUTE_S), chance)
        before, text = text, board.cut()
        assert text in (before, new)
    assert board.deploy("the last\n") == "the last\n"
    assert json.loads((board.prefix / "state.json").read_bytes())["trial"] is None


def test_power_cuts_during_a_roll_out(board: Board) -> None:
    chance = random.Random(22)
    board.deploy("release 0\n" * 100)
    board.request("first", 1)
    started = time.monotonic()
    _, output = board.start_roll_out().communicate(timeout=120)
    assert board.mark() == "first", output
    took_s, mark = time.monotonic() - started, "first"
    for number in range(8):
        new = f"mark {number}"
        board.request(new, 1)
        roll_out = board.start_roll_out()
        time.sleep(chance.uniform(0, took_s))
        os.killpg(roll_out.pid, signal.SIGKILL)
        roll_out.communicate()
        board.age(chance.uniform(0, MINUTE_S), chance)
        board.cut()
        assert board.mark() in (mark, new)
        _, output = board.start_roll_out().communicate(timeout=120)  # at boot
        assert board.mark() == new, output
        record = json.loads((board.prefix / "rollout.json").read_bytes())
        assert record["state"] == "ready"
        mark = new
