"""The thread that searches: a gallery serves one thread, and a batch costs less than its queries.

Whatever waits when the thread is free is answered together. So the busier the server, the more
queries share one pass over the codes.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from edge_runtime.errors import BusyError, EdgeRuntimeError
from edge_runtime.server.codes import Answer, Codes, Content, Query
from edge_runtime.system.helper_thread import HelperThread

MOST_WAITING = 8192
"""Queries that wait; more are refused."""
TOGETHER = 1024
"""Queries that are answered together. A search can hold more only if one request has more."""
Result = tuple[Content, list[Answer]]


@dataclass(eq=False)
class _Job:
    queries: Sequence[Query]
    future: Future[Result] = field(default_factory=Future)


@dataclass
class Work:
    """What the worker has done since the start."""

    queries: int = 0
    searches: int = 0
    """Passes over the codes; each answers one or more queries."""
    failed: int = 0
    """Queries that ended in an error."""
    refused: int = 0
    """Queries for which the queue had no room."""
    seconds: float = 0.0
    """Time spent searching."""
    content: Content | None = None
    """That of the last search."""
    fault: str = ""
    """The error of the last search; empty if it succeeded."""


class Worker:
    """Answers queries on a thread of its own."""

    def __init__(self, open_codes: Callable[[], Codes]) -> None:
        """Open the codes on the new thread and wait for that; raises what it raises."""
        self.work = Work()
        self._waiting: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._codes: Codes | None = None
        self._open = open_codes
        opened: Future[None] = Future()
        self._opened = opened
        self.thread = HelperThread("lookup", self._run)
        try:
            opened.result()
        except BaseException:
            self.close(0)
            raise

    @property
    def waiting(self) -> int:
        """The number of queries that wait."""
        return sum(len(job.queries) for job in tuple(self._waiting))

    def ask(self, queries: Sequence[Query]) -> Future[Result]:
        """Return the answers, soon; without queries, only the content. Raises `BusyError`."""
        job = _Job(queries)
        with self._changed:
            if self._closed or self.waiting + len(queries) > MOST_WAITING:
                self.work.refused += len(queries)
                raise BusyError("too many queries at once", remedy="try again in a second")
            self._waiting.append(job)
            self._changed.notify()
        return job.future

    def close(self, wait_s: float) -> None:
        """Stop within `wait_s`; what waits is refused."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self.thread.stop()
        self.thread.join(wait_s)
        self._refuse_waiting()

    def _run(self) -> None:
        if self._codes is None:
            try:
                self._codes = self._open()
            except BaseException as error:
                if self._opened.done():
                    raise
                self._opened.set_exception(error)
                return
            if not self._opened.done():
                self._opened.set_result(None)
        while jobs := self._take():
            self._answer(self._codes, jobs)
        self._codes.close()

    def _take(self) -> list[_Job]:
        """Wait for jobs and return those that are answered together; none at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting)
            jobs: list[_Job] = []
            size = 0
            while self._waiting and not self._closed:
                size += len(self._waiting[0].queries)
                if jobs and size > TOGETHER:
                    break
                jobs.append(self._waiting.popleft())
        return jobs

    def _answer(self, codes: Codes, jobs: list[_Job]) -> None:
        jobs = [job for job in jobs if job.future.set_running_or_notify_cancel()]
        queries = [query for job in jobs for query in job.queries]
        began_s = time.perf_counter()
        try:
            content, answers = codes.near(queries) if queries else (codes.content(), [])
        except Exception as error:
            self.work.failed += len(queries)
            self.work.fault = str(error)
            for job in jobs:
                job.future.set_exception(error)
            if not isinstance(error, EdgeRuntimeError):
                raise
            return
        self.work.queries += len(queries)
        self.work.searches += bool(queries)
        self.work.seconds += time.perf_counter() - began_s
        self.work.content, self.work.fault = content, ""
        rest = iter(answers)
        for job in jobs:
            job.future.set_result((content, [next(rest) for _ in job.queries]))

    def _refuse_waiting(self) -> None:
        with self._changed:
            jobs, self._waiting = list(self._waiting), deque()
        for job in jobs:
            if job.future.set_running_or_notify_cancel():
                job.future.set_exception(BusyError("the server is shutting down"))
