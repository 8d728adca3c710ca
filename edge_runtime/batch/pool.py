"""Hash photos in processes of this machine, whatever the photos do to them.

A process answers its photos in order. If it ends, or does not answer in time, its oldest photo is
the suspect: it is hashed again while no other photo waits behind it, and after some attempts it
has failed. Everything else continues with another process.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from edge_runtime.batch.child import Ready, Refused
from edge_runtime.batch.work import Failed, Outcome, Setup, Task
from edge_runtime.errors import ResourceError
from edge_runtime.shortage import shortage

PHOTO_LIMIT_S = 150.0
"""Time of one photo. The limit of a TIFF, which has a process of its own, is shorter."""
START_LIMIT_S = 120.0
"""Time until a process has opened its engine."""
MOST_DEATHS, MOST_STALLS = 3, 2
"""Attempts at a photo. Processes also end by other causes, so that one photo may have bad luck."""
MOST_FAILED_STARTS = 10
"""Processes in a row that end before they are ready."""
TICK_S = 0.25
"""How often it is looked whether a process is late."""
DEPTH = 2
"""Photos that a process has, so that it need not wait for the next one."""
_ROOT = Path(__file__).resolve().parents[2]
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


class _Process:
    """A process of `child`, the photos it has, and how long it has had the oldest."""

    def __init__(self, setup: Setup) -> None:
        """Start the process; raises `ResourceError`."""
        ours, other = socket.socketpair()
        # By path, so that the child runs the same code as this process wherever that lies.
        start = (
            f"import sys; sys.path.insert(0, {str(_ROOT)!r}); "
            f"from edge_runtime.batch.child import main; main({other.fileno()}, {os.getpid()})"
        )
        try:
            with other:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", start],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=(other.fileno(),),
                    env={**os.environ, **_ONE_THREAD},
                )
        except OSError as error:
            ours.close()
            raise shortage(error) or ResourceError(
                f"cannot start a process: {error}", remedy="close other programs"
            ) from error
        self.connection: Connection = Connection(ours.detach())
        self.pid = self._process.pid
        self.ready = False
        self.alone = False
        """Whether it has a suspect, and gets no other photo until that is answered."""
        self.tasks: deque[Task] = deque()
        self._since_s = time.monotonic()
        self._send(setup)

    def give(self, task: Task) -> None:
        """Hash `task` after those that it has."""
        if not self.tasks:
            self._since_s = time.monotonic()
        self.tasks.append(task)
        self._send(task)

    def answered(self) -> Task:
        """Return the oldest task, which has just been answered, and drop it."""
        self._since_s = time.monotonic()
        self.alone = False
        return self.tasks.popleft()

    def deadline_s(self, photo_limit_s: float) -> float:
        """Return when it must have answered."""
        if not self.ready:
            return self._since_s + START_LIMIT_S
        return self._since_s + photo_limit_s if self.tasks else float("inf")

    def end(self) -> int:
        """End the process; return its exit code, negative for a signal."""
        self.connection.close()
        # One that has ended by itself keeps its exit code.
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(0 if self._process.poll() is not None else 0.05)
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):  # a call of the kernel may not end
            return self._process.wait(2)
        return -signal.SIGKILL

    def _send(self, message: object) -> None:
        with suppress(OSError):  # it has ended, which `_collect` sees
            self.connection.send(message)


class Pool:
    """Processes that hash photos. A context manager: its end ends them."""

    def __init__(self, setup: Setup, count: int, *, photo_limit_s: float = PHOTO_LIMIT_S) -> None:
        """Start `count` processes; raises `ResourceError`."""
        self._setup = setup
        self._photo_limit_s = photo_limit_s
        self._processes = [_Process(setup) for _ in range(count)]
        self._again: deque[Task] = deque()
        """Photos that waited behind a suspect."""
        self._suspects: deque[Task] = deque()
        self._strikes: Counter[bytes] = Counter()
        self._failed_starts = 0

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End all processes."""
        for process in self._processes:  # all at once: each ends by itself if it can
            process.connection.close()
        for process in self._processes:
            process.end()

    def pids(self) -> list[int]:
        """Return the ids of the processes."""
        return [process.pid for process in self._processes]

    def start(self) -> None:
        """Wait until every process is ready; raises what `run` raises."""
        while not all(process.ready for process in self._processes):
            for _ in self._collect():
                pass

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome | None]:
        """Yield one outcome for each of `tasks`, in any order; takes a task when one is needed.

        Yields None when nothing has happened for `TICK_S`. Raises the error of a process that
        cannot begin, and `ResourceError` if none can.
        """
        source = iter(tasks)
        while True:
            self._deal(source)
            if not self._suspects and not any(process.tasks for process in self._processes):
                first = self._next(source)
                if first is None:
                    return
                self._again.appendleft(first)
            yield from self._collect()

    def _deal(self, source: Iterator[Task]) -> None:
        for process in self._processes:
            if not process.ready or process.alone:
                continue
            if self._suspects and not process.tasks:
                process.alone = True
                process.give(self._suspects.popleft())
                continue
            while len(process.tasks) < DEPTH and (task := self._next(source)) is not None:
                process.give(task)

    def _next(self, source: Iterator[Task]) -> Task | None:
        return self._again.popleft() if self._again else next(source, None)

    def _collect(self) -> Iterator[Outcome | None]:
        """Wait for answers, yield them, and replace processes that ended or do not answer."""
        answering = set(wait([each.connection for each in self._processes], TICK_S))
        if not answering:
            yield None
        for place, process in enumerate(self._processes):
            try:
                if process.connection in answering:
                    while process.connection.poll():
                        yield from self._take(process, process.connection.recv())
            except (EOFError, OSError):
                yield from self._replace(place, stalled=False)
                continue
            if process.deadline_s(self._photo_limit_s) < time.monotonic():
                yield from self._replace(place, stalled=True)

    def _take(self, process: _Process, answer: Any) -> Iterator[Outcome]:
        if isinstance(answer, Refused):
            raise answer.error
        if isinstance(answer, Ready):
            process.ready = True
            self._failed_starts = 0
            return
        self._strikes.pop(process.answered().photo, None)
        yield answer

    def _replace(self, place: int, *, stalled: bool) -> Iterator[Outcome]:
        process = self._processes[place]
        code = process.end()
        if not process.ready:
            self._failed_starts += 1
            if self._failed_starts >= MOST_FAILED_STARTS:
                raise ResourceError(
                    f"the processes that hash photos end while they start ({_ending(code)})",
                    remedy="use fewer workers, close other programs, or raise the memory limit",
                )
        self._processes[place] = _Process(self._setup)
        if not process.tasks:
            return
        suspect = process.tasks.popleft()
        self._again.extendleft(reversed(process.tasks))
        self._strikes[suspect.photo] += 1
        attempts = self._strikes[suspect.photo]
        if attempts < (MOST_STALLS if stalled else MOST_DEATHS):
            self._suspects.append(suspect)
            return
        del self._strikes[suspect.photo]
        what = (
            f"does not end within {self._photo_limit_s:g} s"
            if stalled
            else f"ends the process that hashes it ({_ending(code)})"
        )
        yield Failed(suspect.photo, f"{what}, in {attempts} attempts", "remove or replace it")


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
