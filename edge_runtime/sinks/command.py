"""Events to a program of the user's: run once for each, with the event on its standard input."""

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
    """Runs a program, without a shell, so that no label is ever taken for a command.

    The event comes as one line of JSON on standard input, and as EDGE_KIND, EDGE_LABEL and
    EDGE_CONFIDENCE in the environment.
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
                start_new_session=True,  # so that a child of it can be ended with it
                env={
                    **os.environ,
                    "EDGE_KIND": event.kind,
                    "EDGE_LABEL": event.label,
                    "EDGE_CONFIDENCE": f"{event.confidence:.3f}",
                },
            )
        except OSError as error:
            raise SinkError(
                f"it cannot be run: {error.strerror}",
                where=where,
                remedy="check its path and mode",
                retry=False,
            ) from error
        line = json.dumps(asdict(event), ensure_ascii=False) + "\n"
        try:
            _, said = child.communicate(line.encode(), timeout=self._timeout_s)
        except subprocess.TimeoutExpired as error:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
            raise SinkError(
                f"it took longer than {self._timeout_s:g} s and was ended", where=where, retry=False
            ) from error
        if child.returncode:
            last = (said.decode(errors="replace").strip().splitlines() or [""])[-1]
            raise SinkError(
                f"it ended with code {child.returncode}" + (f": {last}" if last else ""),
                where=where,
                retry=False,
            )
