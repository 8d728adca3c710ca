"""Where a benchmark's report goes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click


def deliver(report: dict[str, Any], out: Path | None) -> None:
    """Write `report` as JSON to the file `out`, or else to stdout."""
    text = json.dumps(report, indent=1)
    if out:
        out.write_text(text + "\n", encoding="utf-8")
    else:
        click.echo(text)
