"""Raw pictures in a file, the input of compile/emulation/measure.c."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from edge_runtime.image import Image


def write_pictures(pictures: Image, path: Path) -> None:
    """Write the raw bytes of `pictures` [N, S, S, 3] to the file `path`."""
    with path.open("wb") as file:
        np.ascontiguousarray(pictures).tofile(file)
        file.flush()
        os.fsync(file.fileno())
