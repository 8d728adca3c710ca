"""Count the daemon's query path on a device's emulated CPU, stage by stage.

The input is a real photo of 640 x 480 pixels as a JPEG and a gallery of real photos, enrolled on
this machine with the same network. `guest.py` runs inside an emulated process of the device and
marks every stage.
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
from edge_runtime.enroll import enroll_photos
from edge_runtime.errors import ReportError
from edge_runtime.gallery import Gallery
from edge_runtime.labeled_files import labeled_files

GUEST = Path(__file__).resolve().parent / "guest.py"
FRAMES = 3
"""The third frame is counted: everything is warm, and the majority of the five-frame window is
reached, so an event is published."""
FRAME_SIZE = (640, 480)
"""Width and height in pixels; a common camera resolution."""
LIMIT_S = 1200


@dataclass(frozen=True)
class Material:
    """The input of the count: a photo and a gallery."""

    photo: Path
    gallery: Path
    codes: int
    """Number of codes in the gallery."""


def make_material(bundle: Path, folder: Path) -> Material:
    """Create a frame and a gallery for the network of `bundle` in `folder`."""
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
            enroll_photos(engine, opened, labeled_files(photos).photos)
        return Material(photo, gallery, opened.stats().codes)


def count_stages(
    userland: Userland, target: Target, bundle: Path, material: Material, frames: int = FRAMES
) -> dict[str, Counts]:
    """Return the counts of a warm frame by stage, in order.

    Raises `ToolchainError` and `ReportError`.
    """
    arguments = [str(path.resolve()) for path in (GUEST, bundle, material.gallery, material.photo)]
    all_counts, stdout = count_marks(userland, target, *arguments, str(frames), timeout=LIMIT_S)
    *names, events = stdout.splitlines()
    if len(names) != len(all_counts):
        raise ReportError(
            f"got {len(all_counts)} regions for {len(names)} stages", where=target.name
        )
    regions = list(zip((name.split(" ", 1) for name in names), all_counts, strict=True))
    marks = [counts for (frame, _), counts in regions if frame == "-1"][-1]
    stages: dict[str, Counts] = {}
    for (frame, stage), counts in regions:
        if frame == str(frames - 1):
            alone = counts.without(marks)
            stages[stage] = stages[stage].plus(alone) if stage in stages else alone
    if events == "events 0" and frames >= FRAMES:
        raise ReportError("the frame was not recognized: no event", where=target.name)
    return stages
