"""What runs on a worker of the Dask cluster: photos are hashed in processes beside it.

So a photo that hangs or crashes the decoder does the same as on one machine, and the worker, its
other photos and its connections remain.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from edge_runtime.batch.pool import Pool
from edge_runtime.batch.work import Outcome, Setup, Task

Sent = tuple[Task, bytes | None]
"""A photo, and its content if the worker cannot read it from its path."""


class Description(NamedTuple):
    """What a worker has."""

    version: str
    """Of edge-runtime."""
    opencv: str
    """Version of OpenCV, whose decoders make the pixels."""
    missing: tuple[str, ...]
    """Paths that the worker does not see."""


_idle: dict[tuple[Setup, float], list[Pool]] = {}
"""Pools of one process each, ready for the next chunk."""
_lock = threading.Lock()


def describe(setup: Setup, paths: tuple[str, ...], photo_limit_s: float) -> Description:
    """Start a process as `hash_chunk` does; raises its error, such as that of another model."""
    found = description(paths)
    with _pool(setup, photo_limit_s) as pool:
        pool.start()
    return found


def description(paths: tuple[str, ...] = ()) -> Description:
    """Return what this machine has."""
    import cv2

    from edge_runtime import __version__

    missing = tuple(path for path in paths if not Path(path).exists())
    return Description(__version__, cv2.__version__, missing)


def hash_chunk(setup: Setup, chunk: list[Sent], photo_limit_s: float) -> list[Outcome]:
    """Hash photos, and return their outcomes in any order."""
    with tempfile.TemporaryDirectory(prefix="edge-runtime-") as folder:
        tasks = []
        for number, (task, data) in enumerate(chunk):
            if data is not None:
                path = Path(folder, str(number))
                path.write_bytes(data)
                task = task._replace(path=str(path))
            tasks.append(task)
        with _pool(setup, photo_limit_s) as pool:
            return [outcome for outcome in pool.run(tasks) if outcome is not None]


def close_idle() -> None:
    """End the processes that hash nothing now."""
    with _lock:
        pools = [pool for pools in _idle.values() for pool in pools]
        _idle.clear()
    for pool in pools:
        pool.close()


@contextmanager
def _pool(setup: Setup, photo_limit_s: float) -> Iterator[Pool]:
    key = (setup, photo_limit_s)
    with _lock:
        pools = _idle.get(key)
        pool = pools.pop() if pools else None
    pool = pool or Pool(setup, 1, photo_limit_s=photo_limit_s)
    try:
        yield pool
    except BaseException:
        pool.close()
        raise
    with _lock:
        _idle.setdefault(key, []).append(pool)
