"""Status messages to systemd (sd_notify(3)); does nothing without a service manager."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress


class Notifier:
    """Sends status messages to the service manager that started this process, if there is one."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        watchdog_us = os.environ.get("WATCHDOG_USEC", "")
        ours = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.interval_s = int(watchdog_us) / 2e6 if watchdog_us.isdecimal() and ours else None
        """Seconds between two calls of `alive`: half of the watchdog's timeout. None if the service
        manager has no watchdog for this process."""

    def ready(self, status: str) -> None:
        """Report that starting, or reloading, is complete."""
        self._send("READY=1", f"STATUS={status}")

    def alive(self) -> None:
        """Feed the watchdog. Only the main loop may call this."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Set the status line that `systemctl status` shows."""
        self._send(f"STATUS={text}")

    def reloading(self) -> None:
        """Report that the configuration is being read again; call `ready` when that is done."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Report that shutdown has begun."""
        self._send("STOPPING=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        # The daemon keeps running if the service manager does not answer.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.settimeout(0.1)
            channel.sendto("\n".join(lines).encode(), address)
