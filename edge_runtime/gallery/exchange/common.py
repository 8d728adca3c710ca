"""What the formats share: their names, and the errors of a file that cannot be imported."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from edge_runtime.errors import GalleryModelMismatchError, InputError
from edge_runtime.gallery.records import LabelData, LabeledCode
from edge_runtime.gallery.rows import Meta

FORMAT = 2
"""Format 1 has neither label data nor positions. It can still be read."""
SUFFIXES = (".jsonl", ".npz", ".faiss")
MOST_SHOWN = 160
"""Characters of a message that come from the file."""
MOST_ROWS = (1 << 32) - 1
"""Codes in a file: a lookup cannot have more."""

Code = tuple[int, LabeledCode | str]
"""The number of a line (from 1) and its code, or what is wrong with it."""


class NamedData(NamedTuple):
    """The data of a label."""

    label: str
    data: LabelData


def labels_path(path: Path) -> Path:
    """Return the path of the labels of the faiss file `path`."""
    return path.with_name(path.name + ".labels")


def suffix_of(path: Path) -> str:
    """Return the suffix of `path`, which names the format; raises `InputError`."""
    if path.suffix not in SUFFIXES:
        raise InputError(
            f"unknown format '{path.suffix}'",
            where=path,
            remedy=f"choose a name that ends in {' or '.join(SUFFIXES)}",
        )
    return path.suffix


def check_model(path: Path, exported: Meta, meta: Meta) -> None:
    """Raise `GalleryModelMismatchError` if the codes in `path` are not those of `meta`."""
    if exported != meta:
        raise GalleryModelMismatchError(
            f"its codes ({exported.bits} bits) were made by model "
            f"{printable(exported.model_id[:12])}, "
            f"those of the gallery ({meta.bits} bits) by {meta.model_id[:12]}",
            where=path,
            remedy="enroll the photos again with the model that you use now",
        )


def not_a_gallery(path: Path, what: object) -> InputError:
    """Return the error for a file that cannot be imported."""
    return InputError(
        f"not an exported gallery: {printable(str(what))}", where=path, remedy="export it again"
    )


def printable(text: str) -> str:
    """Return a text of the file for a message, short and without control characters."""
    short = text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "..."
    return "".join(each if each.isprintable() else "?" for each in short)
