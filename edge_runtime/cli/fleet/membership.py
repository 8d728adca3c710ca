"""`edge-runtime fleet`: join, leave, and what the board has."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from edge_runtime.cli.common import (
    busy,
    count_of,
    echo,
    gallery_option,
    json_option,
    print_json,
    print_message,
)


@click.command("join")
@gallery_option
@click.option(
    "--root",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The root of trust, root.json. Get it from the desk over a channel that you trust.",
)
@click.option("--board", help="The name of this board in the fleet.  [default: the host's name]")
@click.option("--mqtt-user", default="", help="The user for the fleet's broker.")
@click.option(
    "--mqtt-password-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file whose first line is that user's password.",
)
@click.option(
    "--mqtt-ca-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The certificate authority of a broker that uses TLS.",
)
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="The model of a gallery that does not exist yet.  [default: as for enroll]",
)
@click.argument("url")
def join(
    gallery: Path,
    root: Path,
    board: str | None,
    mqtt_user: str,
    mqtt_password_file: Path | None,
    mqtt_ca_file: Path | None,
    model: Path | None,
    url: str,
) -> None:
    """Join the fleet whose signed files are at URL, and fetch its gallery.

    URL is an http:// or https:// address, or a folder such as a USB stick. What is enrolled here
    already stays, as proposals to the fleet.
    """
    from edge_runtime.errors import FleetError, FleetUnreachableError
    from edge_runtime.fleet.following import joined

    membership = joined.Joined(
        board=joined.check_board(board or joined.default_board()),
        url=url,
        mqtt_user=mqtt_user,
        mqtt_password_file=str(mqtt_password_file.absolute()) if mqtt_password_file else "",
        mqtt_ca_file=str(mqtt_ca_file.absolute()) if mqtt_ca_file else "",
    )
    trusted, before = joined.read_root(root), None
    with suppress(FleetError):
        before = joined.read_joined(gallery)
    if before is not None and (before.url, before.board) != (url, membership.board):
        raise FleetError(
            f"this board has joined {joined.shown_url(before.url)} as {before.board}",
            where=gallery,
            remedy="first: edge-runtime fleet leave",
        )
    from edge_runtime.fleet.follower import Follower

    _make_gallery(gallery, model)
    joined.write_joined(gallery, membership, trusted)
    try:
        with busy("fetching the fleet's gallery"):
            follower = Follower(gallery)
            poll = follower.poll()
    except FleetUnreachableError as error:
        echo(f"joined as {membership.board}; the files cannot be fetched yet")
        print_message(str(error))
        return
    except BaseException:
        if before is None:
            joined.forget_joined(gallery)
        raise
    joined.write_joined(gallery, replace(membership, fleet=follower.info.fleet), trusted)
    pending = poll.applied.pending if poll.applied else 0
    echo(
        f"joined the fleet {follower.info.fleet} as {membership.board}: version {poll.newest}; "
        f"{count_of(pending, 'picture')} to propose"
    )
    if poll.other_model:
        print_message(
            f"a newer version is for the model {poll.other_model[:12]}: a roll-out installs it"
        )


def _make_gallery(gallery: Path, model: Path | None) -> None:
    if not gallery.exists():
        from edge_runtime.engine import open_engine
        from edge_runtime.gallery import Gallery

        Gallery(gallery, open_engine(model).model, create=True).close()


@click.command("leave")
@gallery_option
def leave(gallery: Path) -> None:
    """Leave the fleet. All pictures stay, as the board's own."""
    from edge_runtime.fleet import apply
    from edge_runtime.fleet.following import joined
    from edge_runtime.gallery import Gallery

    membership = joined.read_joined(gallery)
    with Gallery(gallery) as opened:
        apply.leave(opened)
    joined.forget_joined(gallery)
    echo(f"left the fleet {membership.fleet}".rstrip())


@click.command("status")
@gallery_option
@json_option
def status(gallery: Path, as_json: bool) -> None:
    """Show which version of the fleet's gallery this board has, and what it proposes."""
    from edge_runtime.fleet.follower import board_state
    from edge_runtime.fleet.following import joined

    membership = joined.read_joined(gallery)
    state, last = board_state(gallery), joined.last_status(gallery)
    values: dict[str, Any] = {
        "board": membership.board,
        "fleet": membership.fleet,
        "url": joined.shown_url(membership.url),
        "model_id": state.meta.model_id,
        "version": state.version,
        "newest": last.get("newest"),
        "since": state.fleet.details.get("applied_at", "") if state.fleet else "",
        "pending": state.pending,
        "clock": last.get("clock", ""),
        "error": last.get("error", ""),
    }
    if as_json:
        print_json(values)
        return
    for key, value in values.items():
        echo(f"{key:<9} {'-' if value in ('', None) else value}")


COMMANDS = (join, status, leave)
