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
from edge_runtime.gallery import Gallery, Item, check_label
from edge_runtime.photo import decode_photo, find_photos, read_bytes
from edge_runtime.pipeline import code_of

BATCH = 32
"""Photos to a commit: what a power cut in the middle of a folder can cost at most."""


@dataclass
class Enrolment:
    """What became of the pictures."""

    added: int = 0
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


def enroll_photos(
    engine: Engine,
    gallery: Gallery,
    photos: Iterable[tuple[str, Path]],
    *,
    step: Callable[[], None] = lambda: None,
) -> Enrolment:
    """Enrol photos under their labels; `step` is called after each.

    A photo that cannot be used is reported in the result and does not stop the others. Whatever
    ends the call early (Ctrl-C, a full disk), each finished batch stays enrolled.
    """
    outcome = Enrolment()
    batch: list[Item] = []
    try:
        for label, path in photos:
            try:
                data = read_bytes(path)
                digest = hashlib.sha256(data).digest()
                if gallery.known(label, digest):
                    outcome.known += 1
                else:
                    code = code_of(engine, decode_photo(data, where=path))
                    batch.append(Item(label, code, str(path.absolute()), digest))
            except PhotoError as error:
                outcome.faults.append(error)
            if len(batch) == BATCH:
                full, batch = batch, []
                _commit(gallery, full, outcome)
            step()
    finally:
        _commit(gallery, batch, outcome)
    return outcome


def enroll_frames(engine: Engine, gallery: Gallery, label: str, camera: Capture, count: int) -> int:
    """Enrol `count` frames of a running camera under `label`, fewer if it ends; gives how many."""
    label = check_label(label)
    items: list[Item] = []
    for frame in camera:
        source = f"{camera.source.name}#{frame.sequence}"
        items.append(Item(label, code_of(engine, frame.image), source))
        if len(items) >= count:
            break
    gallery.enroll(items)
    return len(items)


def _commit(gallery: Gallery, batch: list[Item], outcome: Enrolment) -> None:
    if batch:
        ids = gallery.enroll(batch)
        outcome.added += sum(new is not None for new in ids)
        outcome.known += ids.count(None)
