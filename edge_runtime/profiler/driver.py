"""Run the daemon's own loop over a source of images, at one of three paces."""

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

FRAME_LIMIT_S = 30.0
"""A run ends early after this time without a frame."""


class ControlledSource(Source):
    """Wraps a source and controls when it delivers."""

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


class OneByOne(ControlledSource):
    """Loads the next image only after `go`: nothing runs in parallel to the pipeline."""

    def __init__(self, inner: Source) -> None:
        super().__init__(inner)
        self._permits = threading.Semaphore(0)

    def go(self) -> None:
        """Load one image."""
        self._permits.release()

    def interrupt(self) -> None:
        """See `Source.interrupt`."""
        self.go()

    def next(self) -> Shot | None:
        """See `Source.next`."""
        self._permits.acquire()
        requested_at_s = time.monotonic()
        shot = self._inner.next()
        return shot and shot._replace(requested_at_s=requested_at_s)


class Paced(ControlledSource):
    """Delivers at fixed times and records when each image was due.

    If the pipeline falls behind, later images are late, and the delay counts. To measure only from
    the time when the pipeline was ready would omit the worst cases (coordinated omission).
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
    """A daemon on the frames of `source`; `process_one` processes the next frame.

    A live source sets its own pace. Any other source is read one by one, or with `per_s` images per
    second.
    """

    def __init__(
        self, pipeline: Pipeline, source: Source, sink: Sink, *, per_s: float | None = None
    ) -> None:
        self.pace = "camera" if source.live else "paced" if per_s else "one by one"
        self._one_by_one: OneByOne | None = None
        if self.pace == "paced" and per_s:
            source = Paced(source, per_s)
        elif self.pace == "one by one":
            source = self._one_by_one = OneByOne(source)
        self.daemon = Daemon(CameraSupervisor(source, wait=False), pipeline, [sink], samples=1)

    def process_one(self) -> None:
        """Process the next frame.

        Raises `ReportError` at the end of the source, and `CameraError` if it fails.
        """
        daemon = self.daemon
        before, began_s = daemon.frames + daemon.faults, time.monotonic()
        if self._one_by_one is not None:
            self._one_by_one.go()
        while daemon.frames + daemon.faults == before:
            daemon.run_once()
            if daemon.camera.state is State.STOPPED:
                raise ReportError(
                    "the source ended",
                    where=daemon.camera.source.name,
                    remedy="give more photos or a longer video",
                )
            if time.monotonic() - began_s > FRAME_LIMIT_S:
                raise CameraLostError(
                    f"no frame for {FRAME_LIMIT_S:g} s", where=daemon.camera.source.name
                )

    def close(self) -> None:
        """Release the source."""
        if self._one_by_one is not None:
            self._one_by_one.go()  # unblock its thread
        self.daemon.camera.close()
        self.daemon.work_queue.close()
