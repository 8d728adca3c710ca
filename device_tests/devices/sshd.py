"""An ssh server of its own on this machine, as the user who starts it: a board always at hand.

It listens on 127.0.0.1 alone, on a free port, and lets in the one key that it has made.
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
    """While the context lasts; all its files are in `folder`, which exists."""

    def __init__(self, folder: Path, home: Path | None = None) -> None:
        """`home`: what those who log in find in $HOME."""
        self.folder, self._home = folder, home or Path.home()
        self.host = f"{getpass.getuser()}@127.0.0.1"

    @property
    def ssh(self) -> str:
        """The command that reaches it, for the variable SSH."""
        return f"ssh -F {self.folder}/config"

    def __enter__(self) -> Sshd:
        """Raises `BoardUnreachableError` where there is no ssh server to start."""
        if MISSING:
            raise BoardUnreachableError(
                f"there is no {MISSING[0]} here", remedy="apt install openssh-server"
            )
        for name in ("key", "host_key"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / name]
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
        """Start it, and wait until it listens."""
        assert PROGRAM
        command = [PROGRAM, "-D", "-f", self.folder / "sshd_config"]
        self._server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    break
            time.sleep(0.05)

    def stop(self) -> None:
        """End it; lines that are open stay."""
        self._server.terminate()
        self._server.wait()

    def __exit__(self, *_: Any) -> None:
        self.stop()
