"""Run frames through the daemon's query path inside the emulated device, marking each stage.

    guest.py BUNDLE GALLERY PHOTO FRAMES

compile/emulation/counts.c reads the marks. Stdout gets one line per region, in order: the number of
the frame and the stage. A stage may have several regions. Region 0 is empty and gives the cost of
the marks themselves. Everything after the decision (events, bookkeeping) counts as "publish".
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
    """Marks the regions, one at a time."""

    def __init__(self) -> None:
        self.frame = -1
        self.names: list[str] = []
        self._prctl = ctypes.CDLL(None).prctl

    def begin(self) -> None:
        """Begin a region."""
        self._prctl(MAGIC, BEGIN)

    def end(self, stage: str) -> None:
        """End the region and name it."""
        self._prctl(MAGIC, END)
        self.names.append(f"{self.frame} {stage}")

    def hook_stage_timer(self) -> None:
        """Make every mark of a stage timer end a region and begin the next."""
        original = StageTimer.mark

        def mark(timer: StageTimer, stage: str) -> None:
            self.end(stage)
            original(timer, stage)
            self.begin()

        StageTimer.mark = mark  # type: ignore[method-assign, assignment]

    def hook_decision(self, decider: Decider) -> None:
        """Count the decision over several frames as "decide", as a profile does."""
        original = decider.update

        def update(verdict: Verdict, frame: Frame, now_s: float) -> list[Event]:
            events = original(verdict, frame, now_s)
            self.end("decide")
            self.begin()
            return events

        decider.update = update  # type: ignore[method-assign]


def main(bundle: str, gallery: str, photo: str, frames: str) -> None:
    """Run `frames` frames and print the regions."""
    cv2.setNumThreads(1)  # as the daemon does
    engine = open_engine(bundle)
    if engine.name != "compiled":
        raise SystemExit(f"not the compiled engine: {engine.reason}")
    source = FolderSource(Path(photo), CameraOptions(loop=True))
    source.open()
    marks = Marks()
    with (
        Gallery(Path(gallery), engine.model, read_only=True) as opened,
        Path("/dev/null").open("w", encoding="utf-8") as sink,
    ):
        outbox = Outbox(JsonSink(sink))
        daemon = Daemon(CameraSupervisor(source), Pipeline(engine, opened), [outbox])
        for _ in range(2):  # the first call also resolves the function
            marks.begin()
            marks.end("marks")
        marks.hook_stage_timer()
        marks.hook_decision(daemon.decider)
        for marks.frame in range(int(frames)):
            marks.begin()
            captured = source.next()
            marks.end("decode")
            if captured is None or captured.picture is None:
                raise SystemExit(f"{photo}: not a photo")
            frame = Frame(captured.picture, marks.frame, captured.captured_at_s, captured.name)
            marks.begin()
            if daemon.step(frame) is None:
                raise SystemExit(daemon.last_error)
            marks.end("publish")
        events = daemon.events
        outbox.close(1.0)
    sys.stdout.write("\n".join(marks.names) + f"\nevents {events}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
