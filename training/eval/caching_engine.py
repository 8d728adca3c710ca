"""An engine that computes each image once, so that many galleries of the same photos are cheap."""

from __future__ import annotations

import hashlib

from edge_runtime.code import Code, Embedding
from edge_runtime.engine.base import Engine, Step
from edge_runtime.image import Image
from edge_runtime.system.stage_timer import NO_TIMER, StageTimer


class CachingEngine(Engine):
    """Remembers the embedding of each preprocessed image by the digest of its pixels.

    Everything but the network still runs: decoding, views, preprocessing, gallery and lookup.
    """

    def __init__(self, engine: Engine) -> None:
        """Wrap `engine`, which is closed with this one."""
        self._engine = engine
        self._known: dict[bytes, Embedding] = {}
        self.name = engine.name
        self.reason = engine.reason
        self.threads = engine.threads
        self.model = engine.model
        self.target = engine.target
        self.precision = engine.precision

    def hash(self, image: Image, timer: StageTimer = NO_TIMER) -> Code:
        """See `Engine.hash`."""
        return self.embed(image, timer).code

    def embed(self, image: Image, timer: StageTimer = NO_TIMER) -> Embedding:
        """See `Engine.embed`; the stages of an image that was seen before take almost no time."""
        digest = hashlib.sha256(image.data).digest()
        found = self._known.get(digest)
        if found is None:
            found = self._known[digest] = self._engine.embed(image, timer)
            for array in (found.code, found.features):
                if array is not None:
                    array.setflags(write=False)  # shared by all later calls
        else:
            timer.mark("hash")
            timer.mark("pack")
        return found

    def steps(self, image: Image, calls: int) -> list[Step]:
        """See `Engine.steps`."""
        return self._engine.steps(image, calls)

    def close(self) -> None:
        """See `Engine.close`."""
        self._engine.close()
