"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from edge_runtime.errors import StorageError, storage_error


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a file beside `path`, flush it to the disk, then put it in its place.

    Raises StorageError when the disk refuses; what stood at `path` before stays whole.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        with contextlib.suppress(OSError):
            part.unlink()
        fault = storage_error(error, path) if isinstance(error, OSError) else None
        raise fault or StorageError(
            f"it could not be written: {error}", where=path, remedy="check the disk's free space"
        ) from error


def write_json(path: Path, result: dict[str, Any]) -> None:
    """Write a result file; raises StorageError when the disk refuses."""
    text = json.dumps(result, indent=1, sort_keys=True) + "\n"
    write_whole(path, lambda file: file.write(text.encode()))
