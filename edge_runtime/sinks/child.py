"""Run a program within a time limit, whatever it prints and whatever it leaves behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress

KEPT_BYTES = 4096
"""The last bytes of standard error that are kept; the rest is read and dropped."""
LONGEST_LINE = 200
_BLOCK = 1 << 16
_REAP_S = 2.0
"""Time for a killed program to end. One that hangs in a driver is reaped when it does."""
_POLL_S = 0.05
"""Pause between two looks at the program, on kernels that cannot announce its end."""


class ChildTimeoutError(Exception):
    """The program was still running at its time limit, and was killed."""


def run_child(
    command: Sequence[str], data: bytes, *, environment: Mapping[str, str], timeout_s: float
) -> tuple[int, str]:
    """Run `command` with `data` on its standard input; return its exit code and last line.

    Returns when the program itself has ended, even if processes that it started still hold its
    standard error open. At `timeout_s` the program and its process group are killed. Raises
    `ChildTimeoutError`, and `OSError` if the program cannot be started.
    """
    end_s = time.monotonic() + timeout_s
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,  # so that its children can be killed with it
        env=environment,
    )
    tail = _Tail(child, data)
    try:
        while child.poll() is None:
            rest_s = end_s - time.monotonic()
            if rest_s <= 0:
                raise ChildTimeoutError
            tail.exchange(rest_s)
        tail.drain()
        return child.returncode, tail.last_line()
    finally:
        if child.poll() is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                child.wait(_REAP_S)
        tail.close()


class _Tail:
    """The pipes of a running program: feeds its input and keeps the end of its output."""

    def __init__(self, child: subprocess.Popen[bytes], data: bytes) -> None:
        assert child.stdin and child.stderr
        self._data, self._kept = memoryview(data), b""
        self._stack = ExitStack()
        for pipe in (child.stdin, child.stderr):
            self._stack.callback(self._close_pipe, pipe)
            os.set_blocking(pipe.fileno(), False)
        self._input: int | None = child.stdin.fileno()
        self._stdin = child.stdin
        self._output: int | None = child.stderr.fileno()
        self._end: int | None = None
        with suppress(OSError, AttributeError):  # before Linux 5.3, or no descriptor is free
            self._end = os.pidfd_open(child.pid)
            self._stack.callback(os.close, self._end)

    def exchange(self, limit_s: float) -> None:
        """Wait up to `limit_s` for the program to read, write or end."""
        poll = select.poll()
        if self._input is not None:
            poll.register(self._input, select.POLLOUT)
        if self._output is not None:
            poll.register(self._output, select.POLLIN)
        if self._end is not None:
            poll.register(self._end, select.POLLIN)
        else:
            limit_s = min(limit_s, _POLL_S)
        ready = {descriptor for descriptor, _ in poll.poll(limit_s * 1000)}
        if self._input in ready:
            self._write()
        if self._output in ready:
            self._read()

    def drain(self) -> None:
        """Read what the program printed before it ended; never wait for more."""
        for _ in range(64):  # its children may go on writing
            if self._output is None or not self._read():
                return

    def last_line(self) -> str:
        """Return the last line of the output, without control characters."""
        lines = self._kept.decode(errors="replace").strip().splitlines() or [""]
        return "".join(each if each.isprintable() else " " for each in lines[-1][-LONGEST_LINE:])

    def close(self) -> None:
        self._stack.close()

    def _write(self) -> None:
        try:
            assert self._input is not None
            self._data = self._data[os.write(self._input, self._data) :]
        except BlockingIOError:
            return
        except OSError:  # the program reads no further
            self._data = memoryview(b"")
        if not self._data:
            self._close_pipe(self._stdin)
            self._input = None

    def _read(self) -> bool:
        """Read one block; return whether there was one."""
        try:
            assert self._output is not None
            block = os.read(self._output, _BLOCK)
        except BlockingIOError:
            return False
        except OSError:
            block = b""
        if not block:
            self._output = None
            return False
        self._kept = (self._kept + block)[-KEPT_BYTES:]
        return True

    @staticmethod
    def _close_pipe(pipe: object) -> None:
        with suppress(OSError):
            pipe.close()  # type: ignore[attr-defined]
