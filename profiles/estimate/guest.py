"""Runs inside the emulated device: frames along the daemon's own path, marked at each of its laps.

    guest.py BUNDLE GALLERY PHOTO FRAMES

The marks are for compile/emulation/counts.c. On stdout a line a region, in their order: the frame's
number and the stage; a stage may have several. Region 0 is empty: what a pair of marks itself
costs. What the daemon does after its decision (the events, its book-keeping) is called "publish".
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import cv2

from edge_runtime.camera import CameraOptions
from edge_runtime.camera.folder import FolderSource
from edge_runtime.camera.supervisor import CameraSupervisor
from edge_runtime.daemon.loop import Daemon
from edge_runtime.engine import open_engine
from edge_runtime.gallery import Gallery
from edge_runtime.recognition.pipeline import Pipeline
from edge_runtime.recognition.smoothing import Decider
from edge_runtime.sinks import JsonSink, Outbox
from edge_runtime.system.stage_timer import StageTimer
from edge_runtime.types import Event, Frame, Verdict

MAGIC, BEGIN, END = 0x45444745, 1, 2


class Marks:
    """Regions, one at a time."""

    def __init__(self) -> None:
        self.frame = -1
        self.names: list[str] = []
        self._prctl = ctypes.CDLL(None).prctl

    def begin(self) -> None:
        """A region begins."""
        self._prctl(MAGIC, BEGIN)

    def end(self, stage: str) -> None:
        """It has ended."""
        self._prctl(MAGIC, END)
        self.names.append(f"{self.frame} {stage}")

    def hang_on_marks(self) -> None:
        """From now on, every mark ends a region and begins the next."""
        taken = StageTimer.mark

        def mark(timer: StageTimer, stage: str) -> None:
            self.end(stage)
            taken(timer, stage)
            self.begin()

        StageTimer.mark = mark  # type: ignore[method-assign, assignment]

    def hang_on_decision(self, decider: Decider) -> None:
        """The decision over several frames belongs to "decide", as in a profile."""
        taken = decider.update

        def update(verdict: Verdict, frame: Frame, now_s: float) -> list[Event]:
            events = taken(verdict, frame, now_s)
            self.end("decide")
            self.begin()
            return events

        decider.update = update  # type: ignore[method-assign]


def main(bundle: str, gallery: str, photo: str, frames: str) -> None:
    """All of it."""
    cv2.setNumThreads(1)  # as the daemon does
    engine = open_engine(bundle)
    if engine.name != "compiled":
        raise SystemExit(f"not the compiled engine: {engine.reason}")
    source = FolderSource(Path(photo), CameraOptions(loop=True))
    source.open()
    marks = Marks()
    with (
        Gallery(Path(gallery), engine.model, read_only=True) as kept,
        Path("/dev/null").open("w", encoding="utf-8") as sink,
    ):
        outbox = Outbox(JsonSink(sink))
        daemon = Daemon(CameraSupervisor(source), Pipeline(engine, kept), [outbox])
        for _ in range(2):  # the first one also finds the function
            marks.begin()
            marks.end("marks")
        marks.hang_on_marks()
        marks.hang_on_decision(daemon.decider)
        for marks.frame in range(int(frames)):
            marks.begin()
            shot = source.next()
            marks.end("decode")
            if shot is None or shot.picture is None:
                raise SystemExit(f"{photo}: not a photo")
            frame = Frame(shot.picture, marks.frame, shot.captured_at_s, shot.name)
            marks.begin()
            if daemon.step(frame) is None:
                raise SystemExit(daemon.last_error)
            marks.end("publish")
        events = daemon.events
        outbox.close(1.0)
    sys.stdout.write("\n".join(marks.names) + f"\nevents {events}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
