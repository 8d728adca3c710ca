"""The process that hashes photos, one after another. A photo that ends it ends nothing else."""

from __future__ import annotations

import ctypes
import os
import signal
from multiprocessing.connection import Connection
from typing import NamedTuple

from edge_runtime.batch.work import Setup, Task, hash_photo, method_of
from edge_runtime.errors import EdgeRuntimeError, ModelInvalidError

_SET_DEATH_SIGNAL = 1


class Ready(NamedTuple):
    """The process has opened its engine."""

    engine: str


class Refused(NamedTuple):
    """The process cannot begin."""

    error: EdgeRuntimeError


def main(descriptor: int, parent: int) -> None:
    """Hash the photos that arrive on the socket `descriptor` until the process `parent` ends.

    The first message is the `Setup`, and the first answer `Ready` or `Refused`.
    """
    _end_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends this
    connection: Connection = Connection(descriptor)
    try:
        _serve(connection)
    except (EOFError, OSError):
        os._exit(0)


def _serve(connection: Connection) -> None:
    import cv2

    from edge_runtime.engine import open_engine

    cv2.setNumThreads(1)
    setup: Setup = connection.recv()
    try:
        engine = open_engine(setup.model or None, threads=1)
        method = setup.method
        found = method_of(engine, features=bool(method.features), views=method.views > 1)
        if found != method:
            raise ModelInvalidError(
                f"this is model {found.model_id[:12]}, not {method.model_id[:12]}",
                where=engine.model.path,
                remedy="copy the same model to every machine, and do not replace it during a run",
            )
    except EdgeRuntimeError as error:
        connection.send(Refused(error))
        return
    connection.send(Ready(engine.name))
    while True:
        task: Task = connection.recv()
        connection.send(hash_photo(engine, method, task))


def _end_with(parent: int) -> None:
    """Let the kernel end this process with its parent, even while a photo hangs."""
    ctypes.CDLL(None, use_errno=True).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
