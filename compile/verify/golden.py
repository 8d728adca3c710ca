"""What a compiled network is compared with: ONNX Runtime's codes of real and disturbed photographs.

They take longest of all that a proof needs, and need nothing of what is compiled. So they are made
beside it, on a thread of their own, once for all proofs, and kept (compile/cache.py).
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from compile import cache
from compile.verify.criteria import Codes
from compile.verify.images import photos, views
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.image import Image


@dataclass(frozen=True)
class Seen:
    """Fitted pictures, and their codes."""

    pictures: Image
    """uint8 [N, size, size, 3], BGR; picture i is of photograph i modulo `photographs`."""
    photographs: int
    codes: Codes
    """uint64 [N, W]."""


class GoldenCodes:
    """A context manager; what it still computes when it is left is given up."""

    def __init__(self, model: Path, folder: Path | None) -> None:
        """Of the network in the file `model`, of photos below `folder` or scikit-image's."""
        self.engine = PortableEngine(model)
        self._model, self._folder = model, folder
        self._worker = ThreadPoolExecutor(1)
        self._left = threading.Event()
        self._seen: dict[int, Future[Seen]] = {}

    def __enter__(self) -> GoldenCodes:
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._worker.shutdown(cancel_futures=True)

    def begin(self, count: int) -> None:
        """Compute `count` of them meanwhile."""
        if count not in self._seen:
            self._seen[count] = self._worker.submit(self._look, count)

    def of(self, count: int) -> Seen:
        """`count` of them; raises `NoPhotosError`."""
        self.begin(count)
        return self._seen[count].result()

    def wait(self) -> None:
        """Until nothing is computed meanwhile."""
        wait(self._seen.values())

    def _look(self, count: int) -> Seen:
        chosen = photos(self._folder, count)
        made = views(chosen, self.engine.model.input.size, count)

        def compute() -> dict[str, Any]:
            return {"codes": [self._code(picture) for picture in made]}

        key = cache.digest("truth", onnxruntime.__version__, self._model, made)
        found = cache.facts(key, compute)
        return Seen(made, len(chosen), np.array(found["codes"], np.uint64))

    def _code(self, picture: Image) -> list[int]:
        if self._left.is_set():
            raise InterruptedError
        code: list[int] = self.engine.hash(picture).tolist()
        return code
