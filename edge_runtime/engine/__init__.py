"""Engines: what turns a fitted square of pixels into a packed code.

One small contract (`base.Engine`), filled by `portable` (ONNX Runtime) and, for tests at the seam,
by `fake`. The compiled engine will be the third.
"""

from __future__ import annotations

import os
from pathlib import Path

from edge_runtime.engine.base import Engine
from edge_runtime.model import find_model

__all__ = ["Engine", "open_engine"]


def open_engine(model: str | os.PathLike[str] | None = None, *, threads: int = 1) -> Engine:
    """The best engine for the model that `find_model` finds; raises `ModelError`."""
    from edge_runtime.engine.portable import PortableEngine  # loads ONNX Runtime

    path: Path = find_model(model)
    return PortableEngine(path, threads=threads)
