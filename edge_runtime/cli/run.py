"""`edge-runtime run`."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from edge_runtime.cli.common import (
    allow_unverified_option,
    count_of,
    false_name_rate_option,
    log_to_stderr,
    print_message,
)
from edge_runtime.cli.process.restart import may_start_again
from edge_runtime.cli.summary import summary_table

if TYPE_CHECKING:
    from edge_runtime.daemon.parts import AttachedPart
    from edge_runtime.daemon.service import Service
    from edge_runtime.settings import Settings
    from edge_runtime.web.server import WebServer


@click.command("run")
@click.option(
    "--config",
    envvar="EDGE_RUNTIME_CONFIG",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The configuration file (see: edge-runtime config example). Options override it.",
)
@click.option(
    "--gallery", type=click.Path(dir_okay=False, path_type=Path), help="The gallery file."
)
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="The hash network: an ONNX file or a bundle folder.",
)
@allow_unverified_option
@click.option("--threads", type=click.IntRange(1, 64), help="CPU threads for the network.")
@click.option(
    "--radius",
    type=click.IntRange(0),
    help='Largest distance of a match, bits; beyond it the answer is "unknown".',
)
@false_name_rate_option
@click.option(
    "--camera",
    help="Index, /dev path, rpicam, video file, folder of photos, or http or rtsp URL.",
)
@click.option(
    "--window", type=click.IntRange(1, 1000), help="Frames over which a majority decides."
)
@click.option("--http", type=click.IntRange(0, 65535), help="Serve the web page on this port.")
@click.option(
    "--gate/--no-gate", default=None, help="Hash only frames that show a change, or all frames."
)
@click.option(
    "--wait/--no-wait",
    default=None,
    help="Keep trying if the camera is missing at the start.  [default: only with --config]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(config: Path | None, as_json: bool, **options: Any) -> int:
    """Watch a camera and print which labels enter and leave the view.

    Runs until the end of a file or folder, Ctrl-C or SIGTERM, then prints a summary. With --json,
    each event is one line, and so is the summary. SIGHUP reloads the configuration.
    """
    from edge_runtime.daemon.service import Service
    from edge_runtime.settings.edit import ConfigurationFile

    log_to_stderr("info")
    may_start_again(service=True)
    if as_json:
        options["output"] = "json"
    if config is None and options["wait"] is None:
        options["wait"] = False
    servers: list[WebServer] = []

    attached = False

    def attach(service: Service) -> list[AttachedPart]:
        nonlocal attached
        parts: list[AttachedPart] = [*_history(service), *_unknowns(service)]
        if not attached:
            parts += _server(service)
            servers.extend(_web_servers(service))
            parts += servers
            attached = True
        return parts

    given = {".".join(key) for name, key in _CONFIG_KEYS.items() if options.get(name) is not None}
    file = ConfigurationFile(config, given)
    with Service(lambda: _settings(config, options), attach, file) as service, _signals(service):
        _greet(service, servers)
        try:
            service.run()
        finally:
            summary = service.daemon.summary()
    if service.settings.output.format == "json":
        click.echo(json.dumps({"kind": "summary", **asdict(summary)}))
    else:
        print_message(summary_table(summary))
    return 0


_CONFIG_KEYS = {
    "gallery": ("gallery", "path"),
    "model": ("model", "path"),
    "threads": ("model", "threads"),
    "radius": ("decision", "radius"),
    "false_name_rate": ("decision", "false_name_rate"),
    "window": ("decision", "window"),
    "camera": ("camera", "source"),
    "wait": ("camera", "wait"),
    "gate": ("gate", "enabled"),
    "http": ("http", "port"),
    "output": ("output", "format"),
}
"""Option to table and key of the configuration."""


def _settings(config: Path | None, options: dict[str, Any]) -> Settings:
    from msgspec.structs import replace

    from edge_runtime.settings import Settings, read_settings
    from edge_runtime.settings.schema import HttpSettings

    settings = read_settings(config) if config else Settings()
    for option, value in options.items():
        if value is None:
            continue
        table, key = _CONFIG_KEYS[option]
        part = getattr(settings, table) or HttpSettings()
        changed = replace(part, **{key: str(value) if isinstance(value, Path) else value})
        settings = replace(settings, **{table: changed})
    return settings


def _history(service: Service) -> list[AttachedPart]:
    """Start to record events if the configuration has a table [history] and nothing does."""
    if service.settings.history is None or service.history is not None:
        return []
    from edge_runtime.daemon.history import History

    gallery = service.pipeline.gallery.path
    service.history = History(service.daemon, gallery, service.settings.history)
    return [service.history]


def _web_servers(service: Service) -> list[WebServer]:
    """Start the web page and API if the configuration has a table [http]."""
    if service.settings.http is None:
        return []
    from edge_runtime.web.server import WebServer

    return [WebServer(service, service.settings.http)]


def _unknowns(service: Service) -> list[AttachedPart]:
    """Start to collect unknown things if the configuration says so and nothing does."""
    if service.settings.unknowns is None or service.unknowns is not None:
        return []
    from edge_runtime.unknowns.part import Unknowns

    service.unknowns = Unknowns(service.daemon, service.pipeline, service.settings)
    return [service.unknowns]


def _server(service: Service) -> list[AttachedPart]:
    """Ask a server for what is unknown if the configuration has a table [server]."""
    if service.settings.server is None:
        return []
    from edge_runtime.daemon.second_opinion import ServerAnswers

    service.server = ServerAnswers(service, service.settings.server)
    return [service.server]


def _greet(service: Service, servers: list[WebServer]) -> None:
    snapshot = service.pipeline.gallery.snapshot()
    engine = service.engine
    names = ", ".join(each.camera.source.name for each in service.daemon.cameras)
    print_message(
        f"watching {names} for {count_of(len(snapshot.labels), 'label')} "
        f"({count_of(snapshot.count, 'code')}), engine {engine.name}: {engine.reason}. "
        "Press Ctrl-C to stop."
    )
    for server in servers:
        print_message(f"the page is at {server.url}")
    if not snapshot.count:
        print_message("edge-runtime: the gallery is empty: every result will be unknown")


@contextmanager
def _signals(service: Service) -> Iterator[None]:
    """Stop at SIGTERM and Ctrl-C, reload at SIGHUP."""

    def handler(act: Callable[[], None]) -> Callable[[int, FrameType | None], None]:
        return lambda _number, _frame: act()

    def stop() -> None:
        service.stop("stop requested")
        for number in (signal.SIGINT, signal.SIGTERM):  # a second signal interrupts at once
            signal.signal(number, signal.default_int_handler)

    before = {
        number: signal.signal(number, handler(act))
        for number, act in (
            (signal.SIGINT, stop),
            (signal.SIGTERM, stop),
            (signal.SIGHUP, service.request_reload),
        )
    }
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
