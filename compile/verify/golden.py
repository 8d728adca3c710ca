"""Golden codes: ONNX Runtime's codes of views of photographs, the reference of every comparison.

Computing them is the slowest part of a verification and does not depend on the compiled library. So
they are computed on a separate thread while the library is built, and cached (compile/cache.py).
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
from compile.verify.images import load_photos, make_views
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.image import Image


@dataclass(frozen=True)
class GoldenSet:
    """Preprocessed pictures and their codes."""

    pictures: Image
    """uint8 [N, size, size, 3], BGR. Picture i shows photograph i modulo `photographs`."""
    photographs: int
    codes: Codes
    """uint64 [N, W]."""


class GoldenCodes:
    """A context manager. On exit it abandons the codes that are not finished."""

    def __init__(self, model: Path, folder: Path | None) -> None:
        """Use the network `model`, and the photos below `folder` (None: those of scikit-image)."""
        self.engine = PortableEngine(model)
        self._folder = folder
        self._worker = ThreadPoolExecutor(1)
        self._closed = threading.Event()
        self._sets: dict[int, Future[GoldenSet]] = {}

    def __enter__(self) -> GoldenCodes:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._worker.shutdown(cancel_futures=True)

    def begin(self, count: int) -> None:
        """Start to compute the codes of `count` views in the background."""
        if count not in self._sets:
            self._sets[count] = self._worker.submit(self._compute, count)

    def get(self, count: int) -> GoldenSet:
        """Return the codes of `count` views; raises `NoPhotosError`."""
        self.begin(count)
        return self._sets[count].result()

    def wait(self) -> None:
        """Wait until nothing is computed in the background."""
        wait(self._sets.values())

    def _compute(self, count: int) -> GoldenSet:
        photos = load_photos(self._folder, count)
        pictures = make_views(photos, self.engine.model.input.size, count)

        def compute() -> dict[str, Any]:
            return {"codes": [self._code(picture) for picture in pictures]}

        key = cache.digest("golden", onnxruntime.__version__, self.engine.model.id, pictures)
        stored = cache.cached_json(key, compute)
        return GoldenSet(pictures, len(photos), np.array(stored["codes"], np.uint64))

    def _code(self, picture: Image) -> list[int]:
        if self._closed.is_set():
            raise InterruptedError
        code: list[int] = self.engine.hash(picture).tolist()
        return code
