"""Teach the gallery: folders of photos, single photos, or what a camera sees."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from edge_runtime.camera import Capture
from edge_runtime.engine import Engine
from edge_runtime.errors import NoPhotosError, PhotoError
from edge_runtime.gallery import Gallery, Item, Note, check_label
from edge_runtime.image import Image
from edge_runtime.image.decode import (
    Photo,
    check_image,
    decode_photo,
    find_photos,
    read_bytes,
)
from edge_runtime.image.exif import read_exif_position
from edge_runtime.position import Position
from edge_runtime.recognition.pipeline import code_of

BATCH = 32
"""Photos to a commit: what a power cut in the middle of a folder can cost at most."""
PART = 0.7
"""Side of a partial view, as a share of the photo's."""
THUMBNAIL_SIDE = 160
"""Pixels of a thumbnail's longer side."""


@dataclass(frozen=True)
class EnrollOptions:
    """How pictures are enrolled."""

    views: bool = True
    """Their `views_of` too."""
    thumbnails: bool = True
    """Keep a label's first picture with it, made small."""
    position: Position | Literal["photo"] | None = None
    """Where they were taken; "photo": as each photo's file says."""
    source: str = "memory"
    """Origin recorded for pictures that do not come from a file."""


@dataclass
class EnrollResult:
    """What became of the pictures."""

    added: int = 0
    """Pictures, each of them with its views."""
    known: int = 0
    """Enrolled before, under the same label: left as they are."""
    faults: list[PhotoError] = field(default_factory=list)
    """Photos that could not be used; all others were enrolled."""


def labelled_photos(folder: str | os.PathLike[str]) -> list[tuple[str, Path]]:
    """Label and path of every photo in `folder`, which holds one sub-folder for each label.

    Raises `NoPhotosError` or `LabelError` before anything is enrolled.
    """
    root = Path(folder)
    photos = find_photos(root)
    loose = [path for path in photos if path.parent == root]
    if loose:
        raise NoPhotosError(
            f"{loose[0].name} lies directly in it, so it has no label",
            where=root,
            remedy="make one sub-folder for each label, or use --label LABEL PHOTO...",
        )
    return [(check_label(path.relative_to(root).parts[0]), path) for path in photos]


def views_of(image: Image) -> list[Image]:
    """A picture as it is, and as someone sees it who stands nearer or points a little to the side.

    The whole, its middle and its four corners, each uint8 h x w x 3. A code of 64 bits changes by
    a dozen of them when a third of the picture is cut off; enrolling the parts too brings such
    queries back within a few bits (docs/ARCHITECTURE.md has the figures).
    """
    height, width = image.shape[:2]
    tall, wide = round(PART * height), round(PART * width)
    tops, lefts = (0, height - tall), (0, width - wide)
    corners = [(top, left) for top in tops for left in lefts]
    middle = ((height - tall) // 2, (width - wide) // 2)
    return [image] + [image[y : y + tall, x : x + wide] for y, x in (middle, *corners)]


def thumbnail_of(image: Image) -> bytes:
    """A picture (uint8 H x W x 3, BGR) as a small JPEG."""
    scale = THUMBNAIL_SIDE / max(image.shape[:2])
    height, width = (max(1, round(scale * side)) for side in image.shape[:2])  # or a strip is none
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])[1])


def enroll_photos(
    engine: Engine,
    gallery: Gallery,
    photos: Iterable[tuple[str, Photo]],
    manner: EnrollOptions = EnrollOptions(),
    *,
    step: Callable[[], None] = lambda: None,
) -> EnrollResult:
    """Enrol photos under their labels; `step` is called after each.

    A photo that cannot be used is reported in the result and does not stop the others. Whatever
    ends the call early (Ctrl-C, a full disk), each finished batch stays enrolled.
    """
    outcome = EnrollResult()
    batch = _Batch(engine, gallery, manner)
    try:
        for label, photo in photos:
            try:
                batch.add_photo(label, photo, outcome)
            except PhotoError as error:
                outcome.faults.append(error)
            if len(batch) == BATCH:
                batch.commit(outcome)
            step()
    finally:
        batch.commit(outcome)
    return outcome


def enroll_frames(
    engine: Engine,
    gallery: Gallery,
    label: str,
    camera: Capture,
    count: int,
    manner: EnrollOptions = EnrollOptions(),
) -> int:
    """Enrol `count` frames of a running camera under `label`, fewer if it ends; gives how many."""
    batch = _Batch(engine, gallery, manner)
    label = check_label(label)
    place = manner.position if isinstance(manner.position, Position) else None
    for frame in camera:
        source = f"{camera.source.name}#{frame.sequence}"
        batch.add(label, frame.image, source, None, place)
        if len(batch) >= count:
            break
    taken = len(batch)
    batch.commit(EnrollResult())
    return taken


class _Batch:
    """Pictures that are committed together."""

    def __init__(self, engine: Engine, gallery: Gallery, manner: EnrollOptions) -> None:
        self._engine = engine
        self._gallery = gallery
        self._manner = manner
        self._pictures: list[list[Item]] = []
        self._notes: dict[str, Note] = {}

    def __len__(self) -> int:
        return len(self._pictures)

    def add_photo(self, label: str, photo: Photo, outcome: EnrollResult) -> None:
        """Add `photo` unless it is enrolled under `label` already; raises `PhotoError`."""
        pixels: Image | None = None
        source, where = self._manner.source, "photo"
        if isinstance(photo, np.ndarray):
            pixels = check_image(photo)
            data = pixels.tobytes()
        elif isinstance(photo, bytes):
            data = photo
        else:
            data, where, source = read_bytes(photo), str(photo), str(Path(photo).absolute())
        digest = hashlib.sha256(data).digest()
        if self._gallery.known(label, digest):
            outcome.known += 1
            return
        position = self._manner.position
        if position == "photo":
            position = read_exif_position(data) if pixels is None else None
        image = decode_photo(data, where=where) if pixels is None else pixels
        self.add(label, image, source, digest, position)

    def add(
        self, label: str, image: Image, source: str, digest: bytes | None, place: Position | None
    ) -> None:
        """A picture; each view has a digest of its own, the whole one that of the file."""
        self._pictures.append(
            [
                Item(
                    label,
                    code_of(self._engine, view),
                    source,
                    digest + bytes([number]) * (number > 0) if digest is not None else None,
                    place,
                )
                for number, view in enumerate(views_of(image) if self._manner.views else [image])
            ]
        )
        if self._manner.thumbnails and label not in self._notes:
            self._notes[label] = Note(thumbnail=thumbnail_of(image))

    def commit(self, outcome: EnrollResult) -> None:
        """Enrol all of them, count them in `outcome`, and be empty again."""
        pictures, self._pictures = self._pictures, []
        notes, self._notes = self._notes, {}
        ids = self._gallery.enroll([item for items in pictures for item in items], notes)
        whole = 0  # where a picture's first view stands in `ids`
        for items in pictures:
            if ids[whole] is None:
                outcome.known += 1
            else:
                outcome.added += 1
            whole += len(items)
