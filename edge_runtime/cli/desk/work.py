"""`edge-runtime desk run` and `boards`."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_runtime.cli.common import (
    echo,
    file_option,
    http_settings,
    json_option,
    log_to_stderr,
    print_json,
    print_message,
    reload_http,
)
from edge_runtime.cli.desk.options import desk_option
from edge_runtime.cli.process.restart import may_start_again

if TYPE_CHECKING:
    from edge_runtime.desk.run import Running
    from edge_runtime.settings.schema import HttpSettings
    from edge_runtime.web.server import SiteServer

CLOSE_S = 2.0


@click.command("run")
@desk_option
@click.option(
    "--accept",
    "rule",
    type=click.Choice(["all", "known", "none"]),
    default="none",
    show_default=True,
    help="Proposals to accept without a person: known means that the label exists.",
)
@click.option(
    "--publish-every",
    type=click.FloatRange(0, 86_400),
    default=0.0,
    show_default=True,
    help="Publish changes after this many seconds; 0: only by the command or on the page.",
)
@click.option("--port", type=click.IntRange(0, 65535), help="Serve the page at this port; 0: any.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@file_option(
    "--token-file", "A file with the token that the page asks for; required if others can reach it."
)
@file_option("--reader-token-file", "A file with a token that permits only to look.")
@file_option("--certificate-file", "Your certificate, PEM: serve https.")
@file_option("--key-file", "The private key of the certificate, PEM.")
@click.option("--name", "names", multiple=True, help="A further host name of the page.")
def run(folder: Path, rule: str, publish_every: float, port: int | None, **options: Any) -> None:
    """Take what boards send, keep the signatures fresh, and serve the page of the fleet.

    Runs until Ctrl-C or SIGTERM. SIGHUP reads the tokens and the certificate of the page again.
    """
    from edge_runtime.desk.folder import Desk
    from edge_runtime.desk.line import Line
    from edge_runtime.desk.run import Running
    from edge_runtime.system.signals import Signals

    settings = http_settings(options if port is None else {**options, "port": port})
    log_to_stderr("info")
    desk = Desk(folder)
    signals = Signals(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    broker = desk.settings.broker
    may_start_again(service=True)
    with desk.running():
        line = Line(broker, desk.settings.topic, desk.settings.fleet) if broker else None
        running = Running(desk, line, rule=rule, publish_every_s=publish_every)
        server = None if port is None else _serve(running, settings)
        try:
            if line is not None:
                line.start()
            print_message(f"{folder}: the desk of the fleet {desk.settings.fleet} runs")
            if server is not None:
                print_message(f"the page is at {server.url}")
            while (number := signals.wait(0)) in (None, signal.SIGHUP):
                if number is not None and server is not None:
                    reload_http(server, settings)
                running.step()
                if server is not None:
                    server.check()
        finally:
            if server is not None:
                server.close(CLOSE_S)
            if line is not None:
                line.close()


def _serve(running: Running, settings: HttpSettings) -> SiteServer:
    from edge_runtime.desk.page.site import DeskSite
    from edge_runtime.web.server import SiteServer

    return SiteServer(settings, lambda access: DeskSite(running, settings, access))


@click.command("boards")
@desk_option
@json_option
def list_boards(folder: Path, as_json: bool) -> None:
    """Show which board has which version, since when, and what is wrong with it."""
    from edge_runtime.desk.boards import boards_of
    from edge_runtime.desk.folder import Desk

    boards = boards_of(Desk(folder).store)
    if as_json:
        print_json([vars(each) for each in boards])
        return
    if boards:
        echo(f"{'version':>7}  {'behind':>6}  {'pending':>7}  {'seen':>8}  board")
    for each in boards:
        seen = f"{max(0.0, time.time() - each.last_seen):.0f} s"
        fault = f"  {each.error}" if each.error else ""
        echo(
            f"{each.version:>7}  {each.behind:>6}  {each.pending:>7}  {seen:>8}  {each.name}{fault}"
        )


COMMANDS = (run, list_boards)
