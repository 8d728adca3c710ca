"""An engine for tests at the seam: needs no model file and no ONNX Runtime."""

from __future__ import annotations

import hashlib

from edge_runtime.code import Code, binarise, pack
from edge_runtime.engine.base import Engine
from edge_runtime.image import Image
from edge_runtime.image.preprocess import preprocess
from edge_runtime.model import InputSpec, ModelInfo
from edge_runtime.system.stage_timer import Lap, no_lap


class FakeEngine(Engine):
    """64 bits, one for each cell of an 8 x 8 grid that is brighter than the picture's mean."""

    name = "fake"
    reason = "a test asked for it"
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
        )

    def hash(self, image: Image, lap: Lap = no_lap) -> Code:
        """See `Engine.hash`."""
        cells = preprocess(image, 8).mean(axis=2).reshape(64)
        lap("hash")
        return pack(binarise(cells, float(cells.mean())))
