"""The thread that searches: a gallery serves one thread, and a batch costs less than its queries.

Whatever waits when the thread is free is answered together. So the busier the server, the more
queries share one pass over the codes.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from edge_runtime.errors import BusyError, EdgeRuntimeError
from edge_runtime.server.codes import Answer, Codes, Content, Query
from edge_runtime.system.helper_thread import HelperThread

MOST_WAITING = 8192
"""Queries that wait; more are refused."""
TOGETHER = 1024
"""Queries from which on a search takes no further requests."""
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
        # Its lock is released before the thread wakes up. With a condition, both threads would
        # wait for each other once more in every request.
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        """None only wakes the thread up."""
        self._counting = threading.Lock()
        self.waiting = 0
        """The number of queries that wait."""
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

    def ask(self, queries: Sequence[Query]) -> Future[Result]:
        """Return the answers, soon; without queries, only the content. Raises `BusyError`."""
        job = _Job(queries)
        with self._counting:
            if self._closed or self.waiting + len(queries) > MOST_WAITING:
                self.work.refused += len(queries)
                raise BusyError("too many queries at once", remedy="try again in a second")
            self.waiting += len(queries)
            self._jobs.put(job)
        return job.future

    def close(self, wait_s: float) -> None:
        """Stop within `wait_s`; what waits is refused."""
        with self._counting:
            self._closed = True
        self._jobs.put(None)
        self.thread.stop()
        self.thread.join(wait_s)
        while not self._jobs.empty():
            job = self._next()
            if job is not None and job.future.set_running_or_notify_cancel():
                job.future.set_exception(BusyError("the server is shutting down"))

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
        while not self._closed:
            self._answer(self._codes, self._take())
        self._codes.close()

    def _take(self) -> list[_Job]:
        """Wait for jobs and return those that are answered together; none at the end."""
        job = self._jobs.get()
        jobs: list[_Job] = []
        size = 0
        while job is not None:
            jobs.append(job)
            size += len(job.queries)
            job = self._next() if size < TOGETHER else None
        with self._counting:
            self.waiting -= size
        return jobs

    def _next(self) -> _Job | None:
        """Return the next job; None if none waits, or `close` has been called."""
        try:
            return self._jobs.get_nowait()
        except queue.Empty:
            return None

    def _answer(self, codes: Codes, jobs: list[_Job]) -> None:
        if not jobs:
            return
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
