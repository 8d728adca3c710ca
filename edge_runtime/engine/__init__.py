"""Engines: compute the packed code of a preprocessed image.

All engines implement `base.Engine`: `compiled` (a bundle for this CPU), `portable` (ONNX Runtime),
and `fake` (for tests).
"""

from __future__ import annotations

import os
from pathlib import Path

from edge_runtime.bundle import is_bundle, portable_model
from edge_runtime.engine.base import Engine
from edge_runtime.errors import ModelError
from edge_runtime.model import find_model

__all__ = ["Engine", "open_engine"]


def open_engine(model: str | os.PathLike[str] | None = None, *, threads: int = 1) -> Engine:
    """Open the best engine for the model that `find_model` finds; raises `ModelError`.

    A model file runs on the portable engine, a bundle on the compiled engine. If the bundle is
    damaged, compiled for another CPU or unverified, a warning is logged and its model.onnx runs on
    the portable engine. If that file is missing or damaged too, the bundle's error is raised.
    EDGE_RUNTIME_ALLOW_UNVERIFIED=1 allows unverified bundles.
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
        import logging  # takes 2 ms, a fifth of the import of this package

        log = logging.getLogger("edge_runtime.engine")
        log.warning("%s; falling back to ONNX Runtime", fault)
        return _portable(model_file, threads, f"the bundle cannot be used: {fault}")


def _portable(path: Path, threads: int, reason: str) -> Engine:
    from edge_runtime.engine.portable import PortableEngine  # loads ONNX Runtime

    return PortableEngine(path, threads=threads, reason=reason)
