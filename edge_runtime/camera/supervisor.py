"""Supervise a camera: reopen it whenever it fails, with bounded waits."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from edge_runtime.camera.base import Source
from edge_runtime.camera.capture import CLOSE_S, FIRST_FRAME_S, NEXT_FRAME_S, Capture
from edge_runtime.camera.recovery import Recovery, RetryPolicy, State
from edge_runtime.errors import CameraError, CameraLostError
from edge_runtime.types import Frame

HUNG_LIMIT = 8
"""Calls that may hang in a driver at once. A thread cannot be ended from outside. Beyond this limit
only a new process helps: the error is raised, and the service manager restarts the daemon."""


class CameraSupervisor:
    """Delivers the frames of one camera, across failures. Used from one thread."""

    def __init__(
        self,
        source: Source,
        *,
        policy: RetryPolicy | None = None,
        first_frame_s: float = FIRST_FRAME_S,
        next_frame_s: float = NEXT_FRAME_S,
        wait: bool = True,
        reconnect: bool = True,
        condition: threading.Condition | None = None,
    ) -> None:
        """Supervise the camera behind `source`.

        With `wait`, a camera that is missing at the start is opened again until it appears;
        otherwise its error is raised. With `reconnect`, a camera that fails while running is opened
        again; otherwise every error is raised.

        `condition` is notified whenever `poll` may have a result. Notify it to end a wait early.
        """
        self.source = source
        self.condition = condition or threading.Condition()
        self.recovery = Recovery(source.name, policy, now_s=time.monotonic())
        self.last_frame_s: float | None = None
        """Capture time of the newest frame returned, `time.monotonic`."""
        self._limits_s = (first_frame_s, next_frame_s)
        self._wait = wait
        self._reconnect = reconnect
        self._interval_s = 0.0
        self._preview_only = False
        self._retry_at_s = 0.0
        self._capture: Capture | None = None
        self._closed: list[Capture] = []
        self._totals = {"dropped": 0, "damaged": 0, "skipped": 0}
        self._sequence = 0

    def poll(self, wait_s: float, unless: Callable[[], bool] = bool) -> Frame | None:
        """Wait up to `wait_s` for a frame, or return None; see `Capture.poll` for `unless`.

        Raises `CameraError` only where another attempt is useless: a file cannot be read, the
        camera is missing at the start without `wait`, the camera fails without `reconnect`, or too
        many calls hang.
        """
        if self.state is State.STOPPED:
            return None
        now_s = time.monotonic()
        if self._capture is None:
            if now_s < self._retry_at_s:
                with self.condition:
                    self.condition.wait_for(unless, min(wait_s, self._retry_at_s - now_s))
                return None
            self._open()
        assert self._capture is not None
        try:
            frame = self._capture.poll(wait_s, unless)
        except CameraError as error:
            self._failed(error)
            return None
        if frame is not None:
            self.last_frame_s = frame.captured_at_s
            self.recovery.frame(time.monotonic())
        elif self._capture.ended:
            self.recovery.stop("the source ended", time.monotonic())
        return frame

    def ready(self) -> bool:
        """Return whether `poll` would return or raise immediately."""
        if self.state is State.STOPPED:
            return False
        return self._capture is not None and self._capture.ready()

    def due_in_s(self) -> float:
        """Return the seconds until `poll` must be called even if no frame arrives."""
        if self.state is State.STOPPED:
            return math.inf
        if self._capture is None:
            return self._retry_at_s - time.monotonic()
        return self._capture.left_s()

    @property
    def too_many_hung(self) -> bool:
        """Whether so many calls hang in the driver that only a new process helps."""
        return self.hung_calls > HUNG_LIMIT

    def give_up(self, error: CameraError) -> None:
        """Stop this camera because of `error`, which another attempt cannot cure."""
        self.recovery.fault = str(error)
        self.recovery.stop(str(error), time.monotonic())
        self._release(0.1)

    @property
    def state(self) -> State:
        """State of the camera."""
        return self.recovery.state

    @property
    def dropped(self) -> int:
        """Number of frames that were not taken in time."""
        return self._count("dropped")

    @property
    def damaged(self) -> int:
        """Number of frames that could not be decoded."""
        return self._count("damaged")

    @property
    def skipped(self) -> int:
        """Number of frames skipped to limit the rate."""
        return self._count("skipped")

    @property
    def hung_calls(self) -> int:
        """Number of earlier captures that still hang in their driver."""
        self._closed = [capture for capture in self._closed if capture.is_hung]
        return len(self._closed)

    def limit_rate(self, frames_per_second: float | None) -> None:
        """Limit the frame rate of a live camera; None removes the limit."""
        self._interval_s = 1 / frames_per_second if frames_per_second else 0.0
        if self._capture is not None:
            self._capture.interval_s = self._interval_s

    def set_preview_only(self, preview_only: bool) -> None:
        """Set whether only the previews that the change gate needs are decoded."""
        self._preview_only = preview_only
        if self._capture is not None:
            self._capture.preview_only = preview_only

    def close(self, wait_s: float = CLOSE_S) -> None:
        """Release the camera within about `wait_s`; it cannot be used afterwards."""
        self.recovery.stop("stop requested", time.monotonic())
        self._release(wait_s)

    def __enter__(self) -> CameraSupervisor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _count(self, name: str) -> int:
        return self._totals[name] + (getattr(self._capture, name) if self._capture else 0)

    def _open(self) -> None:
        first_frame_s, next_frame_s = self._limits_s
        self._capture = Capture(
            self.source,
            first_frame_s=first_frame_s,
            next_frame_s=next_frame_s,
            condition=self.condition,
            sequence=self._sequence,
            preview_only=self._preview_only,
        )
        self._capture.interval_s = self._interval_s

    def _failed(self, error: CameraError) -> None:
        if (
            not self.source.live
            or not self._reconnect
            or (not self._wait and self.state is State.STARTING)
        ):
            raise error
        self._release(0.1)
        if self.too_many_hung:
            raise CameraLostError(
                f"{self.hung_calls} calls hang in the camera's driver",
                where=self.source.name,
                remedy="reconnect the camera or restart the machine",
            )
        self.source = self.source.clone()
        now_s = time.monotonic()
        self._retry_at_s = now_s + self.recovery.failed(str(error), now_s)

    def _release(self, wait_s: float) -> None:
        capture, self._capture = self._capture, None
        if capture is None:
            return
        capture.close(wait_s)
        for name in self._totals:
            self._totals[name] += getattr(capture, name)
        self._sequence = capture.sequence
        self._closed.append(capture)
