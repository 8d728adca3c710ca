"""Find photos in folders of any size, one at a time.

The rules are those of `edge_runtime.image.photo_files`. The order is that of the file system,
because sorting would need all names of a folder in memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from edge_runtime.batch.work import Failed
from edge_runtime.errors import LabelError, PhotoError
from edge_runtime.gallery import check_label
from edge_runtime.image.photo_files import (
    CLIP_SUFFIXES,
    SUFFIXES,
    is_clip_name,
    is_content,
    is_unused_image,
    linked_folder,
    no_photos,
    not_decoded,
    photo_fault,
    unreadable,
)

_MOST_FAULTS = 100
"""Faults that the error about a folder without photos counts."""


class Found(NamedTuple):
    """A photo, as it was when it was found."""

    photo: bytes
    """The absolute path."""
    label: str
    size: int
    mtime_ns: int


def find(paths: tuple[Path, ...], label: str | None) -> Iterator[Found | Failed]:
    """Yield the photos in `paths` (folders and files), and what in them cannot be used.

    Without `label`, that of a photo is the name of the sub-folder of its folder in `paths`, or the
    name of the folder itself. Raises `NoPhotosError` after a folder without photos, and
    `LabelError` for a `label` that is not valid.
    """
    fixed = None if label is None else check_label(label)
    for path in paths:
        place = os.path.abspath(path)  # noqa: PTH100  (Path.absolute keeps "..")
        if os.path.isdir(place):  # noqa: PTH112
            yield from _folder(Path(place), fixed)
        elif is_clip_name(path):
            yield _failed(not_decoded(path.suffix.lower(), path, 1))
        else:
            yield _photo(place, fixed, Path(place).parent.name)


def _folder(root: Path, label: str | None) -> Iterator[Found | Failed]:
    faults: list[PhotoError] = []
    foreign: dict[str, tuple[Path, int]] = {}
    photos = False
    for entry in _entries(str(root)):
        if isinstance(entry, PhotoError):
            if len(faults) < _MOST_FAULTS:
                faults.append(entry)
            yield _failed(entry)
            continue
        path = Path(entry.path)
        suffix = path.suffix.lower()
        if suffix in SUFFIXES:
            found = _photo(entry.path, label, _label_below(root, entry.path))
            photos = photos or isinstance(found, Found)
            if isinstance(found, Failed) and len(faults) < _MOST_FAULTS:
                faults.append(PhotoError(found.what, where=entry.path, remedy=found.remedy))
            yield found
        elif suffix in CLIP_SUFFIXES or is_unused_image(path):
            first, count = foreign.get(suffix, (path, 0))
            foreign[suffix] = min(first, path), count + 1
    for suffix, (first, count) in sorted(foreign.items()):
        faults.append(not_decoded(suffix, first, count))
        yield _failed(faults[-1])
    if not photos:
        raise no_photos(root, faults)


def _entries(folder: str) -> Iterator[os.DirEntry[str] | PhotoError]:
    """Yield the files below `folder` that are not hidden, and what cannot be read."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    if not is_content(entry.name):
                        continue
                    if entry.is_symlink():
                        yield linked_folder(Path(entry.path))
                    else:
                        yield from _entries(entry.path)
                elif not entry.name.startswith("."):
                    yield entry
    except OSError as error:
        yield photo_fault(error, folder)


def _photo(path: str, label: str | None, folder: str) -> Found | Failed:
    try:
        if not os.path.isfile(path):  # noqa: PTH113
            return _failed(unreadable(Path(path)))
        status = os.stat(path)  # noqa: PTH116
        name = _checked(folder) if label is None else label
    except OSError as error:
        return _failed(photo_fault(error, path))
    except LabelError as error:
        return Failed(os.fsencode(path), error.what, "rename the folder, or use --label")
    return Found(os.fsencode(path), name, status.st_size, status.st_mtime_ns)


def _label_below(root: Path, path: str) -> str:
    below = Path(path).relative_to(root).parts
    return below[0] if len(below) > 1 else root.name


@lru_cache(1024)
def _checked(name: str) -> str:
    return check_label(name)


def _failed(fault: PhotoError) -> Failed:
    return Failed(os.fsencode(fault.where), fault.what, fault.remedy)
