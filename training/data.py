"""Sets of labelled photos: a manifest.csv, or a folder with one sub-folder per label.

A manifest has the columns `path` and `label` (or `place` / `fine_name`), and may have `split` and
any others, which stay with the photo as `extra`. A folder tree has no splits: see training/splits.
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge_runtime.errors import InputError
from edge_runtime.photo import SUFFIXES

_LABEL_COLUMNS = ("label", "place", "fine_name")
SAMPLE = "tiny"  # a set of this name beside others is a sample of them, for tests


class DataError(InputError):
    """A set of photos that cannot be used: says which, where, and what to do."""


@dataclass(frozen=True)
class Photo:
    """One labelled photo. `name` is its path below the set's folder, stable across machines."""

    path: Path
    name: str
    label: str
    split: str
    source: str
    extra: dict[str, str] = field(default_factory=dict, compare=False, hash=False)

    @property
    def order(self) -> tuple[str, str, int, str]:
        """Sort key: photos of one label in the order they were taken."""
        return (self.source, self.label, int(self.extra.get("seq", "0") or 0), self.name)


def read_set(folder: Path) -> list[Photo]:
    """All photos of one set, sorted by name.

    Raises DataError when the folder is missing, holds no photo, or its manifest lacks a column.
    """
    if not folder.is_dir():
        raise DataError("not a folder", where=folder, remedy="give --data a folder of photos")
    manifest = folder / "manifest.csv"
    photos = _from_manifest(manifest) if manifest.exists() else _from_tree(folder)
    if not photos:
        raise DataError("no photo", where=folder, remedy="put one sub-folder per label in it")
    return sorted(photos, key=lambda photo: photo.name)


def read_sets(folders: Iterable[Path]) -> list[Photo]:
    """The photos of several sets, one after the other; labels carry the set's name in front.

    A folder without photos of its own whose sub-folders hold a manifest.csv stands for those.
    """
    photos: list[Photo] = []
    for folder in folders:
        inner = [path.parent for path in sorted(folder.glob("*/manifest.csv"))]
        nested = inner and not (folder / "manifest.csv").exists()
        for each in inner if nested else [folder]:
            if not (nested and each.name == SAMPLE):
                photos += read_set(each)
    if len({photo.source for photo in photos}) > 1:
        photos = [replace(photo, label=f"{photo.source}/{photo.label}") for photo in photos]
    return photos


def _from_manifest(manifest: Path) -> list[Photo]:
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = set(rows[0]) if rows else set()
    label = next((column for column in _LABEL_COLUMNS if column in columns), None)
    if label is None or "path" not in columns:
        raise DataError(
            "it lacks the column path or label",
            where=manifest,
            remedy="name them in its first line",
        )
    return [
        Photo(
            path=manifest.parent / row["path"],
            name=row["path"],
            label=row[label],
            split=row.get("split", ""),
            source=manifest.parent.name,
            extra={key: value for key, value in row.items() if key not in ("path", "split")},
        )
        for row in rows
    ]


def _from_tree(folder: Path) -> list[Photo]:
    return [
        Photo(path, path.relative_to(folder).as_posix(), path.parent.name, "", folder.name)
        for path in folder.glob("*/*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    ]


def label_indices(photos: Iterable[Photo]) -> dict[str, int]:
    """Label -> class index, in sorted order."""
    return {label: i for i, label in enumerate(sorted({photo.label for photo in photos}))}


def _content(photo: Photo) -> bytes | None:
    """A digest of the photo's file; None where it cannot be read (decoding reports that)."""
    try:
        return hashlib.sha256(photo.path.read_bytes()).digest()
    except OSError:
        return None


def twins(photos: Iterable[Photo]) -> dict[str, str]:
    """Label -> the first label that has the very same photos, where there is such a one."""
    contents: dict[str, set[bytes | None]] = defaultdict(set)
    for photo in photos:
        contents[photo.label].add(_content(photo))
    first: dict[frozenset[bytes | None], str] = {}
    found = {label: first.setdefault(frozenset(held), label) for label, held in contents.items()}
    return {label: other for label, other in found.items() if label != other}


def warnings_about(photos: list[Photo]) -> list[str]:
    """One line for each thing a person should know: lone photos of a label, shared photos."""
    lines = []
    counts = Counter(photo.label for photo in photos)
    for label in sorted(label for label, count in counts.items() if count == 1):
        lines.append(f"label {label} has one photo: it can be learnt but not be judged")
    seen: dict[bytes, Photo] = {}
    shared: Counter[tuple[str, str]] = Counter()
    for photo in photos:
        content = _content(photo)
        if content is None:
            continue
        first = seen.setdefault(content, photo)
        if first.label != photo.label:
            shared[first.label, photo.label] += 1
    for (one, other), count in sorted(shared.items()):
        lines.append(f"labels {one} and {other} share {count} identical photos")
    return lines
