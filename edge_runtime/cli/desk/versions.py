"""`edge-runtime desk publish`, `rollback` and `versions`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_runtime.cli.common import count_of, echo, json_option, print_json
from edge_runtime.cli.desk.options import desk_option

if TYPE_CHECKING:
    from edge_runtime.desk.store import Version


@click.command("publish")
@desk_option
@json_option
@click.option("--note", default="", help="A line for the list of versions.")
def publish_gallery(folder: Path, as_json: bool, note: str) -> None:
    """Sign the desk's gallery as the next version, if anything has changed."""
    from edge_runtime.desk.folder import Desk
    from edge_runtime.desk.publish import publish

    _show(publish(Desk(folder), note), as_json)


@click.command("rollback")
@desk_option
@json_option
@click.option("--discard-changes", is_flag=True, help="Discard what is not published.")
@click.argument("number", type=click.IntRange(1))
def roll_back_to(folder: Path, as_json: bool, discard_changes: bool, number: int) -> None:
    """Sign the content of version NUMBER as the next version."""
    from edge_runtime.desk.edit import roll_back
    from edge_runtime.desk.folder import Desk

    _show(roll_back(Desk(folder), number, discard=discard_changes), as_json)


@click.command("versions")
@desk_option
@json_option
def list_versions(folder: Path, as_json: bool) -> None:
    """List the published versions, the newest first."""
    from edge_runtime.desk.folder import Desk

    found = Desk(folder).store.versions()
    if as_json:
        print_json([vars(each) for each in found])
        return
    for each in found:
        at = datetime.fromtimestamp(each.published_at, UTC)
        pictures = count_of(each.pictures, "picture")
        echo(f"{each.number:>7}  {at:%Y-%m-%d %H:%M}  {pictures}  {each.note}")


def _show(version: Version | None, as_json: bool) -> None:
    if as_json:
        print_json(None if version is None else vars(version))
    elif version is None:
        echo("nothing has changed since the last version")
    else:
        echo(
            f"version {version.number}: {count_of(version.pictures, 'picture')} of "
            f"{count_of(version.labels, 'label')}, {count_of(version.operations, 'operation')}, "
            f"{version.bytes} bytes"
        )


COMMANDS = (publish_gallery, roll_back_to, list_versions)
