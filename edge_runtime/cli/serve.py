"""`edge-runtime serve`."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edge_runtime.cli.common import (
    count_of,
    echo,
    gallery_option,
    log_to_stderr,
    print_message,
    progress_bar,
)
from edge_runtime.cli.process.restart import may_start_again

if TYPE_CHECKING:
    from edge_runtime.server.codes import Codes
    from edge_runtime.server.worker import Worker
    from edge_runtime.settings.schema import HttpSettings
    from edge_runtime.web.server import SiteServer

F = TypeVar("F", bound=Callable[..., Any])

CHECK_S = 0.5
END_S = 2.0


def _file_option(name: str, text: str) -> Callable[[F], F]:
    return click.option(name, type=click.Path(dir_okay=False), default="", help=text)


@click.group("serve", invoke_without_command=True)
@gallery_option
@click.option("--codes", metavar="URL", help="Search clickhouse://USER@HOST:PORT/DATABASE instead.")
@_file_option("--codes-password-file", "With --codes: a file whose first line is the password.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8470, show_default=True, help="0: any."
)
@_file_option("--token-file", "A file whose first line is the token that clients must send.")
@_file_option("--certificate-file", "Your certificate, PEM: serve https.")
@_file_option("--key-file", "The private key of the certificate, PEM.")
@click.option("--name", "names", multiple=True, help="A further host name. May be repeated.")
@click.option(
    "--requests-per-minute",
    type=click.IntRange(1, 100_000),
    default=6000,
    show_default=True,
    help="Limit per client for batches.",
)
@click.pass_context
def command(
    context: click.Context,
    /,
    gallery: Path,
    codes: str | None,
    codes_password_file: str,
    **options: Any,
) -> None:
    """Serve the lookup of a gallery over HTTP, for galleries larger than a board.

    Runs until Ctrl-C or SIGTERM. SIGHUP reads the token and the certificate again.
    """
    if context.invoked_subcommand is not None:
        return
    from edge_runtime.server.worker import Worker

    settings = _http_settings(options)

    def open_codes() -> Codes:
        if codes is not None:
            from edge_runtime.server.clickhouse.client import parse_address
            from edge_runtime.server.clickhouse.codes import ClickHouseCodes

            return ClickHouseCodes(parse_address(codes, codes_password_file))
        from edge_runtime.server.gallery_codes import GalleryCodes

        return GalleryCodes(gallery)

    log_to_stderr("info")
    _serve(Worker(open_codes), settings)


@command.command("load")
@click.option(
    "--cluster", default="codes", show_default=True, help="Name of the cluster in ClickHouse."
)
@_file_option("--codes-password-file", "A file whose first line is the password.")
@click.option(
    "--engine",
    default="MergeTree()",
    show_default=True,
    help="Engine of the tables of the shards.",
)
@click.argument("gallery", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("url")
def load(gallery: Path, url: str, cluster: str, codes_password_file: str, engine: str) -> None:
    """Load GALLERY into the ClickHouse cluster at URL.

    URL names every host: clickhouse://USER@HOST:PORT,HOST:PORT/DATABASE. Servers continue with the
    earlier codes until all new ones are there.
    """
    from edge_runtime.server.clickhouse.client import parse_address
    from edge_runtime.server.clickhouse.load import load_gallery

    address = parse_address(url, codes_password_file)
    with progress_bar("loading", 1.0) as advance:
        content = load_gallery(gallery, address, cluster, engine=engine, progress=advance)
    echo(
        f"loaded {count_of(content.codes, 'code')} of {count_of(content.labels, 'label')} "
        f"as version {content.version}"
    )


def _http_settings(options: dict[str, Any]) -> HttpSettings:
    """Return the options as the table [http]; raises `click.UsageError`."""
    from edge_runtime.settings.read import http_contradictions
    from edge_runtime.settings.schema import HttpSettings

    options["names"] = list(options["names"])
    settings = HttpSettings(**options)
    for key, what, remedy in http_contradictions(settings):
        option = "--" + key.removeprefix("http.").replace("_", "-")
        remedy = remedy.replace("set ", "set --").replace("_", "-")
        raise click.UsageError(f"{option}: {what} ({remedy})")
    return settings


def _serve(worker: Worker, settings: HttpSettings) -> None:
    """Serve until a signal; the worker is closed in any case."""
    from edge_runtime.daemon.notify import Notifier
    from edge_runtime.system.signals import Signals

    may_start_again(service=True)
    try:
        from edge_runtime.server.site import LookupSite
        from edge_runtime.web.server import SiteServer

        server = SiteServer(settings, lambda access: LookupSite(worker, settings, access))
    except BaseException:
        worker.close(END_S)
        raise
    signals = Signals(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    notifier = Notifier()
    try:
        content, _ = worker.ask(()).result()
        print_message(
            f"serving {count_of(content.codes, 'code')} of {count_of(content.labels, 'label')} "
            f"at {server.url}"
        )
        notifier.ready(f"serving {count_of(content.codes, 'code')}")
        while (number := signals.wait(CHECK_S)) in (None, signal.SIGHUP):
            server.check()
            notifier.alive()
            if number == signal.SIGHUP:
                _reload(server, settings)
    finally:
        notifier.stopping()
        server.close(END_S)


def _reload(server: SiteServer, settings: HttpSettings) -> None:
    """Read the files again; what cannot be used changes nothing."""
    from edge_runtime.errors import ConfigError

    try:
        server.prepare_http(settings).apply()
    except ConfigError as error:
        print_message(f"edge-runtime: not reloaded: {error}")
