"""Teach the gallery: folders of photos, single photos, or what a camera sees."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from edge_runtime.camera import Capture
from edge_runtime.engine import Engine
from edge_runtime.errors import NoPhotosError, PhotoError
from edge_runtime.fit import Image
from edge_runtime.gallery import Gallery, Item, check_label
from edge_runtime.photo import decode_photo, find_photos, read_bytes
from edge_runtime.pipeline import code_of

BATCH = 32
"""Photos to a commit: what a power cut in the middle of a folder can cost at most."""
PART = 0.7
"""Side of a partial view, as a share of the photo's."""


@dataclass
class Enrolment:
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


def enroll_photos(
    engine: Engine,
    gallery: Gallery,
    photos: Iterable[tuple[str, Path]],
    *,
    views: bool = True,
    step: Callable[[], None] = lambda: None,
) -> Enrolment:
    """Enrol photos under their labels, with their `views_of`; `step` is called after each.

    A photo that cannot be used is reported in the result and does not stop the others. Whatever
    ends the call early (Ctrl-C, a full disk), each finished batch stays enrolled.
    """
    outcome = Enrolment()
    batch: list[list[Item]] = []
    try:
        for label, path in photos:
            try:
                data = read_bytes(path)
                digest = hashlib.sha256(data).digest()
                if gallery.known(label, digest):
                    outcome.known += 1
                else:
                    image = decode_photo(data, where=path)
                    source = str(path.absolute())
                    batch.append(_items(engine, image, label, source, digest, views))
            except PhotoError as error:
                outcome.faults.append(error)
            if len(batch) == BATCH:
                full, batch = batch, []
                _commit(gallery, full, outcome)
            step()
    finally:
        _commit(gallery, batch, outcome)
    return outcome


def _items(
    engine: Engine, image: Image, label: str, source: str, digest: bytes | None, views: bool
) -> list[Item]:
    """A picture's items; each view has a digest of its own, the whole one that of the file."""
    return [
        Item(
            label,
            code_of(engine, view),
            source,
            digest + bytes([number]) * (number > 0) if digest is not None else None,
        )
        for number, view in enumerate(views_of(image) if views else [image])
    ]


def enroll_frames(
    engine: Engine,
    gallery: Gallery,
    label: str,
    camera: Capture,
    count: int,
    *,
    views: bool = True,
) -> int:
    """Enrol `count` frames of a running camera under `label`, fewer if it ends; gives how many."""
    label = check_label(label)
    items: list[Item] = []
    taken = 0
    for frame in camera:
        source = f"{camera.source.name}#{frame.sequence}"
        items += _items(engine, frame.image, label, source, None, views)
        taken += 1
        if taken >= count:
            break
    gallery.enroll(items)
    return taken


def _commit(gallery: Gallery, batch: list[list[Item]], outcome: Enrolment) -> None:
    if not batch:
        return
    ids = gallery.enroll([item for items in batch for item in items])
    whole = 0  # where a picture's first view stands in `ids`
    for items in batch:
        if ids[whole] is None:
            outcome.known += 1
        else:
            outcome.added += 1
        whole += len(items)
