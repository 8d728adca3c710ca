"""`edge-runtime config check|show|example`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from edge_runtime.cli.common import echo

_FILE = click.argument("file", type=click.Path(path_type=Path), envvar="EDGE_RUNTIME_CONFIG")


@click.group("config")
def command() -> None:
    """Check, show or create the daemon's configuration file."""


@command.command("check")
@_FILE
def check(file: Path) -> None:
    """Check FILE. An error names the line and the key; the exit code is then 3."""
    from edge_runtime.settings import read_settings

    read_settings(file)
    echo(f"{file}: OK")


@command.command("show")
@_FILE
def show(file: Path) -> None:
    """Print all settings that FILE results in, including defaults, without secrets."""
    from edge_runtime.settings import read_settings
    from edge_runtime.settings.describe import effective

    echo(effective(read_settings(file)), nl=False)


@command.command("example")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write a new FILE that only you can read."
)
def example(out: Path | None) -> None:
    """Print a complete example file: every key with its meaning and default."""
    from edge_runtime.settings.describe import example as text
    from edge_runtime.system.durable import sync_output

    if out is None:
        echo(text(), nl=False)
        sync_output()  # it may be a file
    else:
        _write_private(out, text())


def _write_private(path: Path, text: str) -> None:
    """Write the new file `path`, readable by its owner only; raises `ConfigError`."""
    from edge_runtime.errors import ConfigError, storage_error
    from edge_runtime.system.durable import sync_folder

    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.absolute().parent)
    except FileExistsError as error:
        raise ConfigError(
            "the file exists", where=path, remedy="remove it, or name another file"
        ) from error
    except OSError as error:
        raise storage_error(error, path) or ConfigError(str(error), where=path) from error
