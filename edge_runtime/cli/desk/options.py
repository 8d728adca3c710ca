"""Options that the commands of the desk share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from edge_runtime.desk.signing.keys import Passphrase

F = TypeVar("F", bound=Callable[..., Any])


def desk_option(function: F) -> F:
    """Add the option --desk FOLDER."""
    return click.option(
        "--desk",
        "folder",
        type=click.Path(file_okay=False, path_type=Path),
        default=lambda: os.environ.get("EDGE_RUNTIME_DESK", "desk"),
        show_default="$EDGE_RUNTIME_DESK, or the folder desk",
        help="The folder of the desk.",
    )(function)


def root_keys_option(function: F) -> F:
    """Add the option --root-keys PLACE, which may be repeated."""
    return click.option(
        "--root-keys",
        "places",
        type=click.Path(exists=True, path_type=Path),
        multiple=True,
        required=True,
        help="A folder with root keys, or one key. May be repeated: two keys must sign.",
    )(function)


def passphrase_option(function: F) -> F:
    """Add the option --passphrase-file FILE."""
    return click.option(
        "--passphrase-file",
        type=click.Path(dir_okay=False),
        help="A file whose first line is the passphrase of the root keys.  [default: ask]",
    )(function)


def passphrase_from(file: str | None) -> Passphrase:
    """Return what gives the passphrase of a root key: the file, or the user at a terminal."""
    known: dict[str, bytes] = {}

    def passphrase(path: Path) -> bytes:
        import sys

        if file is not None:
            from edge_runtime.settings.secrets import read_secret

            return read_secret(file).encode()
        if not sys.stdin.isatty():
            return b""
        if "" not in known:
            text = click.prompt(f"Passphrase of {path}", hide_input=True, err=True)
            known[""] = str(text).encode()
        return known[""]

    return passphrase
