"""Write files atomically and durably."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from edge_runtime.errors import StorageError, storage_error
from edge_runtime.system.durable import sync_folder


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a file beside `path`, flush it, then rename it durably to `path`.

    Raises StorageError when writing fails; a file that existed at `path` stays intact.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync_folder(path.parent)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        with contextlib.suppress(OSError):
            part.unlink()
        fault = storage_error(error, path) if isinstance(error, OSError) else None
        full = "inline_container" in str(error)  # torch names a line of its own source
        what = "the disk is full or the file may not grow" if full else f"not written: {error}"
        raise fault or StorageError(
            what, where=path, remedy="free some space, then run it again"
        ) from error


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically; raises StorageError when writing fails."""
    write_whole(path, lambda file: file.write(data))


def write_json(path: Path, result: dict[str, Any]) -> None:
    """Write `result` as JSON to `path` atomically; raises StorageError when writing fails."""
    text = json.dumps(result, indent=1, sort_keys=True) + "\n"
    write_bytes(path, text.encode())
