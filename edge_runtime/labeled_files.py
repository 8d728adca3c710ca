"""The photos and clips that are to be enrolled, with their labels."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from edge_runtime.errors import NoPhotosError, PhotoError
from edge_runtime.gallery import check_label
from edge_runtime.image.decode import Photo
from edge_runtime.image.photo_files import is_clip_name, search_photos


@dataclass
class LabeledFiles:
    """What is to be enrolled."""

    photos: list[tuple[str, Photo]] = field(default_factory=list)
    """Label and photo."""
    clips: list[tuple[str, Path]] = field(default_factory=list)
    """Label and video file."""
    faults: list[PhotoError] = field(default_factory=list)
    """What cannot be used, such as photos of kinds that are not decoded."""

    @property
    def labels(self) -> set[str]:
        """The labels of all files."""
        return {label for label, _ in (*self.photos, *self.clips)}

    def __len__(self) -> int:
        return len(self.photos) + len(self.clips)

    def add_folder(self, folder: str | os.PathLike[str]) -> None:
        """Add the files of `folder`, which has one sub-folder per label.

        Raises `NoPhotosError` or `LabelError`.
        """
        root = Path(folder)
        found = search_photos(root, clips=True)
        self.faults += found.faults
        for path in (*found.photos, *found.clips):
            if path.parent == root:
                raise NoPhotosError(
                    f"{path.name} is not in a sub-folder, so it has no label",
                    where=root,
                    remedy="make one sub-folder per label, or use --label LABEL PHOTO...",
                )
        self.photos += [(_label_below(root, path), path) for path in found.photos]
        self.clips += [(_label_below(root, path), path) for path in found.clips]

    def add(self, label: str, given: Iterable[Photo]) -> None:
        """Add photos, clips, and all files of folders under one label.

        Raises `NoPhotosError` or `LabelError`.
        """
        label = check_label(label)
        for photo in given:
            path = Path(photo) if isinstance(photo, str | os.PathLike) else None
            if path is not None and path.is_dir():
                found = search_photos(path, clips=True)
                self.faults += found.faults
                self.photos += [(label, each) for each in found.photos]
                self.clips += [(label, each) for each in found.clips]
            elif path is not None and is_clip_name(path):
                self.clips.append((label, path))
            else:
                self.photos.append((label, photo))


def labeled_files(folder: str | os.PathLike[str]) -> LabeledFiles:
    """Return the files of `folder`, which has one sub-folder per label; see `add_folder`."""
    files = LabeledFiles()
    files.add_folder(folder)
    return files


def _label_below(root: Path, path: Path) -> str:
    return check_label(path.relative_to(root).parts[0])
