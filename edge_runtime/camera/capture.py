"""Runs a source on its own thread, so that no camera can hang the path."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from edge_runtime.camera.base import Shot, Source
from edge_runtime.errors import (
    CameraError,
    CameraLostError,
    CameraNotFoundError,
    CameraSilentError,
)
from edge_runtime.types import Frame

CLOSE_S = 1.0
"""How long `close` waits for a source. One that hangs in its driver is left to die with us."""
DAMAGED_LIMIT = 30
"""Pictures in a row that cannot be decoded before the camera counts as lost."""
FIRST_FRAME_S = 10.0
NEXT_FRAME_S = 5.0


class Capture:
    """Frames from a source, each wait bounded.

    Of a live source only the newest frame is kept, and frames that nobody took in time are counted
    in `dropped`. Of any other source every frame is delivered, and the source waits.
    """

    def __init__(
        self,
        source: Source,
        *,
        first_frame_s: float = FIRST_FRAME_S,
        next_frame_s: float = NEXT_FRAME_S,
        condition: threading.Condition | None = None,
        sequence: int = 0,
        preview_only: bool = False,
    ) -> None:
        """`changed` is notified of every frame and of the end; `sequence` is the first number.

        `preview_only`: decode only as far as it takes to see whether anything changed.
        """
        self.source = source
        self.dropped = self.damaged = self.skipped = 0
        self.sequence = sequence
        """Of the next frame."""
        self.interval_s = 0.0
        """At least so much time between two frames of a live source; those between are `skipped`,
        on purpose and mostly undecoded."""
        self.preview_only = preview_only
        self._first_frame_s = first_frame_s
        self._next_frame_s = next_frame_s
        self._heard_s = time.monotonic()
        self._gave = False
        self._frame: Frame | None = None
        self._fault: CameraError | None = None
        self._ended = False
        self._stopping = False
        self._condition = condition or threading.Condition()
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self._thread.start()

    def read(self) -> Frame | None:
        """The next frame, or None at the end; raises `CameraError` when none comes in time."""
        while True:
            frame = self.poll(self._next_frame_s)
            if frame is not None or self.ended:
                return frame

    def poll(self, wait_s: float, unless: Callable[[], bool] = bool) -> Frame | None:
        """A frame that is there within `wait_s`; None: not yet, or the end was reached (`ended`).

        Waits no longer once `unless()` is true, which is asked whenever `changed` is notified.

        Raises `CameraError` when the source failed, or has been silent beyond its deadline.
        """
        with self._condition:
            self._condition.wait_for(
                lambda: self.ready() or unless(), timeout=min(wait_s, max(self._left_s(), 0))
            )
            frame, self._frame = self._frame, None
            if frame is not None:
                self._heard_s = max(self._heard_s, time.monotonic())
                self._condition.notify_all()
                return frame
            if self._fault is not None:
                raise self._fault
            if self._ended or self._left_s() > 0:
                return None
        raise self._lost(f"no frame for {self._limit_s():g} s")

    def ready(self) -> bool:
        """Whether `poll` would return or raise at once."""
        return self._frame is not None or self._ended

    @property
    def ended(self) -> bool:
        """Whether a source that has an end has reached it, and its last frame was taken."""
        return self._ended and self._frame is None and self._fault is None

    @property
    def is_hung(self) -> bool:
        """Whether the source has not come back although it was closed."""
        return self._thread.is_alive()

    def __iter__(self) -> Iterator[Frame]:
        """Every frame up to the end."""
        while (frame := self.read()) is not None:
            yield frame

    def close(self, wait_s: float = CLOSE_S) -> None:
        """Stop; returns within `wait_s` even if the source hangs."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
        self._thread.join(min(wait_s, 0.1))
        if self._thread.is_alive():
            self.source.interrupt()
            self._thread.join(wait_s)

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _limit_s(self) -> float:
        return self._next_frame_s if self._gave else self._first_frame_s

    def _left_s(self) -> float:
        return self._heard_s + self._limit_s() - time.monotonic()

    def _lost(self, what: str) -> CameraError:
        if self._gave:
            return CameraLostError(
                what, where=self.source.name, remedy="check the cable, the power and the network"
            )
        return CameraSilentError(
            f"it opened, but gave no picture ({what})",
            where=self.source.name,
            remedy="close other programs that use it; a Raspberry Pi CSI camera is named rpicam",
        )

    def _run(self) -> None:
        fault: CameraError | None = None
        try:
            try:
                self.source.open()
                self._pump()
            finally:
                self.source.close()
        except CameraError as error:
            fault = error
        except Exception as error:  # a fault in a driver's binding must not end as silence
            fault = CameraLostError(f"{type(error).__name__}: {error}", where=self.source.name)
        with self._condition:
            self._fault = fault
            self._ended = True
            self._condition.notify_all()

    def _pump(self) -> None:
        came = False
        damaged = 0
        due_s = 0.0
        while not self._stopping:
            began_s = time.monotonic()
            if self.source.live and began_s < due_s:
                if self.source.skip():
                    self.skipped += 1
                    continue
                shot = None
            else:
                shot = self.source.next()
            if shot is None:
                self._end(came)
                return
            came = True
            picture = shot.picture
            if picture is None or not picture.usable(preview_only=self.preview_only):
                self.damaged += 1
                damaged += 1
                if damaged == DAMAGED_LIMIT:
                    raise self._lost(f"{damaged} damaged frames in a row")
                continue
            damaged = 0
            self._offer(shot, began_s)
            # A frame that comes a little early is taken: half a frame late would be too late.
            due_s = max(due_s + self.interval_s, time.monotonic() - self.interval_s / 2)

    def _end(self, came: bool) -> None:
        """Raises what it means that no further picture came, if it is a fault."""
        if self.source.live:
            raise self._lost("the stream ended" if came else "its first read failed")
        if not came:
            raise CameraNotFoundError(
                "no picture in it that can be read",
                where=self.source.name,
                remedy="check that it is a whole video file or a folder of photos",
            )

    def _offer(self, shot: Shot, began_s: float) -> None:
        """`began_s`: when the source was asked for it."""
        assert shot.picture is not None
        began_s = shot.requested_at_s or began_s
        # A paced source says when a picture was due, which may be before it could be fetched.
        came_s = max(shot.captured_at_s, began_s)
        frame = Frame(
            shot.picture,
            self.sequence,
            shot.captured_at_s,
            shot.name,
            capture_ms=(came_s - began_s) * 1e3,
            decode_ms=(time.monotonic() - came_s) * 1e3,
        )
        self.sequence += 1
        with self._condition:
            if self.source.live:
                self.dropped += self._frame is not None
            else:
                self._condition.wait_for(lambda: self._frame is None or self._stopping)
            self._frame = frame
            self._gave = True
            self._heard_s = time.monotonic()
            self._condition.notify_all()
