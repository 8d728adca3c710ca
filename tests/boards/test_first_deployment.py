"""The first `make deploy`: page, token, certificate and command; and several boards at once.

Everything is real but Python's packages: they are not installed, and the service is a stand-in.
"""

from __future__ import annotations

import getpass
import os
import re
import shutil
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from device_tests.devices.sshd import MISSING, Sshd
from edge_runtime.settings import read_settings
from edge_runtime.web.access import read_tokens
from edge_runtime.web.tls import open_tls
from tests.support.processes import ROOT
from tests.support.systemd import write_systemctl

pytestmark = pytest.mark.skipif(
    bool(MISSING) or not shutil.which("rsync") or not shutil.which("openssl"),
    reason="no ssh server, rsync or openssl: apt install openssh-server rsync openssl",
)

PYTHON = """#!/bin/sh
# Stands in for Python and pip, but runs the real edge-runtime of this checkout.
bin=$(dirname "$0")
case "$*" in
  "-m venv"*)
    for folder; do :; done
    mkdir -p "$folder/bin"
    cp "$0" "$folder/bin/python" ;;
  "-m pip"*source) cp "{program}" "$bin/edge-runtime" ;;
  "-m pip"* | *doctor*) ;;
  *) cd "{root}" && exec "{real}" "$@" ;;
esac
"""
PROGRAM = """#!{real} -S
# The service is ready at once; every other command prints what it was given.
import os, signal, socket, sys
if sys.argv[1:2] == ["run"] and "NOTIFY_SOCKET" in os.environ:
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    channel.connect(os.environ["NOTIFY_SOCKET"])
    channel.send(b"READY=1")
    signal.pause()
print(*sys.argv[1:])
for name in ("MODEL", "GALLERY", "CONFIG"):
    print(name, os.environ.get("EDGE_RUNTIME_" + name))
"""


class Board:
    """This machine as a board without an earlier release."""

    def __init__(self, folder: Path, server: Sshd) -> None:
        self.folder, self.server = folder, server
        for name in ("bin", "units", "bundle"):
            (folder / name).mkdir()
        self.systemctl = write_systemctl(folder / "bin", folder, folder / "units")
        (folder / "program").write_text(PROGRAM.format(real=sys.executable))
        (folder / "program").chmod(0o755)
        self.python = folder / "bin" / "python3"
        self.python.write_text(
            PYTHON.format(program=folder / "program", root=ROOT, real=sys.executable)
        )
        self.python.chmod(0o755)
        (folder / "bundle" / "manifest.json").write_text("{}")
        self.config = folder / "etc" / "edge.toml"
        self.state = folder / "state"
        self.command = folder / "local" / "edge-runtime"

    def deploy(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        here = {
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
            "PYTHON": self.python,
            "CONFIG": self.config,
            "UNITS": self.folder / "units",
            "GALLERY": self.state / "gallery.sqlite",
            "BIN": self.command.parent,
            "OWNER": getpass.getuser(),
            "STEADY_S": "0",
        }
        return subprocess.run(
            ["sh", *(arguments or (ROOT / "deploy" / "push.sh", "test", self.server.host))],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env={
                **os.environ,
                "SSH": self.server.ssh,
                "PREFIX": str(self.folder / "opt"),
                "BUNDLE": str(self.folder / "bundle"),
                "BOARD_ENV": " ".join(f"{name}={value}" for name, value in here.items()),
                "NO_SUDO": "1",
            },
        )


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    with Sshd(tmp_path) as server:
        board = Board(tmp_path, server)
        yield board
        subprocess.run([board.systemctl, "stop"], check=False)


@pytest.mark.slow
def test_the_page_and_the_command_after_the_first_deployment(board: Board) -> None:
    done = board.deploy()
    assert done.returncode == 0, done.stderr
    token = (board.folder / "etc" / "token").read_text().strip()
    assert re.fullmatch("[0-9a-f]{32}", token)
    assert done.stderr.count(token) == 1
    assert re.search(
        r"the page is at https://[^ ]+:8080/ and https://[^ ]+\.local:8080/", done.stderr
    )
    assert re.search(r"^deploy:   ([0-9A-F]{2}:){31}[0-9A-F]{2}$", done.stderr, re.MULTILINE)
    assert done.stderr.splitlines()[-1].startswith("deploy: next: open the page")

    # What was written is a configuration with which the daemon starts.
    settings = read_settings(board.config)
    assert settings.http is not None
    assert settings.http.host == "0.0.0.0"
    assert read_tokens(settings.http).owner == token
    assert isinstance(open_tls(settings.http), ssl.SSLContext)
    assert board.config.resolve() == board.state / "edge.toml"  # where the service may write
    for name, mode in (("token", 0o600), ("key.pem", 0o600), ("edge.toml", 0o640)):
        assert stat.S_IMODE((board.folder / "etc" / name).stat().st_mode) == mode, name
    assert stat.S_IMODE(board.state.stat().st_mode) == 0o2770
    names = subprocess.run(
        [
            "openssl",
            "x509",
            "-in",
            settings.http.certificate_file,
            "-noout",
            "-ext",
            "subjectAltName",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f"DNS:{os.uname().nodename}.local" in names and "IP Address:127.0.0.1" in names

    # Again: nothing of it changes, and the token stays untold.
    kept = {path: path.read_bytes() for path in board.config.parent.iterdir()}
    done = board.deploy()
    assert done.returncode == 0, done.stderr
    assert token not in done.stderr
    assert "the page is at https://" in done.stderr
    assert {path: path.read_bytes() for path in board.config.parent.iterdir()} == kept

    # A configuration of the user without a page stays without one.
    (board.state / "edge.toml").write_text('camera.source = "0"\n')
    done = board.deploy()
    assert "the page is off; to see what the camera sees, add the table [http]" in done.stderr
    (board.state / "edge.toml").write_text("[http]\nport = 8081\n")
    done = board.deploy()
    assert f"ssh -L 8081:127.0.0.1:8081 {board.server.host}" in done.stderr


def _run(board: Board, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [board.command, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **variables},
    )


@pytest.mark.slow
def test_the_command_uses_what_the_service_uses(board: Board) -> None:
    assert board.deploy().returncode == 0
    model, gallery = board.folder / "opt/current/model", board.state / "gallery.sqlite"
    # Root gets no configuration, as the service can change it.
    config = None if os.geteuid() == 0 else board.config
    lines = _run(board, "enroll", "my photos").stdout.splitlines()
    assert lines == ["enroll my photos", f"MODEL {model}", f"GALLERY {gallery}", f"CONFIG {config}"]
    named = _run(board, "query", "x", EDGE_RUNTIME_GALLERY="g", EDGE_RUNTIME_CONFIG="c").stdout
    assert named.splitlines()[2:] == ["GALLERY g", "CONFIG c"]
    board.command.write_text("#!/bin/sh\necho mine\n")
    done = board.deploy()
    assert "is not from a deployment and stays as it is" in done.stderr
    assert _run(board).stdout == "mine\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_the_command_tells_a_stranger_what_to_do(board: Board) -> None:
    assert board.deploy().returncode == 0
    script = board.command.read_text()

    def by_nobody(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", script,
             "edge-runtime", *arguments],
            capture_output=True, text=True, check=False, cwd="/",
        )  # fmt: skip

    done = by_nobody("enroll", "photos")
    assert done.returncode == 6
    assert "only the group" in done.stderr and "sudo usermod -aG" in done.stderr
    assert done.stderr.count("\n") == 1
    for arguments in (("--version",), ("gallery", "list", "--gallery", "mine")):
        assert "usermod" not in by_nobody(*arguments).stderr


@pytest.mark.slow
def test_without_openssl_the_page_is_for_the_board_alone(board: Board) -> None:
    # A shell that finds everything but openssl.
    (board.folder / "bin" / "sh").write_text(
        "#!/bin/sh\ncase $1 in */board.sh) b=$1; shift; "
        'sed "s/command -v openssl/false/" "$b" > "$b.new"; exec /bin/sh "$b.new" "$@";; esac\n'
        'exec /bin/sh "$@"\n'
    )
    (board.folder / "bin" / "sh").chmod(0o755)
    done = board.deploy()
    assert done.returncode == 0, done.stderr
    assert "http://127.0.0.1:8080/ on the board only" in done.stderr
    assert not (board.folder / "etc" / "token").exists()
    settings = read_settings(board.config)
    assert settings.http is not None and settings.http.host == "127.0.0.1"


def test_a_board_that_fails_does_not_stop_the_others(board: Board) -> None:
    unknown = f"no-such-user@{board.server.host.rpartition('@')[2]}"
    done = board.deploy(str(ROOT / "deploy" / "many.sh"), "test", unknown, board.server.host)
    assert done.returncode == 255
    summary = done.stderr.splitlines()[-3:]
    assert summary == [
        "deploy: 2 boards:",
        f"deploy:   {unknown}: not reached by ssh (exit code 255)",
        f"deploy:   {board.server.host}: ready",
    ]
