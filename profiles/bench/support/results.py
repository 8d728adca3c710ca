"""Writing reports, and ending a command that could not produce one."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from edge_runtime.errors import EdgeRuntimeError, storage_error


def write_report(report: dict[str, Any], out: Path | None) -> None:
    """Write `report` as JSON to the file `out`, or to stdout if that is None."""
    text = json.dumps(report, indent=1)
    if out:
        out.write_text(text + "\n", encoding="utf-8")
    else:
        click.echo(text)


@contextmanager
def exit_on_error(command: str) -> Iterator[None]:
    """On an error inside the block, print one line and exit with the exit code of the error."""
    try:
        yield
    except (EdgeRuntimeError, OSError) as fault:
        error = storage_error(fault, fault.filename) if isinstance(fault, OSError) else fault
        if error is None:
            raise
        click.echo(f"{command}: {error}", err=True)
        sys.exit(error.exit_code)
