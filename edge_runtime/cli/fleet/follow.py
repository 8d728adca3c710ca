"""`edge-runtime fleet`: follow it, and list what this board proposes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import click

from edge_runtime.cli.common import (
    count_of,
    echo,
    gallery_option,
    json_option,
    log_to_stderr,
    print_json,
    terminable,
)
from edge_runtime.cli.process.restart import may_start_again


@click.command("follow")
@gallery_option
@click.option("--once", is_flag=True, help="Poll once, print what was applied, and exit.")
@click.option(
    "--every",
    "every_s",
    type=click.FloatRange(1, 86_400),
    default=300.0,
    show_default=True,
    help="Seconds between two polls.",
)
@click.option(
    "--report",
    "report_s",
    type=click.FloatRange(1, 86_400),
    default=3600.0,
    show_default=True,
    help="Seconds between two reports to the desk if nothing changes.",
)
@click.option(
    "--spread",
    "spread_s",
    type=click.FloatRange(0, 3600),
    default=30.0,
    show_default=True,
    help="After a hint from the broker, poll at a random moment within this many seconds.",
)
@json_option
def follow(
    gallery: Path, once: bool, every_s: float, report_s: float, spread_s: float, as_json: bool
) -> None:
    """Follow the fleet: fetch and apply each signed version. The gallery may be in use.

    Without --once, it runs until Ctrl-C or SIGTERM, reports this board's status over the fleet's
    broker, and proposes what is enrolled here.
    """
    import threading

    from edge_runtime.fleet.service import Service

    log_to_stderr()
    role = "once" if once else ""
    service = Service(gallery, every_s, report_s, role, spread_s)
    service.left = _carry_over(gallery)
    if not once:
        may_start_again(service=True)
        with suppress(KeyboardInterrupt), terminable():
            service.run(threading.Event())
        return
    try:
        poll = service.poll()
    finally:
        service.finish()
    if as_json:
        applied = None if poll.applied is None else asdict(poll.applied)
        print_json({"newest": poll.newest, "other_model": poll.other_model, "applied": applied})
    elif poll.applied is None:
        echo(f"version {poll.newest}: nothing new")
    else:
        counts, pending = poll.applied.counts, poll.applied.pending
        echo(
            f"version {poll.applied.version}: {counts.added} added, {counts.removed} removed, "
            f"{counts.moved} relabeled, {counts.accepted} accepted, {counts.dropped} rejected; "
            f"{count_of(pending, 'picture')} to propose"
        )


def _carry_over(gallery: Path) -> dict[str, int]:
    """Hash what waits in galleries of other models; return what cannot be, by their names.

    The service is started again after each change of the model.
    """
    import logging

    from edge_runtime.errors import EdgeRuntimeError
    from edge_runtime.fleet.carry import Embed, carry_over

    def embed() -> Embed:
        from edge_runtime.engine import open_engine
        from edge_runtime.enroll import embed_kept

        return embed_kept(open_engine(), gallery)

    try:
        carried = carry_over(gallery.resolve(), embed)
    except EdgeRuntimeError as error:
        logging.getLogger(__name__).warning("%s", error)
        return {}
    if carried.pictures:
        done = count_of(carried.pictures, "pending picture")
        echo(f"hashed {done} from the gallery of another model with this model", err=True)
    for name, count in carried.left.items():
        waiting = count_of(count, "pending picture")
        echo(f"{name}: {waiting} cannot be hashed again (enroll the photos again)", err=True)
    return carried.left


@click.command("proposals")
@gallery_option
@json_option
@click.option(
    "--export",
    "target",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write them to this file, for edge-runtime desk take.",
)
def proposals(gallery: Path, as_json: bool, target: Path | None) -> None:
    """List the pictures that this board proposes to its fleet, or export them as a file."""
    import json

    from edge_runtime.errors import storage_error
    from edge_runtime.fleet.following.joined import read_joined
    from edge_runtime.fleet.service import export_proposals
    from edge_runtime.system.durable import write_file

    board = read_joined(gallery).board
    lines = export_proposals(gallery, board)
    if target is not None:
        try:
            write_file(target, b"".join(lines))
        except OSError as error:
            raise storage_error(error, target) or error from error
        echo(f"exported {count_of(len(lines), 'proposal')} to {target}")
        return
    adds = [json.loads(line)["add"] for line in lines]
    if as_json:
        kept = ("label", "digest", "source")
        print_json([{key: add.get(key, "") for key in kept} for add in adds])
        return
    for add in adds:
        echo(f"{add['digest'][:12]}  {add['label']}  {add.get('source', '')}".rstrip())


COMMANDS = (follow, proposals)
