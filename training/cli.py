"""What the room's commands share: one-line errors, talk on stderr, fixed threads and seeds."""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import click
import cv2
import torch

from edge_runtime.errors import EXIT_INTERRUPTED, EdgeRuntimeError, StorageError, storage_error

P = ParamSpec("P")
R = TypeVar("R")
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # malloc.h
LONGEST = 4096  # bits of a code, as edge_runtime.model allows
BITS = click.IntRange(1, LONGEST)
SIDE = click.IntRange(32, 1024)  # of the input in pixels: the network halves it five times
THREADS = 2  # of torch; the sums of a convolution, and so the result, depend on it


def say(line: str) -> None:
    """One line of talk to stderr."""
    click.echo(line, err=True)


def settle(seed: int, threads: int = THREADS) -> None:
    """Fix what a result could depend on: seed, threads, algorithms."""
    # Augmenting threads hold the interpreter; at the default 5 ms, torch's thread, which lets go of
    # it in each of its hundreds of operations a step, waits longer than it computes.
    sys.setswitchinterval(1e-4)
    _keep_memory()
    cv2.setNumThreads(1)
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # No operation here reads memory before it writes it; filling it all first would be for nothing.
    torch.utils.deterministic.fill_uninitialized_memory = False


def _keep_memory() -> None:
    """Have glibc's malloc keep what is freed, and map nothing apart.

    A training step's maps are large: by default each is mapped, zeroed page by page and given back
    again, which took a quarter of a step or more where it was tried by hand.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    for option, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, 64 << 20)):
        if mallopt is not None:
            mallopt(option, value)


def fail_in_one_line(command: Callable[P, R]) -> Callable[P, R]:
    """Turn a fault of ours or of the disk into its one line and exit code; Ctrl-C into 130."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except EdgeRuntimeError as error:
            say(f"error: {error}")
            sys.exit(error.exit_code)
        except BrokenPipeError:  # whoever read our output has gone: click ends quietly
            raise
        except OSError as error:
            say(f"error: {storage_error(error, error.filename or '') or error}")
            sys.exit(StorageError.exit_code)
        except KeyboardInterrupt:
            say("interrupted; a training run goes on from its checkpoint with the same command")
            sys.exit(EXIT_INTERRUPTED)

    return wrapped
