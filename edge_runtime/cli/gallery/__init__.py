"""`edge-runtime gallery`."""

from __future__ import annotations

import click

from edge_runtime.cli.gallery import advise, files, fit, labels


@click.group("gallery")
def command() -> None:
    """List, edit, back up and check what is enrolled.

    An enrolled picture has one code per view, six by default.
    """


for each in (*labels.COMMANDS, *files.COMMANDS, *fit.COMMANDS, *advise.COMMANDS):
    command.add_command(each)
