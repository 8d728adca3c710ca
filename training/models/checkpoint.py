"""Checkpoints that survive a kill, a full disk and a change of architecture."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch

from edge_runtime.errors import ModelError
from training.data.photo_sets import Photo
from training.files import write_whole

INPUTS = ("photos", "first weights", "teachers")
"""Keys of an identity that may be absent: checkpoints made before 2026-11-22 lack them."""


class CheckpointError(ModelError):
    """The checkpoint cannot be used for this run."""


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` to `path` atomically; raises StorageError when writing fails."""
    write_whole(path, lambda file: torch.save(state, file))


def load_checkpoint(path: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """Read the state saved at `path`; None if the file does not exist.

    Raises CheckpointError when the file is corrupt, is not of a training run, or has another
    `identity` (architecture, classes, recipe).
    """
    if not path.exists():
        return None
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises almost anything for a damaged file
        raise CheckpointError(
            f"corrupt checkpoint: {error}", where=path, remedy="delete it to start over"
        ) from error
    found = state.get("identity") if isinstance(state, dict) else None
    if not isinstance(found, dict):
        raise CheckpointError(
            "not a checkpoint of a training run",
            where=path,
            remedy="give a checkpoint written by python -m training train",
        )
    for key, value in identity.items():
        made_with = found.get(key, value if key in INPUTS else None)
        if made_with != value:
            raise CheckpointError(
                _difference(key, made_with, value),
                where=path,
                remedy="choose another --out, or delete it to start over",
            )
    return dict(state)


def digests(
    photos: Sequence[Photo], first: Path | None, teachers: Sequence[Path]
) -> dict[str, str]:
    """Return a SHA-256 digest for each of INPUTS, to identify the inputs of a run.

    They cover the names, labels and sizes in bytes of the photos, the file `first` with the initial
    weights, and the files `teachers`.
    """
    listed = (f"{p.source}/{p.name} {p.label} {p.path.stat().st_size}\n" for p in photos)
    files = ([first] if first else [], teachers)
    contents = (b"".join(sha256(path.read_bytes()).digest() for path in part) for part in files)
    whole = ("".join(listed).encode(), *contents)
    return dict(zip(INPUTS, (sha256(each).hexdigest() for each in whole), strict=True))


def _difference(key: str, found: Any, value: Any) -> str:
    if key in INPUTS:
        return f"it was made with other {key}"
    if key != "classes":
        return f"it was made with {key} {found}, this run has {value}"
    pairs = zip_longest(found or (), value, fillvalue="none")
    one, other = next(pair for pair in pairs if pair[0] != pair[1])
    counts = f"{len(found or ())} against {len(value)}"
    return f"other labels: {counts}, first difference {one} against {other}"
