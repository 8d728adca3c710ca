"""An engine for tests that needs neither a model file nor ONNX Runtime."""

from __future__ import annotations

import hashlib

import numpy as np

from edge_runtime.code import Code, Embedding, binarize, pack
from edge_runtime.engine.base import Engine
from edge_runtime.image import Image
from edge_runtime.image.preprocess import preprocess
from edge_runtime.model import InputSpec, ModelInfo
from edge_runtime.system.stage_timer import NO_TIMER, StageTimer


class FakeEngine(Engine):
    """Computes 64 bits: which cells of an 8 x 8 grid are brighter than the mean of the image."""

    name = "fake"
    reason = "used by a test"
    threads = 1

    def __init__(self, name: str = "fake") -> None:
        self.model = ModelInfo(
            id=hashlib.sha256(name.encode()).hexdigest(),
            path="",
            size_bytes=0,
            name=name,
            version="0",
            bits=64,
            threshold=0.5,
            radius=8,
            input=InputSpec(size=64),
            features=64,
        )

    def hash(self, image: Image, timer: StageTimer = NO_TIMER) -> Code:
        """See `Engine.hash`."""
        return self.embed(image, timer).code

    def embed(self, image: Image, timer: StageTimer = NO_TIMER) -> Embedding:
        """See `Engine.embed`; the features are 64 cells relative to their mean."""
        cells = preprocess(image, 8).mean(axis=2).reshape(64)
        timer.mark("hash")
        code = pack(binarize(cells, float(cells.mean())))
        return Embedding(code, ((cells - cells.mean()) / 255).astype(np.float32))
