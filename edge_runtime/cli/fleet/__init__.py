"""`edge-runtime fleet`."""

from __future__ import annotations

import click

from edge_runtime.cli.fleet import follow, membership


@click.group("fleet")
def command() -> None:
    """Share one gallery with other boards: follow what a desk signs (docs/FLEET.md)."""


for each in (*membership.COMMANDS, *follow.COMMANDS):
    command.add_command(each)
