"""Runs a source on its own thread, so that no camera can hang the path."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import TracebackType

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


class Capture:
    """Frames from a source, each wait bounded.

    Of a live source only the newest frame is kept, and frames that nobody took in time are counted
    in `dropped`. Of any other source every frame is delivered, and the source waits.
    """

    def __init__(
        self, source: Source, *, first_frame_s: float = 10.0, next_frame_s: float = 5.0
    ) -> None:
        self.source = source
        self.dropped = 0
        self._first_frame_s = first_frame_s
        self._next_frame_s = next_frame_s
        self._taken = 0
        self._frame: Frame | None = None
        self._fault: CameraError | None = None
        self._ended = False
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self._thread.start()

    def read(self) -> Frame | None:
        """The next frame, or None at the end; raises `CameraError` when none comes in time."""
        limit_s = self._next_frame_s if self._taken else self._first_frame_s
        with self._changed:
            self._changed.wait_for(
                lambda: self._frame is not None or self._ended or self._fault, timeout=limit_s
            )
            frame, self._frame = self._frame, None
            self._changed.notify_all()
            if frame is not None:
                self._taken += 1
                return frame
            if self._fault is not None:
                raise self._fault
            if self._ended:
                return None
        raise self._lost(f"no frame for {limit_s:g} s")

    def __iter__(self) -> Iterator[Frame]:
        """Every frame up to the end."""
        while (frame := self.read()) is not None:
            yield frame

    def close(self) -> None:
        """Stop; returns within `CLOSE_S` even if the source hangs."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(CLOSE_S)

    def __enter__(self) -> Capture:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _lost(self, what: str) -> CameraError:
        if self._taken:
            return CameraLostError(
                what, where=self.source.name, remedy="check the cable, the power and the network"
            )
        return CameraSilentError(
            f"it opened, but gave no picture ({what})",
            where=self.source.name,
            remedy="close other programs that use it; a Raspberry Pi CSI camera needs the "
            "rpicam tools, not its /dev/video node",
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
        with self._changed:
            self._fault = fault
            self._ended = True
            self._changed.notify_all()

    def _pump(self) -> None:
        sequence = 0
        while not self._stopping:
            shot = self.source.next()
            if shot is None:
                if self.source.live:
                    raise self._lost("the stream ended" if sequence else "its first read failed")
                if not sequence:
                    raise CameraNotFoundError(
                        "no picture in it that can be read",
                        where=self.source.name,
                        remedy="check that it is a whole video file or a folder of photos",
                    )
                return
            self._offer(shot, sequence)
            sequence += 1

    def _offer(self, shot: Shot, sequence: int) -> None:
        frame = Frame(shot.image, sequence, shot.captured_at_s, shot.name)
        with self._changed:
            if self.source.live:
                self.dropped += self._frame is not None
            else:
                self._changed.wait_for(lambda: self._frame is None or self._stopping)
            self._frame = frame
            self._changed.notify_all()
