"""Where a report goes, and how a command ends that could not make one."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from edge_runtime.errors import EdgeRuntimeError, storage_error


def deliver(report: dict[str, Any], out: Path | None) -> None:
    """Write `report` as JSON to the file `out`, or else to stdout."""
    text = json.dumps(report, indent=1)
    if out:
        out.write_text(text + "\n", encoding="utf-8")
    else:
        click.echo(text)


@contextmanager
def one_line(command: str) -> Iterator[None]:
    """What goes wrong inside ends the process with one line and the error's exit code."""
    try:
        yield
    except (EdgeRuntimeError, OSError) as fault:
        error = storage_error(fault, fault.filename) if isinstance(fault, OSError) else fault
        if error is None:
            raise
        click.echo(f"{command}: {error}", err=True)
        sys.exit(error.exit_code)
