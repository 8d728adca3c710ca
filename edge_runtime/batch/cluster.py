"""Hash photos on the workers of a Dask cluster, whatever happens to workers and scheduler.

Photos travel in chunks. A chunk whose worker, scheduler or result is lost is submitted again. One
that takes too long, because its machine stands still, is also given to another worker, and the
first result counts. A photo that is hashed twice does no harm: the journal stores a digest once.
"""

from __future__ import annotations

import os
import queue
import time
from collections import Counter, deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.batch.remote import Sent, hash_chunk
from edge_runtime.batch.scheduler import ANSWER_S, Scheduler
from edge_runtime.batch.work import Failed, Outcome, Setup, Task
from edge_runtime.errors import EdgeRuntimeError, PhotoError, ServiceError
from edge_runtime.image.decode import read_bytes

if TYPE_CHECKING:
    from distributed import Future

CHUNK = 32
"""Photos in a chunk."""
CHUNK_BYTES = 8 << 20
"""Bytes of the photos in a chunk that is sent; the last of them may exceed it."""
DEPTH = 2
"""Chunks per thread of the cluster, so that a worker need not wait for the next one."""
TICK_S = 0.25
MOST_KILLS = 3
"""Times that the cluster may give up a photo that is alone in its chunk."""


@dataclass(frozen=True)
class ClusterOptions:
    """The cluster, and how photos reach it."""

    address: str
    """Address of the scheduler, such as tcp://host:8786."""
    send: bool = False
    """Send the content of photos; else the workers read them at the same paths."""
    wait_s: float = 60.0
    """How long to wait for a scheduler and for workers, at the start and when they are lost."""


@dataclass(eq=False)
class _Chunk:
    photos: list[Sent]
    done: bool = False
    since_s: float = field(default_factory=time.monotonic)
    """Since when its newest copy is under way."""


def run_on_cluster(
    options: ClusterOptions,
    setup: Setup,
    paths: tuple[Path, ...],
    tasks: Iterator[Task],
    photo_limit_s: float,
) -> Iterator[Outcome | None]:
    """Yield one outcome for each of `tasks`, in any order, and None when nothing has happened.

    Raises the errors of `Scheduler`, and `ServiceError` if a worker that came later is unsuitable.
    """
    shared = () if options.send else paths
    places = tuple(os.path.abspath(path) for path in shared)  # noqa: PTH100
    scheduler = Scheduler(options.address, options.wait_s, setup, places, photo_limit_s)
    try:
        yield from _Run(scheduler, options, setup, tasks, photo_limit_s).outcomes()
    finally:
        scheduler.close()


class _Run:
    """The chunks of one run."""

    def __init__(
        self,
        scheduler: Scheduler,
        options: ClusterOptions,
        setup: Setup,
        tasks: Iterator[Task],
        photo_limit_s: float,
    ) -> None:
        self._scheduler = scheduler
        self._options = options
        self._setup = setup
        self._tasks = tasks
        self._photo_limit_s = photo_limit_s
        self._again: deque[_Chunk] = deque()
        self._running: dict[str, tuple[_Chunk, Future[Any]]] = {}
        self._ended: queue.SimpleQueue[str] = queue.SimpleQueue()
        """Keys of calls that have ended in any way."""
        self._kills: Counter[bytes] = Counter()
        self._seen_s = time.monotonic()
        """When there were workers."""

    def outcomes(self) -> Iterator[Outcome | None]:
        """Yield outcomes until there is one for each photo."""
        while True:
            self._keep_connected()
            while len(self._running) < DEPTH * sum(self._scheduler.threads.values()):
                chunk = self._again.popleft() if self._again else (yield from self._next_chunk())
                if chunk is None:
                    break
                if not chunk.done:
                    self._submit(chunk)
            under_way = self._again or not all(chunk.done for chunk, _ in self._running.values())
            if self._scheduler.threads and not under_way:
                return
            self._repeat_late()
            try:
                key = self._ended.get(timeout=TICK_S)
            except queue.Empty:
                yield None
                continue
            if key in self._running:  # else it was lost, and is repeated
                yield from self._finish(*self._running.pop(key))

    def _keep_connected(self) -> None:
        """Put chunks in again that were lost with the scheduler; raises `ServiceError`."""
        if self._scheduler.lost():
            self._again.extend(chunk for chunk, _ in self._running.values() if not chunk.done)
            self._running.clear()
        if self._scheduler.threads:
            self._seen_s = time.monotonic()
        elif time.monotonic() - self._seen_s > self._options.wait_s:
            raise ServiceError(
                "the scheduler has lost all workers",
                where=self._options.address,
                remedy="start some and repeat the command; what is hashed is kept",
            )

    def _next_chunk(self) -> Generator[Outcome, None, _Chunk | None]:
        """Return the next chunk; None at the end. Yields photos that cannot be read to be sent."""
        photos: list[Sent] = []
        size = 0
        for task in self._tasks:
            data = None
            if self._options.send:
                try:
                    data = read_bytes(task.path)
                except PhotoError as error:
                    yield Failed(task.photo, error.what, error.remedy)
                    continue
                size += len(data)
            photos.append((task, data))
            if len(photos) == CHUNK or size > CHUNK_BYTES:
                break
        return _Chunk(photos) if photos else None

    def _submit(self, chunk: _Chunk, workers: list[str] | None = None) -> None:
        chunk.since_s = time.monotonic()
        future = self._scheduler.submit(
            hash_chunk, self._setup, chunk.photos, self._photo_limit_s, workers=workers or ()
        )
        self._running[future.key] = chunk, future
        future.add_done_callback(lambda ended: self._ended.put(ended.key))

    def _repeat_late(self) -> None:
        """Give chunks that are late to other workers, too."""
        before_s = time.monotonic() - 3 * self._photo_limit_s
        late = {
            key: chunk
            for key, (chunk, _) in self._running.items()
            if not chunk.done and chunk.since_s < before_s
        }
        if not late:
            return
        at_work = self._scheduler.at_work()
        for chunk in set(late.values()):
            keys = {key for key, each in late.items() if each is chunk}
            others = [
                worker
                for worker in self._scheduler.threads
                if not keys & at_work.get(worker, set())
            ]
            self._submit(chunk, others)

    def _finish(self, chunk: _Chunk, future: Future[Any]) -> Iterator[Outcome]:
        """Take the result of a call that has ended, or repeat it."""
        if chunk.done:
            return
        try:
            outcomes: list[Outcome] = future.result(timeout=ANSWER_S)
        except EdgeRuntimeError as error:
            raise ServiceError(
                f"a worker cannot continue: {error.where}: {error.what}",
                where=self._options.address,
                remedy=error.remedy,
            ) from error
        except Exception as error:
            yield from self._repeat(chunk, error)
            return
        chunk.done = True
        yield from outcomes

    def _repeat(self, chunk: _Chunk, error: Exception) -> Iterator[Outcome]:
        from distributed import KilledWorker

        if isinstance(error, ImportError | AttributeError):
            raise ServiceError(
                f"edge-runtime cannot be used on a worker: {error}",
                where=self._options.address,
                remedy="install the same version on all machines",
            ) from error
        if not isinstance(error, KilledWorker):  # lost
            self._again.append(chunk)
            return
        chunk.done = True
        for sent in chunk.photos:
            photo = sent[0].photo
            self._kills[photo] += len(chunk.photos) == 1
            if self._kills[photo] < MOST_KILLS:
                self._again.append(_Chunk([sent]))
            else:
                yield Failed(photo, "every worker that got it has ended", "remove or replace it")
