"""Messages and errors of the commands. Importing this module does not import torch."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, ParamSpec, TypeVar

import click

from edge_runtime.errors import EXIT_INTERRUPTED, EdgeRuntimeError, StorageError, storage_error

P = ParamSpec("P")
R = TypeVar("R")


class LazyGroup(click.Group):
    """Import the module of a verb only when the verb runs, so that `--help` needs no torch."""

    def __init__(
        self, *args: Any, package: str, verbs: Mapping[str, tuple[str, str]], **options: Any
    ) -> None:
        """Offer `verbs`: name to module below `package`, and one line of help.

        The command of a module is its member `main`.
        """
        super().__init__(*args, **options)
        self._package, self._verbs = package, verbs

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in their order."""
        return list(self._verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command of a verb, or None for an unknown verb."""
        if cmd_name not in self._verbs:
            return None
        module = import_module(f"{self._package}.{self._verbs[cmd_name][0]}")
        command: click.Command = module.main
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing their modules."""
        with formatter.section("Commands"):
            formatter.write_dl([(verb, text) for verb, (_, text) in self._verbs.items()])


def log(line: str) -> None:
    """Write one line to stderr; stdout is for results."""
    click.echo(line, err=True)


def report_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Print an expected error as one line and exit with its code; exit with 130 on Ctrl-C."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except EdgeRuntimeError as error:
            log(f"error: {error}")
            sys.exit(error.exit_code)
        except BrokenPipeError:  # the reader of our output is gone: click exits quietly
            raise
        except OSError as error:
            log(f"error: {storage_error(error, error.filename or '') or error}")
            sys.exit(StorageError.exit_code)
        except KeyboardInterrupt:
            log("interrupted; run the same command again to resume training from its checkpoint")
            sys.exit(EXIT_INTERRUPTED)

    return wrapped
