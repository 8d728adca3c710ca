"""The `edge-runtime` command: stdout carries data, stderr carries talk.

Sub-commands are loaded when they are called, so that `--help` and small commands start at once.
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
from typing import NoReturn

import click

from edge_runtime import __version__
from edge_runtime.errors import EXIT_INTERRUPTED, EdgeRuntimeError, storage_error

DEBUG_VARIABLE = "EDGE_RUNTIME_DEBUG"

# No answer needs large matrix products, but numpy's library for them starts a thread a core; these
# spin beside the start, when the bundle is checked and loaded. The caller's own setting stands.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

_COMMANDS = {
    "config": "Check, show or begin a configuration file.",
    "doctor": "Is this machine able to do the job?",
    "enroll": "Teach it places and objects from photos.",
    "gallery": "What has been enrolled, and the care of its file.",
    "profile": "How fast is it here, and what does it take?",
    "query": "Which place or object is in a photo?",
    "report": "Show, draw and compare what profile has measured.",
    "run": "Watch a camera and say what it sees.",
}


class _LazyGroup(click.Group):
    """Imports a sub-command's module when it is called; its help line is known without."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"edge_runtime.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edge-runtime")
def command() -> None:
    """Point a camera at a place or an object and know which one it is, on this device alone."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit; docs/ERRORS.md lists the exit codes."""
    _leave(run_command(arguments))


def _leave(code: int) -> NoReturn:
    """End the process as it is, with what was asked to be done at its end.

    To take an interpreter apart that has numpy and OpenCV in it costs more CPU than all else that a
    service does when it stops, and a thread that hangs in a driver would have to be waited for.
    """
    if os.environ.get(DEBUG_VARIABLE):  # profilers of Python want the usual end
        sys.exit(code)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads it any more
            stream.flush()
    os._exit(code)


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Run the command; every error becomes one line on stderr and an exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        # A label of another script, or a file's name that is no UTF-8, is written as stderr does.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = command.main(arguments, prog_name="edge-runtime", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.Abort:
        return _complain("interrupted", EXIT_INTERRUPTED)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except EdgeRuntimeError as error:
        _trace()
        return _complain(str(error), error.exit_code)
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        _trace()
        # One that is not there might be ours, but that it may not be touched is no bug.
        if isinstance(error, OSError) and error.filename and error.errno != errno.ENOENT:
            fault = storage_error(error, error.filename)
            if fault:
                return _complain(str(fault), fault.exit_code)
        return _complain(
            f"internal error: {type(error).__name__}: {error} "
            f"(this is a bug; {DEBUG_VARIABLE}=1 shows where)",
            1,
        )


def _trace() -> None:
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exc()


def _complain(text: str, code: int) -> int:
    click.echo(f"edge-runtime: {' '.join(text.split())}", err=True)
    return code
