"""What the daemon's path costs on a device's emulated CPU, stage by stage.

A real photo of 640 x 480 pixels as a JPEG, and a gallery of real photos, enrolled here with the
same network; `guest.py` runs inside an emulated process of the device and marks every stage.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2

from compile.emulation.counters import Counts
from compile.emulation.qemu import count_marks
from compile.emulation.userland import Userland
from compile.target.description import Target
from demo.scenes import read_scene, write_enrollment_photos
from edge_runtime.bundle import MODEL
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.enroll import enroll_photos, labeled_photos
from edge_runtime.errors import ReportError
from edge_runtime.gallery import Gallery

GUEST = Path(__file__).resolve().parent / "guest.py"
FRAMES = 3
"""The third is counted: all is warm, and the majority of five frames is there, so that an event
goes out."""
FRAME_SIZE = (640, 480)
"""Width and height, pixels; a camera's common size."""
LIMIT_S = 1200


@dataclass(frozen=True)
class Material:
    """What is looked at, and looked for."""

    photo: Path
    gallery: Path
    items: int
    """Codes in the gallery."""


def make_material(bundle: Path, folder: Path) -> Material:
    """A frame and a gallery for the network of `bundle`, in `folder`."""
    photos = folder / "photos"
    if not photos.exists():
        write_enrollment_photos(photos)
    photo = folder / "frame.jpg"
    if not photo.exists():
        frame = cv2.resize(read_scene("coffee.png"), FRAME_SIZE, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(photo), frame, [cv2.IMWRITE_JPEG_QUALITY, 90])
    engine = PortableEngine(bundle / MODEL, threads=1)
    gallery = folder / f"{engine.model.id[:16]}.sqlite"
    fresh = not gallery.exists()
    with Gallery(gallery, engine.model, create=True) as opened:
        if fresh:
            enroll_photos(engine, opened, labeled_photos(photos))
        return Material(photo, gallery, opened.stats().codes)


def count_stages(
    userland: Userland, target: Target, bundle: Path, material: Material, frames: int = FRAMES
) -> dict[str, Counts]:
    """By stage, in their order, what a warm frame costs; raises `ToolchainError`, `ReportError`."""
    arguments = [str(path.resolve()) for path in (GUEST, bundle, material.gallery, material.photo)]
    found, said = count_marks(userland, target, *arguments, str(frames), timeout=LIMIT_S)
    *names, events = said.splitlines()
    if len(names) != len(found):
        raise ReportError(f"{len(found)} regions for {len(names)} stages", where=target.name)
    regions = [(*name.split(" ", 1), counts) for name, counts in zip(names, found, strict=True)]
    marks = [counts for frame, _, counts in regions if frame == "-1"][-1]
    stages: dict[str, Counts] = {}
    for frame, stage, counts in regions:
        if frame == str(frames - 1):
            alone = counts.without(marks)
            stages[stage] = stages[stage].plus(alone) if stage in stages else alone
    if events == "events 0" and frames >= FRAMES:
        raise ReportError("the frame was not recognised: no event", where=target.name)
    return stages
