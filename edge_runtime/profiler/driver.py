"""Drives the daemon's own loop over a source of pictures, in one of three paces."""

from __future__ import annotations

import threading
import time
from abc import abstractmethod

from edge_runtime.camera.base import Shot, Source
from edge_runtime.camera.recovery import State
from edge_runtime.camera.supervisor import CameraSupervisor
from edge_runtime.daemon import Daemon
from edge_runtime.errors import CameraLostError, ReportError
from edge_runtime.recognition.pipeline import Pipeline
from edge_runtime.sinks import Sink

PATIENCE_S = 30.0
"""Without a frame for so long, a run is cut short."""


class Driven(Source):
    """Another source, which delivers when this one lets it."""

    def __init__(self, inner: Source) -> None:
        self.name, self.live = inner.name, inner.live
        self._inner = inner

    def open(self) -> None:
        """See `Source.open`."""
        self._inner.open()

    def close(self) -> None:
        """See `Source.close`."""
        self._inner.close()

    @abstractmethod
    def next(self) -> Shot | None:
        """See `Source.next`."""


class OneByOne(Driven):
    """Fetches the next picture only when told to: nothing runs beside the path."""

    def __init__(self, inner: Source) -> None:
        super().__init__(inner)
        self._told = threading.Semaphore(0)

    def go(self) -> None:
        """Fetch one."""
        self._told.release()

    def interrupt(self) -> None:
        """See `Source.interrupt`."""
        self.go()

    def next(self) -> Shot | None:
        """See `Source.next`."""
        self._told.acquire()
        requested_at_s = time.monotonic()
        shot = self._inner.next()
        return shot and shot._replace(requested_at_s=requested_at_s)


class Paced(Driven):
    """Delivers at fixed times and says when each picture was due.

    A path that falls behind makes later pictures late, and their lateness counts: measuring only
    from the moment at which the path was ready would omit just the worst (coordinated omission).
    """

    def __init__(self, inner: Source, per_s: float) -> None:
        super().__init__(inner)
        self._pause_s = 1 / per_s
        self._due_s: float | None = None

    def next(self) -> Shot | None:
        """See `Source.next`."""
        if self._due_s is None:
            self._due_s = time.monotonic()
        self._due_s += self._pause_s
        time.sleep(max(0.0, self._due_s - time.monotonic()))
        requested_at_s = time.monotonic()
        shot = self._inner.next()
        return shot and shot._replace(captured_at_s=self._due_s, requested_at_s=requested_at_s)


class Driver:
    """A daemon over `source`; `one` takes it a frame further.

    A live source comes as it comes. Any other is driven one by one, or `per_s` pictures a second.
    """

    def __init__(
        self, pipeline: Pipeline, source: Source, sink: Sink, *, per_s: float | None = None
    ) -> None:
        self.pace = "camera" if source.live else "paced" if per_s else "one by one"
        self._turns: OneByOne | None = None
        if self.pace == "paced" and per_s:
            source = Paced(source, per_s)
        elif self.pace == "one by one":
            source = self._turns = OneByOne(source)
        self.daemon = Daemon(CameraSupervisor(source, wait=False), pipeline, [sink], samples=1)

    def one(self) -> None:
        """One more frame along the path; raises `CameraError` when there is none to be had."""
        daemon = self.daemon
        before, began_s = daemon.frames + daemon.faults, time.monotonic()
        if self._turns is not None:
            self._turns.go()
        while daemon.frames + daemon.faults == before:
            daemon.run_once()
            if daemon.camera.state is State.STOPPED:
                raise ReportError(
                    "the pictures ended", where=daemon.camera.source.name, remedy="name some more"
                )
            if time.monotonic() - began_s > PATIENCE_S:
                raise CameraLostError(
                    f"no frame for {PATIENCE_S:g} s", where=daemon.camera.source.name
                )

    def close(self) -> None:
        """Let the source go."""
        if self._turns is not None:
            self._turns.go()  # its thread waits for this
        self.daemon.camera.close()
        self.daemon.work_queue.close()
