"""Checkpoints that a kill, a full disk or another architecture cannot turn into a loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from edge_runtime.errors import ModelError
from training.files import write_whole


class CheckpointError(ModelError):
    """A checkpoint that cannot be used here."""


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Put `state` at `path`, whole or not at all; raises StorageError when the disk refuses."""
    write_whole(path, lambda file: torch.save(state, file))


def load_checkpoint(path: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The state saved at `path`, None if there is none.

    Raises CheckpointError when it is damaged or its `identity` (architecture, classes, recipe)
    is not this one.
    """
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of a damaged file torch raises almost anything
        raise CheckpointError(
            f"damaged checkpoint: {error}", where=path, remedy="delete it to start over"
        ) from error
    found = state.get("identity", {})
    for key, value in identity.items():
        if found.get(key) != value:
            raise CheckpointError(
                f"it was made with {key} {found.get(key)}, this run has {value}",
                where=path,
                remedy="choose another --out, or delete it to start over",
            )
    return state
