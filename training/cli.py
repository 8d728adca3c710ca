"""Messages and errors of the commands. Importing this module does not import torch."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import click

from edge_runtime.errors import EXIT_INTERRUPTED, EdgeRuntimeError, StorageError, storage_error

P = ParamSpec("P")
R = TypeVar("R")


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
