"""Telling systemd how we are (sd_notify(3)); silent where nobody asked."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress


class Notifier:
    """Speaks to the service manager that started us, if one did."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        watchdog_us = os.environ.get("WATCHDOG_USEC", "")
        ours = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.interval_s = int(watchdog_us) / 2e6 if watchdog_us.isdecimal() and ours else None
        """How often it wants to hear from the work loop: half of its patience. None: never."""

    def ready(self, status: str) -> None:
        """Everything has been started (or reloaded)."""
        self._send("READY=1", f"STATUS={status}")

    def alive(self) -> None:
        """The work loop turns. Called from it and from nowhere else."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={text}")

    def reloading(self) -> None:
        """The configuration is read again; `ready` says when that is done."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The end has begun."""
        self._send("STOPPING=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        # Without its manager, a service goes on.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.settimeout(0.1)
            channel.sendto("\n".join(lines).encode(), address)
