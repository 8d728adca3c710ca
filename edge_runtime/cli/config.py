"""`edge-runtime config check|show|example`."""

from __future__ import annotations

from pathlib import Path

import click

_FILE = click.argument("file", type=click.Path(path_type=Path))


@click.group("config")
def command() -> None:
    """The daemon's configuration file: check it, show it, begin one."""


@command.command("check")
@_FILE
def check(file: Path) -> None:
    """Is FILE right? Exit code 3: no, with the line and the key."""
    from edge_runtime.settings import read_settings

    read_settings(file)
    click.echo(f"{file}: right")


@command.command("show")
@_FILE
def show(file: Path) -> None:
    """What is in force with FILE, defaults included."""
    from edge_runtime.settings import read_settings
    from edge_runtime.settings.describe import shown

    click.echo(shown(read_settings(file)), nl=False)


@command.command("example")
def example() -> None:
    """A whole file to begin with: every key, its meaning and its default."""
    from edge_runtime.settings.describe import example as text

    click.echo(text(), nl=False)
