"""`edge-runtime desk run` and `boards`."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from typing import Any

import click

from edge_runtime.cli.common import echo, json_option, log_to_stderr, print_json, print_message
from edge_runtime.cli.desk.options import desk_option
from edge_runtime.cli.process.restart import may_start_again

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
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False),
    default="",
    help="A file with the token that the page asks for; required if others can reach it.",
)
@click.option("--name", "names", multiple=True, help="A further host name of the page.")
def run(
    folder: Path,
    rule: str,
    publish_every: float,
    port: int | None,
    host: str,
    token_file: str,
    names: tuple[str, ...],
) -> None:
    """Take what boards send, keep the signatures fresh, and serve the page of the fleet."""
    from edge_runtime.desk.folder import Desk
    from edge_runtime.desk.line import Line
    from edge_runtime.desk.run import Running

    log_to_stderr("info")
    desk = Desk(folder)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    broker = desk.settings.broker
    may_start_again(service=True)
    with desk.running():
        line = Line(broker, desk.settings.topic, desk.settings.fleet) if broker else None
        running = Running(desk, line, rule=rule, publish_every_s=publish_every)
        server = None if port is None else _serve(running, host, port, token_file, names)
        try:
            if line is not None:
                line.start()
            print_message(f"{folder}: the desk of the fleet {desk.settings.fleet} runs")
            if server is not None:
                print_message(f"the page is at {server.url}")
            while not stop.is_set():
                running.step()
                if server is not None:
                    server.check()
        finally:
            if server is not None:
                server.close(CLOSE_S)
            if line is not None:
                line.close()


def _serve(running: Any, host: str, port: int, token_file: str, names: tuple[str, ...]) -> Any:
    from edge_runtime.desk.page.site import DeskSite
    from edge_runtime.settings.read import http_contradictions
    from edge_runtime.settings.schema import HttpSettings
    from edge_runtime.web.server import SiteServer

    settings = HttpSettings(host=host, port=port, token_file=token_file, names=list(names))
    for key, what, _ in http_contradictions(settings):
        option = "--" + key.removeprefix("http.").replace("_", "-")
        raise click.UsageError(f"{option}: {what} (give --token-file)")
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
