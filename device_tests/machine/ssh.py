"""A board that is reached by ssh, through a configuration file of its own."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

from edge_runtime.errors import BoardLostError

HOST = "board"
"""Name of the board in the ssh configuration."""
CONFIG = """\
Host {host}
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentityFile {key}
  IdentitiesOnly yes
  StrictHostKeyChecking accept-new
  UserKnownHostsFile {folder}/known_hosts
  ConnectTimeout 60
  LogLevel ERROR
"""


class SshBoard:
    """Runs commands on a board. `folder` holds the configuration of ssh."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def ssh(self) -> str:
        """The ssh command that reaches `HOST`, for the variable SSH."""
        return f"ssh -F {self.folder}/ssh_config"

    def configure_ssh(self, port: int, user: str, key: Path) -> None:
        """Write the configuration; the board's key is accepted at the first connection."""
        (self.folder / "known_hosts").unlink(missing_ok=True)
        (self.folder / "ssh_config").write_text(
            CONFIG.format(host=HOST, port=port, user=user, key=key, folder=self.folder)
        )

    def run(
        self, command: str, *, check: bool = True, limit_s: float = 900
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command on the board.

        With `check`, a timeout or a nonzero exit code raises `BoardLostError`.
        """
        try:
            done = subprocess.run(
                [*self.ssh.split(), HOST, command],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=limit_s,
            )
        except subprocess.TimeoutExpired as error:
            if check:
                raise BoardLostError(f"timed out: {command}", where=HOST) from error
            return subprocess.CompletedProcess(command, 255, "", "")
        if check and done.returncode:
            output = (done.stderr or done.stdout).strip()
            raise BoardLostError(f"{command}: exit code {done.returncode}: {output}", where=HOST)
        return done


def free_port() -> int:
    """Return a port of the loopback address that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
