"""Run a user's program once per event, with the event on its standard input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict

from edge_runtime.errors import SinkError
from edge_runtime.sinks.base import Sink
from edge_runtime.types import Event


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
        try:
            child = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,  # so that its children can be killed with it
                env={
                    **os.environ,
                    "EDGE_KIND": event.kind,
                    "EDGE_LABEL": event.label,
                    "EDGE_CONFIDENCE": f"{event.confidence:.3f}",
                },
            )
        except OSError as error:
            raise SinkError(
                f"cannot run the program: {error.strerror}",
                where=where,
                remedy="check its path and permissions",
                retry=False,
            ) from error
        line = json.dumps(asdict(event), ensure_ascii=False) + "\n"
        try:
            _, stderr = child.communicate(line.encode(), timeout=self._timeout_s)
        except subprocess.TimeoutExpired as error:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
            raise SinkError(
                f"killed after {self._timeout_s:g} s", where=where, retry=False
            ) from error
        if child.returncode:
            last = (stderr.decode(errors="replace").strip().splitlines() or [""])[-1]
            raise SinkError(
                f"exited with code {child.returncode}" + (f": {last}" if last else ""),
                where=where,
                retry=False,
            )
