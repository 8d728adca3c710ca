"""A private ssh server on this machine, which tests use as a board.

It runs as the current user, listens on a free port of 127.0.0.1 only, and accepts only the key
that it creates.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from edge_runtime.errors import BoardUnreachableError

PROGRAM = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin")
MISSING = [tool for tool in ("ssh", "ssh-keygen") if not shutil.which(tool)]
MISSING += [] if PROGRAM else ["sshd"]


class Sshd(AbstractContextManager["Sshd"]):
    """An ssh server that runs while the context lasts and keeps its files in `folder`."""

    def __init__(self, folder: Path, home: Path | None = None) -> None:
        """`home`: the value of $HOME for those who log in. Default: that of the current user."""
        self.folder, self._home = folder, home or Path.home()
        self.host = f"{getpass.getuser()}@127.0.0.1"

    @property
    def ssh(self) -> str:
        """The ssh command that reaches the server, for the variable SSH."""
        return f"ssh -F {self.folder}/config"

    def __enter__(self) -> Sshd:
        """Start the server; raises `BoardUnreachableError` if a program for it is missing."""
        if MISSING:
            raise BoardUnreachableError(
                f"the program {MISSING[0]} is missing", remedy="apt install openssh-server"
            )
        for name in ("key", "host_key"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)]
            subprocess.run(command, check=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        (self.folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.folder}/host_key\n"
            f"AuthorizedKeysFile {self.folder}/key.pub\nStrictModes no\nUsePAM no\n"
            f"PermitRootLogin yes\nPidFile {self.folder}/sshd.pid\nSetEnv HOME={self._home}\n"
        )
        host_key = (self.folder / "host_key.pub").read_text()
        (self.folder / "known").write_text(f"[127.0.0.1]:{self.port} {host_key}")
        (self.folder / "config").write_text(
            f"Host *\n Port {self.port}\n IdentityFile {self.folder}/key\n IdentitiesOnly yes\n"
            f" UserKnownHostsFile {self.folder}/known\n"
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        self.start()
        return self

    def start(self) -> None:
        """Start the server and wait until it listens."""
        assert PROGRAM
        command = [PROGRAM, "-D", "-f", str(self.folder / "sshd_config")]
        self._server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    break
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop accepting connections. Open connections stay."""
        self._server.terminate()
        self._server.wait()

    def __exit__(self, *_: Any) -> None:
        self.stop()
