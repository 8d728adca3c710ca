"""Run a source on its own thread, so that a hanging camera cannot block the query path."""

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
from edge_runtime.shortage import shortage
from edge_runtime.types import Frame

CLOSE_S = 1.0
"""How long `close` waits for a source. A source that hangs in its driver ends with the process."""
DAMAGED_LIMIT = 30
"""Consecutive undecodable pictures after which a live camera counts as lost. A file goes on: there
may be readable pictures behind the damage."""
FIRST_FRAME_S = 10.0
NEXT_FRAME_S = 5.0


class Capture:
    """Frames from a source, with bounded waits.

    For a live source, only the newest frame is stored; frames not taken in time count as `dropped`.
    For any other source, every frame is delivered and the source waits.
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
        """Start reading from `source`.

        `condition` is notified of every frame and of the end. `sequence` is the number of the first
        frame. `preview_only` decodes only the previews that the change gate needs.
        """
        self.source = source
        self.dropped = self.damaged = self.skipped = 0
        self.sequence = sequence
        """Number of the next frame."""
        self.interval_s = 0.0
        """Minimum time between two frames of a live source. Frames in between count as `skipped`;
        most of them are not decoded."""
        self.preview_only = preview_only
        self._first_frame_s = first_frame_s
        self._next_frame_s = next_frame_s
        self._last_frame_s = time.monotonic()
        self._delivered = False
        self._damage = ""
        self._frame: Frame | None = None
        self._fault: CameraError | None = None
        self._ended = False
        self._stopping = False
        self._condition = condition or threading.Condition()
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self._thread.start()

    def read(self) -> Frame | None:
        """Return the next frame, or None at the end; raises `CameraError` on failure or timeout."""
        while True:
            frame = self.poll(self._next_frame_s)
            if frame is not None or self.ended:
                return frame

    def poll(self, wait_s: float, unless: Callable[[], bool] = bool) -> Frame | None:
        """Wait up to `wait_s` for a frame; return None if there is none yet, or at the end.

        The wait ends early once `unless()` is true. It is evaluated whenever `condition` is
        notified.

        Raises `CameraError` if the source failed or missed its deadline.
        """
        with self._condition:
            if not self.ready():
                self._condition.wait_for(
                    lambda: self.ready() or unless(), timeout=min(wait_s, max(self.left_s(), 0))
                )
            frame, self._frame = self._frame, None
            if frame is not None:
                self._last_frame_s = max(self._last_frame_s, time.monotonic())
                if not self.source.live:  # it waits until its frame was taken
                    self._condition.notify_all()
                return frame
            if self._fault is not None:
                raise self._fault
            if self._ended or self.left_s() > 0:
                return None
        raise self._lost(f"no frame for {self._limit_s():g} s")

    def ready(self) -> bool:
        """Return whether `poll` would return or raise immediately."""
        return self._frame is not None or self._ended

    def left_s(self) -> float:
        """Return the seconds until the source has missed its deadline."""
        return self._last_frame_s + self._limit_s() - time.monotonic()

    @property
    def ended(self) -> bool:
        """Whether the source reached its end and its last frame was taken."""
        return self._ended and self._frame is None and self._fault is None

    @property
    def is_hung(self) -> bool:
        """Whether the source's thread is still running; after `close`, that means it hangs."""
        return self._thread.is_alive()

    def __iter__(self) -> Iterator[Frame]:
        """Iterate over the frames until the end."""
        while (frame := self.read()) is not None:
            yield frame

    def close(self, wait_s: float = CLOSE_S) -> None:
        """Stop reading; return within about `wait_s` even if the source hangs."""
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
        return self._next_frame_s if self._delivered else self._first_frame_s

    def _lost(self, what: str) -> CameraError:
        if self._delivered:
            return CameraLostError(
                what, where=self.source.name, remedy="check the cable, the power and the network"
            )
        return CameraSilentError(
            f"the camera opened but delivered no picture: {what}",
            where=self.source.name,
            remedy="set the camera to progressive video"
            if self._damage
            else "close other programs that use it; for a Raspberry Pi CSI camera, use rpicam",
        )

    def _run(self) -> None:
        fault: CameraError | None = None
        try:
            try:
                self.source.open()
                self._read_pictures()
            finally:
                self.source.close()
        except CameraError as error:
            fault = error
        except Exception as error:  # an exception in a driver's binding must be reported
            short = shortage(error, self.source.name)
            what = short.what if short else f"{type(error).__name__}: {error}"
            fault = CameraLostError(what, where=self.source.name)
            fault.__cause__ = error
        with self._condition:
            self._fault = fault
            self._ended = True
            self._condition.notify_all()

    def _read_pictures(self) -> None:
        any_picture = False
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
                self._end(any_picture)
                return
            any_picture = True
            picture = shot.picture
            if picture is None or not picture.usable(preview_only=self.preview_only):
                self.damaged += 1
                damaged += 1
                self._damage = shot.fault
                what = f"{damaged} damaged frames in a row"
                if damaged == DAMAGED_LIMIT and self.source.live:
                    raise self._lost(": ".join(filter(None, (what, shot.fault))))
                continue
            damaged = 0
            self._publish(shot, began_s)
            # Accept a frame up to half an interval early; waiting for the next would be later.
            due_s = max(due_s + self.interval_s, time.monotonic() - self.interval_s / 2)

    def _end(self, any_picture: bool) -> None:
        """Raise `CameraError` if the end of the source is a fault."""
        if self.source.live:
            raise self._lost("the stream ended" if any_picture else "the first read failed")
        if not self._delivered:
            raise CameraNotFoundError(
                self._damage or "it contains no readable picture",
                where=self.source.name,
                remedy="convert it, for example with: ffmpeg -i OLD -vf yadif NEW.mp4"
                if self._damage
                else "check that it is a complete video file or a folder of photos",
            )

    def _publish(self, shot: Shot, began_s: float) -> None:
        """Publish the picture as a frame; `began_s` is the time at which fetching began."""
        assert shot.picture is not None
        began_s = shot.requested_at_s or began_s
        # A paced source reports the time a picture was due, which may precede fetching it.
        arrived_s = max(shot.captured_at_s, began_s)
        frame = Frame(
            shot.picture,
            self.sequence,
            shot.captured_at_s,
            shot.name,
            capture_ms=(arrived_s - began_s) * 1e3,
            decode_ms=(time.monotonic() - arrived_s) * 1e3,
        )
        self.sequence += 1
        with self._condition:
            if self.source.live:
                self.dropped += self._frame is not None
            else:
                self._condition.wait_for(lambda: self._frame is None or self._stopping)
            self._frame = frame
            self._delivered = True
            self._last_frame_s = time.monotonic()
            self._condition.notify_all()
