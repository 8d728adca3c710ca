"""Raw pictures in a file, as compile/emulation/measure.c reads them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from edge_runtime.image import Image


def write_pictures(made: Image, path: Path) -> None:
    """The raw bytes, for compile/emulation/measure.c."""
    with path.open("wb") as file:
        file.write(memoryview(np.ascontiguousarray(made)))
        file.flush()
        os.fsync(file.fileno())
