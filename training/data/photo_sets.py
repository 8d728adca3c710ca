"""Sets of labelled photos: a manifest.csv, or a folder with one sub-folder per label.

A manifest has the columns `path` and `label` (or `place` / `fine_name`), and may have `split` (in
the words of SPLITS), `seq` (a number: the order in which the photos were taken) and any others,
which stay with the photo as `extra`. A folder tree has no splits: see training/data/splits.py.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from edge_runtime.errors import InputError
from edge_runtime.image.decode import SUFFIXES
from training.cli import log

_LABEL_COLUMNS = ("label", "place", "fine_name")
SPLITS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
    "gallery": "gallery", "query": "query", "": "",
}  # fmt: skip
"""What a manifest's column `split` may say, in lower case, and what it means."""
FOREIGN = frozenset({
    ".heic", ".heif", ".avif", ".jxl", ".jp2", ".gif", ".jfif",
    ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2",
})  # fmt: skip
"""Suffixes of pictures that cameras and phones leave, and that nothing here can read."""
SAMPLE = "tiny"  # a set of this name beside others is a sample of them, for tests


class DataError(InputError):
    """A set of photos cannot be used; the message states where and what to do."""


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
    """Return all photos of one set, sorted by name.

    Raises DataError when the folder is missing, holds no photo, or its manifest is faulty.
    """
    if not folder.is_dir():
        raise DataError("not a folder", where=folder, remedy="give --data a folder of photos")
    manifest = folder / "manifest.csv"
    photos = _from_manifest(manifest) if manifest.exists() else _from_tree(folder)
    if not photos:
        raise DataError("no photos", where=folder, remedy="put one sub-folder per label in it")
    return sorted(photos, key=lambda photo: photo.name)


def read_sets(folders: Iterable[Path]) -> list[Photo]:
    """Return the photos of several sets in order; each label is prefixed with its set's name.

    A folder that has no photos itself is expanded to its sub-folders with a manifest.csv.
    """
    photos: list[Photo] = []
    for folder in folders:
        inner = [path.parent for path in sorted(folder.glob("*/manifest.csv"))]
        nested = inner and not (folder / "manifest.csv").exists()
        for each in inner if nested else [folder]:
            if not (nested and each.name == SAMPLE):
                photos += read_set(each)
    if not photos:
        raise DataError("no photos", where=folder, remedy="give --data a folder of photos")
    if len({photo.source for photo in photos}) > 1:
        photos = [replace(photo, label=f"{photo.source}/{photo.label}") for photo in photos]
    return photos


def _from_manifest(manifest: Path) -> list[Photo]:
    columns, rows = _rows(manifest)
    label = next((column for column in _LABEL_COLUMNS if column in columns), None)
    if label is None or "path" not in columns:
        raise DataError(
            "the column path or label is missing",
            where=manifest,
            remedy="name them in its first line",
        )
    if "distinct" in columns and "interleaved" not in columns:
        raise DataError(
            "column distinct without column interleaved",
            where=f"{manifest}:1",
            remedy="add the other, or give this one another name",
        )
    if not rows:
        raise DataError(
            "the manifest lists no photos", where=manifest, remedy="add one line per photo"
        )
    photos = []
    for line, row in rows:
        if fault := _fault_of(row, len(columns), label):
            raise DataError(fault[0], where=f"{manifest}:{line}", remedy=fault[1])
        photos.append(
            Photo(
                path=manifest.parent / row["path"],
                name=row["path"],
                label=row[label],
                split=SPLITS[_split_word(row)],
                source=manifest.parent.name,
                extra={key: value for key, value in row.items() if key not in ("path", "split")},
            )
        )
    return photos


def _rows(manifest: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Return the columns of a manifest and its rows, each with its last line number."""
    data = manifest.read_bytes()
    try:
        text = data.decode("utf-8-sig")  # spreadsheets put a byte order mark in front
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            "not UTF-8", where=f"{manifest}:{line}", remedy="save it as CSV in UTF-8"
        ) from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        where = f"{manifest}:{reader.line_num}"
        raise DataError(f"not a CSV file: {error}", where=where, remedy="save it again") from error
    return list(reader.fieldnames or ()), rows


def _split_word(row: dict[str, str]) -> str:
    return row.get("split", "").strip().lower()


def _fault_of(row: dict[str, str], columns: int, label: str) -> tuple[str, str] | None:
    """Return the fault of a manifest row and its remedy, or None if the row is valid.

    The row must have `columns` fields; `label` is the column that holds the label.
    """
    if None in row or None in row.values():
        extra = row.get(None, ())  # type: ignore[call-overload]
        count = sum(value is not None for value in row.values()) + len(extra) - bool(extra)
        return (
            f"the first line names {columns} fields, this one has {count}",
            "correct the line; quote fields that contain a comma",
        )
    for column in ("path", label):
        if not row[column].strip():
            return f"its {column} is empty", "fill it in, or delete the line"
    if _split_word(row) not in SPLITS:
        known = ", ".join(word for word in SPLITS if word)
        return f'the split "{row["split"]}" is not known', f"write one of {known}, or nothing"
    seq = row.get("seq", "").strip()
    if seq and not seq.removeprefix("-").isdecimal():
        return f'seq is "{seq}", not a whole number', "number the photos as they were taken"
    return None


def _from_tree(folder: Path) -> list[Photo]:
    photos = [
        Photo(path, path.relative_to(folder).as_posix(), path.parent.name, "", folder.name)
        for path in _visible(folder, "*/*", SUFFIXES)
    ]
    foreign = Counter(path.suffix for path in _visible(folder, "*/*", FOREIGN))
    left_out = " and ".join(
        f"{count} {suffix} file{'s' if count > 1 else ''}"
        for suffix, count in sorted(foreign.items())
    )
    if photos and left_out:
        log(f"note: {folder}: left out: {left_out}; convert them to JPEG")
    elif left_out:
        raise DataError(f"no photos except {left_out}", where=folder, remedy="convert them to JPEG")
    elif deep := sorted({path.parts[-3] for path in _visible(folder, "*/*/*", SUFFIXES)}):
        nearest = "train" if "train" in deep else deep[0]
        raise DataError(
            f"the labels lie one level too deep, in {', '.join(deep)}",
            where=folder,
            remedy=f"move the label folders up, or give {folder / nearest}",
        )
    return photos


def _visible(folder: Path, pattern: str, suffixes: frozenset[str]) -> list[Path]:
    return [
        path
        for path in folder.glob(pattern)
        if path.suffix.lower() in suffixes and not path.name.startswith(".")
    ]


def count_by_set(photos: Iterable[Photo]) -> dict[str, dict[str, int]]:
    """Count the photos and labels of each set, keyed by the set's name."""
    held: dict[str, list[str]] = defaultdict(list)
    for photo in photos:
        held[photo.source].append(photo.label)
    return {
        source: {"photos": len(labels), "labels": len(set(labels))}
        for source, labels in held.items()
    }


def label_indices(photos: Iterable[Photo]) -> dict[str, int]:
    """Map each label to its class index, in sorted order."""
    return {label: i for i, label in enumerate(sorted({photo.label for photo in photos}))}


def require_labels(photos: Iterable[Photo], least: int, where: Path) -> None:
    """Raise DataError if `photos` have fewer than `least` labels."""
    count = len({photo.label for photo in photos})
    if count < least:
        what = f"readable training photos of {count} label{'' if count == 1 else 's'}"
        raise DataError(
            f"{what}, {least} are needed", where=where, remedy="add photos of other labels"
        )


def _content(photo: Photo) -> bytes | None:
    """Return a digest of the photo's file, or None if it is unreadable (decoding reports that)."""
    try:
        return hashlib.sha256(photo.path.read_bytes()).digest()
    except OSError:
        return None


def duplicate_labels(photos: Iterable[Photo]) -> dict[str, str]:
    """Map each label to the first label with identical photos, if one exists."""
    contents: dict[str, set[bytes | None]] = defaultdict(set)
    for photo in photos:
        contents[photo.label].add(_content(photo))
    first: dict[frozenset[bytes | None], str] = {}
    found = {label: first.setdefault(frozenset(held), label) for label, held in contents.items()}
    return {label: other for label, other in found.items() if label != other}


def warnings_about(photos: list[Photo]) -> list[str]:
    """Return one warning per problem: labels with a single photo, labels that share photos."""
    lines = []
    counts = Counter(photo.label for photo in photos)
    for label in sorted(label for label, count in counts.items() if count == 1):
        lines.append(f"label {label} has one photo: it can be learned but not evaluated")
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


def sample_evenly(photos: Sequence[Photo], count: int) -> list[Photo]:
    """Return `count` of `photos`, evenly spread over them, or all if there are fewer."""
    rows = np.linspace(0, len(photos) - 1, min(count, len(photos))).round().astype(int)
    return [photos[int(row)] for row in rows]
