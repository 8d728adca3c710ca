"""Keep arrays that were computed from photos in a file, for the next run of a command."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.photo_sets import Photo
from training.files import write_whole

Arrays = dict[str, NDArray[Any]]


def kept(
    folder: Path, name: str, settings: str, photos: Sequence[Photo], compute: Callable[[], Arrays]
) -> Arrays:
    """Return the arrays that `compute` returns, from a file in `folder` if there is one.

    The file is named by `name` and a digest of `settings` and of the photos' paths, sizes and
    times. A file that is not whole is computed again. Raises StorageError when writing fails.
    """
    stamp = hashlib.sha256(settings.encode())
    for photo in photos:
        stat = photo.path.stat() if photo.path.exists() else None
        age = (stat.st_size, stat.st_mtime_ns) if stat else None
        stamp.update(f"{photo.path.resolve()} {age}\n".encode())
    path = folder / f"{name}-{stamp.hexdigest()[:16]}.npz"
    try:
        with np.load(path) as stored:
            return {key: stored[key] for key in stored.files}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        arrays: dict[str, Any] = compute()
        write_whole(path, lambda file: np.savez(file, **arrays))
    return arrays
