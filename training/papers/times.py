"""How long the table of a command took: wall and CPU time, summed over interrupted runs.

The sums lie in a file beside the finished runs and are updated while the command runs, so a run
that was killed counts, too. They are kept out of the table: a table that is made again from the
same data is the same file, byte for byte.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from edge_runtime.errors import ReportError, StorageError
from edge_runtime.system.device import read_device
from training.files import write_json
from training.papers.files import read_object

P = ParamSpec("P")
R = TypeVar("R")
FOLDER = "times"
"""Below the folder of the result files: one file per verb."""
EVERY_S = 5.0
"""A command that is killed loses at most this much of its time."""


@dataclass(frozen=True)
class Spent:
    """The time that a command has taken so far."""

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    """Of all threads, and of finished child processes."""
    runs: int = 0
    """How often the command was started."""
    whole: bool = True
    """Whether all finished runs were timed; some are older than their times otherwise."""
    machine: str = ""
    share: float = 1.0
    """How many of all runs were finished, 0 to 1; below 1, the time of the whole is an estimate."""

    @property
    def cpu_of_all(self) -> float:
        """Return the CPU seconds of all runs: measured, or in proportion to those finished."""
        return self.cpu_seconds / self.share


class Stopwatch:
    """Measures a command from now on, on top of what `path` says."""

    def __init__(self, path: Path, whole: bool) -> None:
        """Start; `whole` counts if `path` does not exist. Raises StorageError and ReportError."""
        self._path, self._lock = path, threading.Lock()
        self._before = read_spent(path) if path.exists() else Spent(whole=whole)
        self._began = time.monotonic(), _cpu_seconds()
        self._ended = threading.Event()
        self.save()
        self._saver = threading.Thread(target=self._save_often, daemon=True)
        self._saver.start()

    def spent(self) -> Spent:
        """Return the sum up to now."""
        wall, cpu = self._began
        device = read_device()
        return Spent(
            round(self._before.wall_seconds + time.monotonic() - wall, 1),
            round(self._before.cpu_seconds + _cpu_seconds() - cpu, 1),
            self._before.runs + 1,
            self._before.whole,
            f"{device.cpu or device.machine}, {device.cores} CPUs",
        )

    def save(self) -> None:
        """Write the sum up to now; raises StorageError."""
        with self._lock:
            write_json(self._path, asdict(self.spent()))

    def end(self) -> None:
        """Write the sum for the last time; raises StorageError."""
        self._ended.set()
        self._saver.join()
        self.save()

    def _save_often(self) -> None:
        while not self._ended.wait(EVERY_S):
            with suppress(StorageError):  # the command itself meets a full disk and says so
                self.save()


_running: ContextVar[tuple[str, Stopwatch] | None] = ContextVar("running", default=None)


def timed(verb: str, finished: str = "runs.jsonl") -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Time a command with an option --out, whose finished runs are lines of OUT/`finished`."""

    def decorate(command: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(command)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
            out = Path(str(kwargs["out"]))
            path = out / f"{verb}.time.json"
            with _measured(verb, Stopwatch(path, not (out / finished).exists())):
                return command(*args, **kwargs)

        return wrapped

    return decorate


@contextmanager
def _measured(verb: str, watch: Stopwatch) -> Iterator[None]:
    token = _running.set((verb, watch))
    try:
        yield
    finally:
        _running.reset(token)
        watch.end()


def keep_time(folder: Path) -> None:
    """Write the time of the running command to folder `folder`/times; nothing if none is timed.

    Raises StorageError.
    """
    running = _running.get()
    if running is not None:
        verb, watch = running
        write_json(folder / FOLDER / f"{verb}.json", asdict(watch.spent()))


def keep_share(folder: Path, done: int, total: int) -> None:
    """Write the time of the running command when `done` of its `total` runs are finished.

    It is for a command that takes hours: its time is known before its table is. A time of all runs
    stays. Raises StorageError and ReportError.
    """
    running = _running.get()
    if running is not None and done < total:
        verb, watch = running
        path = folder / FOLDER / f"{verb}.json"
        if not path.exists() or read_spent(path).share < 1:
            write_json(path, asdict(replace(watch.spent(), share=round(done / total, 4))))


def read_spent(path: Path) -> Spent:
    """Read a file of times; raises ReportError."""
    found: dict[str, Any] = read_object(path)
    try:
        return Spent(**found)
    except TypeError as error:
        raise ReportError(f"not the time of a command: {error}", where=path) from error


def read_times(folder: Path) -> dict[str, Spent]:
    """Return verb -> time of every file in `folder`/times; raises ReportError."""
    files = sorted((folder / FOLDER).glob("*.json"))
    return {path.stem: read_spent(path) for path in files}


def _cpu_seconds() -> float:
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system
