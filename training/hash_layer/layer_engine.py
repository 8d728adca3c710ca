"""An engine with another hash layer than its model's, so that a layer is judged before export."""

from __future__ import annotations

from edge_runtime.code import Code, Embedding, binarize, pack
from edge_runtime.engine.base import Engine
from edge_runtime.errors import ModelInvalidError
from edge_runtime.image import Image
from edge_runtime.system.stage_timer import NO_TIMER, StageTimer
from training.methods.linear_map import LinearMap


class LayerEngine(Engine):
    """Makes codes of the features of another engine, with a layer (weight [K, F], bias [K])."""

    def __init__(self, engine: Engine, layer: LinearMap) -> None:
        """Use the features of `engine`; raises ModelInvalidError if its model gives none."""
        if not engine.model.features:
            raise ModelInvalidError(
                "it gives no features", where=engine.model.path, remedy="export it again"
            )
        self._engine = engine
        self._weight, self._bias = layer
        self.name = engine.name
        self.reason = engine.reason
        self.threads = engine.threads
        self.model = engine.model

    def hash(self, image: Image, timer: StageTimer = NO_TIMER) -> Code:
        """See `Engine.hash`."""
        return self.embed(image, timer).code

    def embed(self, image: Image, timer: StageTimer = NO_TIMER) -> Embedding:
        """See `Engine.embed`."""
        features = self._engine.embed(image, timer).features
        assert features is not None  # the constructor checks it
        return Embedding(pack(binarize(self._weight @ features + self._bias, 0.0)), features)
