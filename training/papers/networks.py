"""Codes and features of finished networks for sets of photos, computed once and kept."""

from __future__ import annotations

from pathlib import Path
from time import thread_time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_runtime.code import Code
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.image.preprocess import preprocess
from training.data.pixel_cache import PhotoReader
from training.papers.kept import Arrays, kept


class Embedded(NamedTuple):
    """What a network computes of N photos."""

    name: str
    bits: int
    codes: Code
    """uint64 [N, W]."""
    features: NDArray[np.float32]
    """[N, F]; F is 0 if the model gives none."""
    ms: NDArray[np.float64]
    """CPU milliseconds [N] of preprocessing and network, with one thread."""


def embed_all(model: Path, reader: PhotoReader, folder: Path) -> Embedded:
    """Return the codes and features of the photos by the runtime's engine and preprocessing."""
    engine = PortableEngine(model, threads=1)
    info = engine.model

    def compute() -> Arrays:
        codes, features, times = [], [], []
        for row in range(len(reader)):
            image = reader[row]
            start = thread_time()
            found = engine.embed(preprocess(image, info.input.size))
            times.append(1000 * (thread_time() - start))
            codes.append(found.code)
            nothing = np.zeros(0, np.float32)
            features.append(nothing if found.features is None else found.features.ravel())
        return {"codes": np.stack(codes), "features": np.stack(features), "ms": np.array(times)}

    try:
        arrays = kept(folder, info.name, info.id, reader.photos, compute)
    finally:
        engine.close()
    return Embedded(info.name, info.bits, arrays["codes"], arrays["features"], arrays["ms"])
