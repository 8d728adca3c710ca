"""The `edge-runtime` command. Results go to stdout, messages to stderr.

A sub-command's module is imported when it is called, so that `--help` and small commands start at
once.
"""

from __future__ import annotations

import atexit
import errno
import importlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn

import click

from edge_runtime import __version__
from edge_runtime.cli.common import echo
from edge_runtime.cli.process.streams import STDOUT, guard_streams
from edge_runtime.errors import EXIT_INTERRUPTED, EdgeRuntimeError, StorageError, storage_error
from edge_runtime.redaction import redact
from edge_runtime.shortage import shortage
from edge_runtime.system.arguments import hide_secrets

DEBUG_VARIABLE = "EDGE_RUNTIME_DEBUG"

# numpy's library for matrix products starts one thread per core at import. No command needs large
# products, and the threads compete with the startup, where the bundle is checked and loaded. A
# setting of the user takes precedence.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

_COMMANDS = {
    "config": "Check, print or create a configuration file.",
    "desk": "Sign one gallery for a fleet of boards (on a workstation).",
    "doctor": "Check whether this machine can run edge-runtime.",
    "enroll": "Enroll photos of places and objects.",
    "fleet": "Share one gallery with other boards.",
    "gallery": "List, edit, back up and check what is enrolled.",
    "hash": "Hash photos by the million, on several cores or machines.",
    "profile": "Measure speed and memory on this machine.",
    "query": "Recognize the place or object in a photo.",
    "report": "Show, plot and compare reports of profile.",
    "run": "Watch a camera and report what it recognizes.",
    "serve": "Serve the lookup to boards and commands over HTTP.",
    "sign": "Sign a bundle or a model with your key.",
    "verify": "Check who signed a bundle or a model.",
}
_MODULES = {"hash": "hash_photos"}
"""Modules that have another name than their command."""
_FAILING = ("strict", "surrogateescape")
"""Ways of Python to print text, the second one with LANG=C, that fail for some characters."""


class _PipeError(Exception):
    """Carries a `BrokenPipeError` past click, which would end with exit code 1, whatever it is."""

    def __init__(self, error: BrokenPipeError) -> None:
        super().__init__(str(error))
        self.error = error


class _LazyGroup(click.Group):
    """Imports a sub-command's module only when it is called. The list of commands needs none."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        try:
            return super().make_context(*arguments, **options)
        except BrokenPipeError as error:  # while it prints the help
            raise _PipeError(error) from error

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise _PipeError(error) from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        name = _MODULES.get(cmd_name, cmd_name)
        command: click.Command = importlib.import_module(f"edge_runtime.cli.{name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edge-runtime")
def command() -> None:
    """Recognize places and objects with a camera, on this device alone."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit; docs/ERRORS.md lists the exit codes."""
    guard_streams()
    hide_secrets()
    _exit_process(run_command(arguments))


def _exit_process(code: int) -> NoReturn:
    """Run the exit handlers and end the process without finalizing the interpreter.

    Finalizing an interpreter with numpy and OpenCV takes more CPU time than everything else that a
    service does when it stops. It also waits for threads, even if one hangs in a driver.
    """
    if os.environ.get(DEBUG_VARIABLE):  # profilers of Python need the normal exit
        sys.exit(code)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # the reader is gone
            stream.flush()
    os._exit(code)


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Every error becomes one line on stderr and an exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors in _FAILING:
        # Characters that the terminal cannot encode are escaped, as they are on stderr.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = command.main(arguments, prog_name="edge-runtime", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.Abort:
        return _report_error("interrupted", EXIT_INTERRUPTED)
    except click.ClickException as error:
        text = io.StringIO()
        error.show(text)
        echo(redact(text.getvalue()), err=True, nl=False)
        return error.exit_code
    except EdgeRuntimeError as error:
        _print_traceback()
        error = shortage(error, error.where, busy=False) or error
        return _report_error(str(error), error.exit_code)
    except _PipeError as error:
        return _explain(error.error)
    except Exception as error:
        return _explain(error)


def _explain(error: Exception) -> int:
    """Report an error that no command has handled, and return its exit code."""
    if isinstance(error, BrokenPipeError) and error.filename in (None, STDOUT):
        # The reader of our output has closed the pipe. Python would report this again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    _print_traceback()
    if fault := _environment_fault(error):
        return _report_error(str(fault), fault.exit_code)
    return _report_error(
        f"internal error: {type(error).__name__}: {error} "
        f"(this is a bug; set {DEBUG_VARIABLE}=1 for a traceback)",
        1,
    )


def _environment_fault(error: Exception) -> EdgeRuntimeError | None:
    """Return `error` as an error of the tree if this machine caused it, not a bug."""
    if fault := shortage(error):
        return fault
    if not isinstance(error, OSError):
        return None
    if error.errno != errno.ENOENT:
        return storage_error(error, error.filename or "")
    try:
        os.getcwd()  # noqa: PTH109
    except FileNotFoundError:
        return StorageError(
            "the current folder no longer exists", remedy="change to another folder: cd"
        )
    return None  # a file that should be there: probably a bug


def _print_traceback() -> None:
    if os.environ.get(DEBUG_VARIABLE):
        click.echo(redact(traceback.format_exc()), err=True)


def _report_error(text: str, code: int) -> int:
    echo(f"edge-runtime: {redact(' '.join(text.split()))}", err=True)
    return code
