"""Engines: what turns a fitted square of pixels into a packed code.

One small contract (`base.Engine`), filled by `compiled` (a bundle made for this CPU), `portable`
(ONNX Runtime) and, for tests at the seam, by `fake`.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from edge_runtime.bundle import is_bundle, portable_model
from edge_runtime.engine.base import Engine
from edge_runtime.errors import ModelError
from edge_runtime.model import find_model

__all__ = ["Engine", "open_engine"]

log = logging.getLogger("edge_runtime.engine")


def open_engine(model: str | os.PathLike[str] | None = None, *, threads: int = 1) -> Engine:
    """The best engine for the model that `find_model` finds; raises `ModelError`.

    A model file gets the portable engine. A bundle gets the compiled one; where the bundle is
    damaged or made for another CPU, that is logged, and its model.onnx runs on the portable engine
    instead. Where that file is missing or damaged, the bundle's fault is raised.
    """
    path: Path = find_model(model)
    if not is_bundle(path):
        return _portable(path, threads, "the model is an ONNX file, not a bundle for this CPU")
    try:
        from edge_runtime.engine.compiled import CompiledEngine

        return CompiledEngine(path, threads=threads)
    except ModelError as fault:
        model_file = portable_model(path)
        if not model_file:
            raise
        log.warning("%s; the portable engine is used instead", fault)
        return _portable(model_file, threads, f"the bundle cannot be used: {fault}")


def _portable(path: Path, threads: int, reason: str) -> Engine:
    from edge_runtime.engine.portable import PortableEngine  # loads ONNX Runtime

    return PortableEngine(path, threads=threads, reason=reason)
