"""Options, output and progress bars that the sub-commands share."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edge_runtime.system.printable import printable, printable_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from edge_runtime.settings.schema import HttpSettings
    from edge_runtime.web.server import SiteServer

F = TypeVar("F", bound=Callable[..., Any])


def _default_gallery() -> Path:
    from edge_runtime.gallery import default_path

    return default_path()


def gallery_option(function: F) -> F:
    """Add the option --gallery FILE."""
    return click.option(
        "--gallery",
        type=click.Path(dir_okay=False, path_type=Path),
        default=_default_gallery,
        show_default="$EDGE_RUNTIME_GALLERY, or gallery.sqlite in your data folder",
        help="The gallery file.",
    )(function)


def allow_unverified_option(function: F) -> F:
    """Add the option --allow-unverified. It sets a variable that child processes inherit."""

    def allow(_context: click.Context, _parameter: click.Parameter, value: bool) -> None:
        if value:
            from edge_runtime.bundle import ALLOW_UNVERIFIED

            os.environ[ALLOW_UNVERIFIED] = "1"

    return click.option(
        "--allow-unverified",
        is_flag=True,
        expose_value=False,
        callback=allow,
        help="Use a compiled bundle even if it is not verified.",
    )(function)


def engine_options(function: F) -> F:
    """Add the options --model FILE, --allow-unverified and --threads N."""
    function = allow_unverified_option(function)
    function = click.option(
        "--model",
        type=click.Path(path_type=Path),
        help="The hash network: an ONNX file, or the folder of a compiled bundle.  "
        "[default: $EDGE_RUNTIME_MODEL, or the model that comes with the package]",
    )(function)
    return click.option(
        "--threads",
        type=click.IntRange(1, 64),
        default=1,
        show_default=True,
        help="CPU threads for the network.",
    )(function)


def password_file_option(function: F) -> F:
    """Add the option --password-file FILE."""
    return click.option(
        "--password-file",
        type=click.Path(dir_okay=False),
        help="With --camera: a file whose first line is the password of the user in the URL "
        "(rtsp://USER@HOST/...).",
    )(function)


def camera_password(camera: str | None, password_file: str | None) -> str:
    """Return the password in the file, or "" without one; raises `ConfigError`."""
    if password_file is None:
        return ""
    if camera is None:
        raise click.UsageError("--password-file requires --camera")
    from edge_runtime.settings.secrets import read_secret

    return read_secret(password_file)


def file_option(name: str, text: str) -> Callable[[F], F]:
    """Return a decorator that adds the option `name` for a file, empty by default."""
    return click.option(name, type=click.Path(dir_okay=False), default="", help=text)


def http_settings(options: dict[str, Any]) -> HttpSettings:
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


def reload_http(server: SiteServer, settings: HttpSettings) -> None:
    """Read the tokens and the certificate again; what cannot be used changes nothing."""
    from edge_runtime.errors import ConfigError

    try:
        server.prepare_http(settings).apply()
    except ConfigError as error:
        print_message(f"edge-runtime: not reloaded: {error}")


def json_option(function: F) -> F:
    """Add the option --json."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def radius_option(function: F) -> F:
    """Add the option --radius N."""
    return click.option(
        "--radius",
        type=click.IntRange(0),
        help="Largest distance at which a match counts, in bits.  [default: as calibrated]",
    )(function)


def false_name_rate_option(function: F) -> F:
    """Add the option --false-name-rate SHARE."""
    return click.option(
        "--false-name-rate",
        type=click.FloatRange(0, 0.5, min_open=True),
        help="Share of unknown things that may be given a name.  [default: 0.02]",
    )(function)


def print_json(data: object) -> None:
    """Print one JSON value to stdout, indented for a terminal, on one line for a pipe."""
    indent = 2 if sys.stdout.isatty() else None
    unicode = sys.stdout.encoding.lower() == "utf-8"
    text = json.dumps(data, indent=indent, ensure_ascii=not unicode)
    click.echo(printable_json(text))


def console(piped: int = 120) -> Console:
    """Return a console on stdout that is as wide as the terminal, or `piped` characters."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else piped)


def echo(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print text to stdout or stderr; control characters of labels and file names as escapes."""
    click.echo("\n".join(map(printable, text.split("\n"))), err=err, nl=nl)


def print_message(text: str) -> None:
    """Print a line to stderr."""
    echo(text, err=True)


def log_to_stderr(level: str = "warning") -> None:
    """Log messages from `level` up to stderr, one line per message."""
    from edge_runtime.system.logs import start_logging

    start_logging(sys.stderr, level)


def count_of(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless the number is 1."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def pictures_and_codes(pictures: int, codes: int) -> str:
    """Return both counts, such as "3 pictures (18 codes)"."""
    return f"{count_of(pictures, 'picture')} ({count_of(codes, 'code')})"


def already_enrolled(pictures: int) -> str:
    """Return the end of a message about an import: pictures that were enrolled before, or ""."""
    return f"; {count_of(pictures, 'picture')} already enrolled" if pictures else ""


@contextmanager
def progress_bar(text: str, total: float) -> Iterator[Callable[[float], None]]:
    """Show a progress bar on stderr if it is a terminal, and yield its `advance` function."""
    from rich.console import Console
    from rich.progress import Progress, TimeRemainingColumn

    console = Console(stderr=True)
    bar: Progress
    with Progress(
        *Progress.get_default_columns()[:-1],
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task(text, total=total)
        yield lambda step: bar.advance(task, step)


@contextmanager
def busy(text: str) -> Iterator[None]:
    """Show a spinner on stderr if it is a terminal, for work of unknown length."""
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM interrupt the block as Ctrl-C does."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
