"""The device tests reach a board over a real ssh server, and report every kind of failure."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from device_tests.devices import board as board_module
from device_tests.devices.board import SshDevice
from device_tests.devices.lease_agent import MARK, processes
from device_tests.devices.sshd import MISSING, Sshd
from edge_runtime.errors import (
    BoardLostError,
    BoardUnfitError,
    BoardUnreachableError,
    InputError,
)
from tests.support.processes import ROOT

pytestmark = pytest.mark.skipif(bool(MISSING), reason="no ssh server: apt install openssh-server")

CLIENT = """
import sys, time
from device_tests.devices.board import SshDevice
with SshDevice(sys.argv[1]) as device:
    print(device.folder, flush=True)
    device.program("sleep", "600")
"""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    """A server whose user has a temporary home folder."""
    folder = tmp_path / "sshd"
    folder.mkdir()
    with Sshd(folder, home=tmp_path) as started:
        monkeypatch.setenv("SSH", started.ssh)
        yield started


def _home(server: Sshd) -> Path:
    return server.folder.parent / ".edge-runtime-device-test"


def _until(condition: Callable[[], object], limit_s: float = 60.0) -> None:
    end_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end_s, "the condition was never met"
        time.sleep(0.05)


def _marked(run: str) -> list[int]:
    return [number for number in processes(run) if number != os.getpid()]


def test_files_are_copied_both_ways_and_nothing_is_left(server: Sshd, tmp_path: Path) -> None:
    (tmp_path / "a folder").mkdir()
    (tmp_path / "a folder" / "it's").write_bytes(bytes(range(256)))
    with SshDevice(server.host) as device:
        assert device.info.cores == os.cpu_count()
        assert "Linux" in device.info.system
        place = device.put(tmp_path / "a folder")
        assert place.startswith(f"{_home(server)}/run-")
        done = device.program("cat", f"{place}/it's")
        assert done.returncode == 0
        device.get(f"{place}/it's", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == bytes(range(256))
        with pytest.raises(FileNotFoundError):
            device.get(f"{place}/nothing", tmp_path / "nothing")
        done = device.program("sh", "-c", "echo $TMPDIR; echo two words >&2; exit 7")
        assert done.stdout.strip() == f"{device.folder}/tmp"
        assert (done.returncode, done.stderr) == (7, "two words\n")
    assert not _home(server).exists()


def test_every_ssh_failure_is_one_line(
    server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(host: str, ssh: str) -> str:
        monkeypatch.setenv("SSH", ssh)
        with pytest.raises(BoardUnreachableError) as caught, SshDevice(host):
            pass
        assert caught.value.exit_code == 12
        return str(caught.value)

    host, ssh = server.host, server.ssh
    assert "no such host" in fails("pi@no-such-board.invalid", ssh)
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other_key"], check=True
    )
    config = (server.folder / "config").read_text()
    (tmp_path / "no-key").write_text(
        config.replace(f"{server.folder}/key", f"{tmp_path}/other_key")
    )
    message = fails(host, f"ssh -F {tmp_path}/no-key")
    assert "it asks for a password" in message and f"ssh-copy-id {host}" in message
    (tmp_path / "unknown").write_text(config.replace("/known", "/missing"))
    message = fails(host, f"ssh -F {tmp_path}/unknown")
    assert "its host key is not known here" in message and f"ssh {host}" in message
    known = (server.folder / "known").read_text().split()[0]
    key = (tmp_path / "other_key.pub").read_text()
    (server.folder / "changed").write_text(f"{known} {key}")
    (tmp_path / "other").write_text(config.replace("/known", "/changed"))
    message = fails(host, f"ssh -F {tmp_path}/other")
    assert "its host key has changed" in message and "ssh-keygen -R" in message
    server.stop()
    assert "it runs no ssh server" in fails(host, ssh)
    server.start()
    assert "the ssh program is missing" in fails(host, "/no/such/ssh")
    with pytest.raises(InputError, match="not a host name"), SshDevice("-oProxyCommand=x"):
        pass


@pytest.mark.parametrize(
    ("python", "message"),
    [
        ("", "no Python found: sudo apt install python3-venv"),
        ('[ "$1" = -c ] && case "$2" in *version_info*) exit 1;; *) echo 3.9.2;; esac',
         "Python 3.9.2 is too old; 3.11 or newer is required"),
        ('case "$2" in *ensurepip*) exit 1;; esac', "cannot create virtual environments: sudo"),
    ],
)  # fmt: skip
def test_a_board_without_a_usable_python(python: str, message: str, tmp_path: Path) -> None:
    if python:
        (tmp_path / "python3").write_text(f"#!/bin/sh\n{python}\n")
        (tmp_path / "python3").chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", ROOT / "deploy" / "python.sh"],
        capture_output=True, text=True, check=False, env={"PATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 9
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_device_passes_the_message_on(server: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_module, "ROOT", server.folder)
    (server.folder / "deploy").mkdir()
    (server.folder / "deploy" / "python.sh").write_text("echo Python 2 is too old >&2; exit 9")
    with pytest.raises(BoardUnfitError, match="Python 2 is too old"), SshDevice(server.host):
        pass
    assert not _home(server).exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_workstation_that_is_interrupted_leaves_nothing(
    server: Sshd, how: signal.Signals
) -> None:
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, server.host],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT,
    )  # fmt: skip
    assert client.stdout
    folder = Path(client.stdout.readline().strip())
    run = folder.name.removeprefix("run-")
    _until(lambda: _marked(run))
    assert folder.exists()
    client.send_signal(how)
    client.stdout.close()
    _until(lambda: not _home(server).exists())
    assert _marked(run) == []
    client.wait(60)


def test_a_broken_connection_cleans_up_on_both_sides(server: Sshd) -> None:
    with contextlib.ExitStack() as stack:
        device = SshDevice(server.host)
        stack.enter_context(device)
        assert device._lease_agent
        device._lease_agent.kill()  # the ssh process that holds the connection
        with pytest.raises(BoardLostError, match="the connection broke"):
            _until(lambda: device.program("sleep", "0.2") is None)
        with pytest.raises(BoardLostError):  # further calls fail in the same way
            device.program("true")
    _until(lambda: not _home(server).exists())


def test_the_board_cleans_up_after_a_silent_workstation(
    server: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board_module, "SILENCE_S", 1.0)
    monkeypatch.setattr(SshDevice, "_beat", lambda *_: None)
    with SshDevice(server.host) as device:
        _until(lambda: not Path(device.folder).exists())


def test_a_board_that_reboots_is_distinguished_from_one_that_does_not(server: Sshd) -> None:
    with SshDevice(server.host) as device:
        device._boot = "an earlier boot"
        assert device._lease_agent
        device._lease_agent.kill()
        with pytest.raises(BoardLostError, match="it rebooted during the run"):
            _until(lambda: device.program("sleep", "0.2") is None)


def test_a_board_that_does_not_come_back(server: Sshd) -> None:
    with SshDevice(server.host, return_s=1.0) as device:
        server.stop()
        assert device._lease_agent
        device._lease_agent.kill()
        with pytest.raises(BoardLostError, match="has not come back"):
            _until(lambda: device.program("sleep", "0.2") is None)
    server.start()


def test_the_leftovers_of_a_power_cut_are_swept_and_nothing_else(server: Sshd) -> None:
    home = _home(server)
    left = home / "run-left"
    left.mkdir(parents=True)
    (left / "lease").touch()
    (home / "packages").mkdir()
    (home.parent / "run-other").mkdir()
    orphan = subprocess.Popen(["sleep", "600"], env={**os.environ, MARK: "left"})
    with SshDevice(server.host) as living, SshDevice(server.host) as device:
        assert living.swept == ["run-left"]
        assert device.swept == []  # the other run is still active
        assert Path(living.folder).exists()
        assert not left.exists()
    assert orphan.wait(10) == -signal.SIGTERM
    assert sorted(path.name for path in home.iterdir()) == ["packages"]
    assert (home.parent / "run-other").exists()


def test_the_parcel_holds_what_a_board_installs(tmp_path: Path) -> None:
    parcel = tmp_path / "parcel"
    subprocess.run(["sh", ROOT / "deploy" / "parcel.sh", parcel], check=True)
    assert sorted(path.name for path in parcel.iterdir()) == ["requirements.txt", "source"]
    assert (parcel / "source" / "edge_runtime" / "py.typed").exists()
    assert not list(parcel.rglob("*.so"))
