"""`edge-runtime desk take` and `proposals`: what boards enrolled, and decisions on it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edge_runtime.cli.common import count_of, echo, json_option, print_json
from edge_runtime.cli.desk.options import desk_option

if TYPE_CHECKING:
    from edge_runtime.desk.edit import Choice

F = TypeVar("F", bound=Callable[..., Any])


@click.command("take")
@desk_option
@json_option
@click.argument("source", type=click.File("rb"))
def take_file(folder: Path, as_json: bool, source: Any) -> None:
    """Take the proposals in SOURCE, a file of `edge-runtime fleet proposals --export`."""
    from edge_runtime.desk.folder import Desk
    from edge_runtime.desk.intake import MOST_PROPOSAL_BYTES, Taken, limits_of, take

    desk = Desk(folder)
    limits, total = limits_of(desk), Taken()
    while lines := source.readlines(MOST_PROPOSAL_BYTES):
        part = take(desk.store, ((None, line) for line in lines if line.strip()), limits)
        for name, count in vars(part).items():
            setattr(total, name, getattr(total, name) + count)
    if as_json:
        print_json(vars(total))
    else:
        echo(f"{count_of(total.new, 'new proposal')}, {total.known} known, {total.refused} refused")


@click.group("proposals")
def group() -> None:
    """List, accept and reject what boards propose."""


@group.command("list")
@desk_option
@json_option
@click.option("--refused", is_flag=True, help="Show messages that were not taken, and why.")
def list_proposals(folder: Path, as_json: bool, refused: bool) -> None:
    """List the proposals that wait for a decision."""
    from edge_runtime.desk.folder import Desk

    desk = Desk(folder)
    if refused:
        found = desk.store.refused()
        if as_json:
            print_json([vars(each) for each in found])
        for row in () if as_json else found:
            echo(f"{row.count:>8}  {row.board}  {row.reason}")
        return
    pending = desk.store.proposals(bodies=False)
    if as_json:
        print_json(
            [
                {
                    "digest": each.digest.hex(),
                    "board": each.board,
                    "label": each.label,
                    "received_at": each.received_at,
                }
                for each in pending
            ]
        )
        return
    for each in pending:
        at = datetime.fromtimestamp(each.received_at, UTC)
        echo(f"{each.digest.hex()[:12]}  {at:%Y-%m-%d %H:%M}  {each.board}  {each.label}")


def _choice(function: F) -> F:
    function = click.option("--all", "every", is_flag=True, help="All that wait.")(function)
    function = click.option("--board", help="Those of this board.")(function)
    function = click.option("--from-label", help="Those with this label.")(function)
    return click.argument("digests", nargs=-1)(function)


def _chosen(**given: Any) -> Choice:
    from edge_runtime.desk.edit import Choice

    return Choice(given["digests"], given["from_label"], given["board"], given["every"])


@group.command("accept")
@desk_option
@_choice
@click.option("--label", help="Accept them under this label instead.")
def accept_proposals(folder: Path, label: str | None, **given: Any) -> None:
    """Enroll proposals in the desk's gallery; the next version tells the boards."""
    from edge_runtime.desk.edit import accept, chosen
    from edge_runtime.desk.folder import Desk

    desk = Desk(folder)
    echo(f"accepted {count_of(accept(desk, chosen(desk, _chosen(**given)), label), 'proposal')}")


@group.command("reject")
@desk_option
@_choice
def reject_proposals(folder: Path, **given: Any) -> None:
    """Reject proposals; boards remove them when they have read the next version."""
    from edge_runtime.desk.edit import chosen, reject
    from edge_runtime.desk.folder import Desk

    desk = Desk(folder)
    echo(f"rejected {count_of(reject(desk, chosen(desk, _chosen(**given))), 'proposal')}")


COMMANDS = (take_file, group)
