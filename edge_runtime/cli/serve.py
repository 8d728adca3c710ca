"""`edge-runtime serve`."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_runtime.cli.common import (
    count_of,
    echo,
    file_option,
    gallery_option,
    http_settings,
    log_to_stderr,
    print_message,
    progress_bar,
    reload_http,
)
from edge_runtime.cli.process.restart import may_start_again

if TYPE_CHECKING:
    from edge_runtime.server.codes import Codes
    from edge_runtime.server.worker import Worker
    from edge_runtime.settings.schema import HttpSettings

CHECK_S = 0.5
END_S = 2.0


@click.group("serve", invoke_without_command=True)
@gallery_option
@click.option("--codes", metavar="URL", help="Search clickhouse://USER@HOST:PORT/DATABASE instead.")
@file_option("--codes-password-file", "With --codes: a file whose first line is the password.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8470, show_default=True, help="0: any."
)
@file_option("--token-file", "A file whose first line is the token that clients must send.")
@file_option("--certificate-file", "Your certificate, PEM: serve https.")
@file_option("--key-file", "The private key of the certificate, PEM.")
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

    settings = http_settings(options)

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
@file_option("--codes-password-file", "A file whose first line is the password.")
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
                reload_http(server, settings)
    finally:
        notifier.stopping()
        server.close(END_S)
