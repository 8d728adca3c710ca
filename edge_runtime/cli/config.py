"""`edge-runtime config check|show|example`."""

from __future__ import annotations

from pathlib import Path

import click

_FILE = click.argument("file", type=click.Path(path_type=Path))


@click.group("config")
def command() -> None:
    """Check, show or create the daemon's configuration file."""


@command.command("check")
@_FILE
def check(file: Path) -> None:
    """Check FILE. An error names the line and the key; the exit code is then 3."""
    from edge_runtime.settings import read_settings

    read_settings(file)
    click.echo(f"{file}: OK")


@command.command("show")
@_FILE
def show(file: Path) -> None:
    """Print all settings that FILE results in, including defaults."""
    from edge_runtime.settings import read_settings
    from edge_runtime.settings.describe import effective

    click.echo(effective(read_settings(file)), nl=False)


@command.command("example")
def example() -> None:
    """Print a complete example file: every key with its meaning and default."""
    from edge_runtime.settings.describe import example as text

    click.echo(text(), nl=False)
