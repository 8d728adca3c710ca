"""Run a user's program once per event, with the event on its standard input."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from edge_runtime.errors import SinkError
from edge_runtime.shortage import is_noexec
from edge_runtime.sinks.base import Sink
from edge_runtime.sinks.child import ChildTimeoutError, run_child
from edge_runtime.types import Event

_SHORTAGES = frozenset(
    (errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ETXTBSY)
)
"""Errors that pass: no process, descriptor or memory is free, or the program is being replaced."""


class CommandSink(Sink):
    """Runs a program without a shell, so that a label is never interpreted as a command.

    The program receives the event as one line of JSON on standard input, and as EDGE_KIND,
    EDGE_LABEL and EDGE_CONFIDENCE in the environment.
    """

    name = "exec"

    def __init__(self, command: Sequence[str], *, timeout_s: float = 10.0) -> None:
        self._command = list(command)
        self._timeout_s = timeout_s

    def publish(self, event: Event) -> None:
        """See `Sink.publish`."""
        where = f"exec {self._command[0]}"
        environment = {
            **os.environ,
            "EDGE_KIND": event.kind,
            "EDGE_LABEL": event.label,
            "EDGE_CONFIDENCE": f"{event.confidence:.3f}",
        }
        line = json.dumps(asdict(event), ensure_ascii=False) + "\n"
        run_program(
            self._command,
            line.encode(),
            environment=environment,
            timeout_s=self._timeout_s,
            where=where,
        )


def run_program(
    command: Sequence[str],
    data: bytes,
    *,
    environment: Mapping[str, str],
    timeout_s: float,
    where: str,
) -> None:
    """Run `command` with `data` on its standard input; raises `SinkError`, which names `where`."""
    try:
        code, last = run_child(command, data, environment=environment, timeout_s=timeout_s)
    except ChildTimeoutError as error:
        raise SinkError(f"killed after {timeout_s:g} s", where=where, retry=False) from error
    except OSError as error:
        raise _cannot_run(command[0], error, where) from error
    if code:
        raise SinkError(
            f"exited with code {code}" + (f": {last}" if last else ""), where=where, retry=False
        )


def _cannot_run(name: str, error: OSError, where: str) -> SinkError:
    """Return the error for a program that did not start; a shortage passes."""
    program = shutil.which(name)
    noexec = error.errno == errno.EACCES and is_noexec(program or name)
    return SinkError(
        f"cannot run the program: {'its disk is mounted noexec' if noexec else error.strerror}",
        where=where,
        remedy="it is tried again"
        if error.errno in _SHORTAGES
        else "check its path and permissions",
        retry=error.errno in _SHORTAGES,
    )
