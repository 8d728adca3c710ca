"""`edge-runtime desk roll`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_runtime.cli.common import echo, json_option, print_json
from edge_runtime.cli.desk.options import desk_option

if TYPE_CHECKING:
    from edge_runtime.desk.folder import Desk


def _waves(_context: click.Context, _parameter: click.Parameter, text: str) -> tuple[float, ...]:
    from edge_runtime.fleet.waves import check_waves

    try:
        return check_waves(tuple(float(wave) for wave in text.split(",")))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command("roll")
@desk_option
@json_option
@click.argument("bundle", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option("--for", "cpu", default="", help="The target that the bundle must be compiled for.")
@click.option(
    "--gallery",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A copy of the desk's gallery, moved to the bundle's model (edge-runtime gallery rehash).",
)
@click.option(
    "--waves",
    default="1,10,50,100",
    show_default=True,
    callback=_waves,
    help="Shares of the boards, in percent.",
)
@click.option(
    "--wait",
    type=click.FloatRange(0),
    default=600.0,
    show_default=True,
    help="Seconds that the boards of a wave have to become ready.",
)
@click.option(
    "--failures",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="How many boards may fail without a halt.",
)
@click.option("--resume", is_flag=True, help="Continue after a halt; boards that failed try again.")
@click.option("--abort", is_flag=True, help="Return all boards to their previous release.")
def roll_out(
    folder: Path,
    as_json: bool,
    bundle: Path | None,
    cpu: str,
    gallery: Path | None,
    waves: tuple[float, ...],
    wait: float,
    failures: int,
    resume: bool,
    abort: bool,
) -> None:
    """Roll out a compiled BUNDLE in waves; without it, show how far the roll-out is.

    `edge-runtime desk run` widens the waves, and halts when boards do not become ready.
    """
    from edge_runtime.desk.folder import Desk
    from edge_runtime.desk.rollout import steps
    from edge_runtime.desk.rollout.decision import Limits

    if (bundle is not None) + resume + abort > 1:
        raise click.UsageError("a BUNDLE, --resume and --abort cannot be combined")
    desk = Desk(folder)
    if bundle is not None:
        limits = Limits(wait, failures)
        steps.start(desk, bundle, cpu=cpu, gallery=gallery, waves=waves, limits=limits)
    elif resume:
        steps.resume(desk)
    elif abort:
        steps.abort(desk)
    _show(desk, as_json)


def _show(desk: Desk, as_json: bool) -> None:
    from edge_runtime.desk.rollout.steps import situation

    now = situation(desk)
    if as_json:
        print_json(None if now is None else asdict(now))
        return
    if now is None:
        echo("no roll-out has been started")
        return
    rollout, found = now.rollout, now.progress
    why = f": {now.course.why}" if now.course.why else ""
    echo(f"roll-out {rollout.id} for {rollout.cpu}: {rollout.state}{why}")
    echo(
        f"  {rollout.percent:g} % of the boards, {found.members} known: {len(found.ready)} ready, "
        f"{len(found.failed)} failed, {len(found.waiting)} waiting"
    )
    for board in found.failed:
        echo(f"  {board.name}: {board.why or board.state}")


COMMANDS = (roll_out,)
