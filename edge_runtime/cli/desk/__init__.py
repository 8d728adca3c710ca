"""`edge-runtime desk`."""

from __future__ import annotations

import importlib.util
from typing import Any

import click

from edge_runtime.cli.desk import proposals, roll, setup, versions, work
from edge_runtime.errors import DeskError


class _DeskGroup(click.Group):
    """Says so where the desk is not installed: a board has no part of it."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        if importlib.util.find_spec("edge_runtime.desk") is None:
            raise DeskError(
                "not installed here, since a desk never runs on a board",
                where="edge-runtime desk",
                remedy="use it on a workstation: pip install edge-runtime[desk]",
            )
        return super().make_context(*arguments, **options)


@click.group("desk", cls=_DeskGroup)
def command() -> None:
    """Sign one gallery for all boards of a fleet, and decide on what they propose.

    A desk is a folder on a workstation. See docs/DESK.md.
    """


for module in (setup, proposals, versions, roll, work):
    for each in module.COMMANDS:
        command.add_command(each)
