"""A network of its own for each process, whose cable can be pulled.

Each host is a network namespace with one end of a veth pair; the other end is in a bridge, in a
namespace of its own too, so nothing outside of them changes. A namespace lives as long as the
process that holds it. The holders die with this program, also if it is killed, and the kernel then
removes namespaces, links and bridge: nothing is left to be cleaned.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from edge_runtime.errors import ReportError

_PREFIX = "198.18.0"
"""Reserved for tests of networks (RFC 2544), and unreachable from outside of the namespaces."""
_PROGRAMS = ("ip", "nsenter", "unshare", "sleep")
_PR_SET_PDEATHSIG = 1
_WAIT_S = 10.0


def die_with_parent() -> None:
    """Let the kernel kill this process when the thread that started it ends (`preexec_fn`)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Network:
    """One machine: every process has the same address, and nothing can be cut."""

    can_cut = False

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)

    def address(self, name: str) -> str:
        """Return the address at which others reach `name`."""
        return "127.0.0.1"

    def inside(self, name: str) -> list[str]:
        """Return what to put before a command, to run it as the host `name`."""
        return []

    def cut(self, name: str) -> None:
        """Pull the cable of `name`."""

    def mend(self, name: str) -> None:
        """Plug it in again."""

    def close(self) -> None:
        """Remove the network."""


class Namespaces(Network):
    """A namespace for each host."""

    can_cut = True

    def __init__(self, names: Sequence[str]) -> None:
        """Raises `ReportError` if this machine does not allow it."""
        super().__init__(names)
        self._holders: dict[str, subprocess.Popen[bytes]] = {}
        self._hub = ""
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def address(self, name: str) -> str:
        """See `Network`."""
        return f"{_PREFIX}.{self.names.index(name) + 1}"

    def inside(self, name: str) -> list[str]:
        """See `Network`."""
        return ["nsenter", f"--net=/proc/{self._holders[name].pid}/ns/net", "--"]

    def cut(self, name: str) -> None:
        """See `Network`: packets are lost in both directions, as without a cable."""
        self._ip(self._hub, f"link set {self._port(name)} down")

    def mend(self, name: str) -> None:
        """See `Network`."""
        self._ip(self._hub, f"link set {self._port(name)} up")

    def close(self) -> None:
        """See `Network`."""
        for holder in self._holders.values():
            holder.kill()
            holder.wait()
        self._holders.clear()

    def _build(self) -> None:
        self._hub = "(hub)"
        for name in (self._hub, *self.names):
            self._hold(name)
        lines = ["link add bridge type bridge", "link set bridge up"]
        for name in self.names:
            port, pid = self._port(name), self._holders[name].pid
            lines.append(f"link add {port} type veth peer name eth0 netns {pid}")
            lines.append(f"link set {port} master bridge up")
        self._ip(self._hub, *lines)
        for name in self.names:
            self._ip(
                name,
                "link set lo up",
                f"addr add {self.address(name)}/24 dev eth0",
                "link set eth0 up",
            )

    def _hold(self, name: str) -> None:
        """Start a process in a new namespace, and wait until it is there."""
        command = ["unshare", "--net", "sleep", "infinity"]
        holder = self._holders[name] = subprocess.Popen(
            command, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent
        )
        own, place = Path("/proc/self/ns/net").readlink(), Path(f"/proc/{holder.pid}/ns/net")
        end_s = time.monotonic() + _WAIT_S
        while holder.poll() is None and time.monotonic() < end_s:
            if place.readlink() != own:
                return
            time.sleep(0.005)
        raise ReportError("a network namespace cannot be made", where="unshare --net")

    def _port(self, name: str) -> str:
        return f"port{self.names.index(name)}"

    def _ip(self, name: str, *lines: str) -> None:
        done = subprocess.run(
            [*self.inside(name), "ip", "-batch", "-"],
            input="\n".join(lines) + "\n",
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ReportError(done.stderr.strip()[-200:] or "failed", where=f"ip in {name}")


def open_network(names: Sequence[str]) -> tuple[Network, str]:
    """Return a network for these hosts; one without partitions comes with the reason."""
    if os.geteuid():
        return Network(names), "not root"
    if missing := [each for each in _PROGRAMS if shutil.which(each) is None]:
        return Network(names), f"no {' and no '.join(missing)}"
    try:
        return Namespaces(names), ""
    except ReportError as error:
        return Network(names), str(error)
