"""The folder that the commands and examples of the documents run in."""

from __future__ import annotations

import shutil
from pathlib import Path

from demo.scenes import write_enrollment_photos
from tests.support.media.clips import write_clip


def write_scratch(folder: Path) -> Path:
    """Make `photos/` (one sub-folder per label), `photo.jpg`, `cat1.jpg`, `cat2.jpg`, `clip.mp4`.

    Returns `folder`.
    """
    write_enrollment_photos(folder / "photos")
    for number, name in ((1, "photo.jpg"), (0, "cat1.jpg"), (2, "cat2.jpg")):
        shutil.copy(folder / "photos" / "cat" / f"{number}.jpg", folder / name)
    write_clip(folder / "clip.mp4", "chelsea.png")
    return folder
