"""The compiled engine: a bundle's libedge.so through ctypes, without a framework at run time.

The library takes the camera's pixels and returns the packed code. It contains color order,
normalization, threshold and packing. Its interface is compile/native/edge.h.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_runtime.bundle import multiply_adds, open_bundle
from edge_runtime.code import Code, Embedding
from edge_runtime.engine.base import Engine, Step
from edge_runtime.errors import BundleInvalidError, EngineError
from edge_runtime.shortage import is_noexec, shortage
from edge_runtime.system.stage_timer import NO_TIMER, StageTimer
from edge_runtime.trust.files import checked_file

if TYPE_CHECKING:  # loads OpenCV, which this engine does not need
    from edge_runtime.image import Image

API_VERSION = 2
WITHOUT_FEATURES = 1
"""The earlier interface, still supported: `edge_info` ends at arena_bytes, no `edge_features`."""


class _Info(ctypes.Structure):
    _fields_ = (
        ("api_version", ctypes.c_int32),
        ("size", ctypes.c_int32),
        ("bits", ctypes.c_int32),
        ("words", ctypes.c_int32),
        ("model_id", ctypes.c_char_p),
        ("target", ctypes.c_char_p),
        ("precision", ctypes.c_char_p),
        ("arena_bytes", ctypes.c_uint64),
        ("features", ctypes.c_int32),
    )


class CompiledEngine(Engine):
    """Runs the compiled network of a bundle that matches this CPU."""

    name = "compiled"

    def __init__(self, path: str | os.PathLike[str], *, threads: int = 1) -> None:
        bundle = open_bundle(Path(path))
        if bundle.library is None:
            raise BundleInvalidError("the bundle contains no compiled network", where=path)
        self._library = _load(bundle.library, checked_file(bundle.library))
        info = self._library.edge_version().contents
        model, features = bundle.model, 0
        if info.api_version == WITHOUT_FEATURES:
            model = replace(model, features=0)
        else:
            features = info.features
        found = (info.size, info.bits, features, (info.model_id or b"").decode())
        if found != (model.input.size, model.bits, model.features, model.id):
            raise BundleInvalidError(
                "the library was compiled from a different model than the manifest names",
                where=bundle.library,
                remedy="compile the bundle again",
            )
        self.model = model
        self.target, self.precision = bundle.target, bundle.precision
        self.threads = threads
        self.reason = f"bundle for {bundle.target}, {bundle.precision}, matches this CPU"
        self._shape = (info.size, info.size, 3)
        self._words = int(info.words)
        self._network = self._library.edge_open(threads)
        if not self._network:
            raise EngineError(self._error(), where=bundle.library)

    def hash(self, image: Image, timer: StageTimer = NO_TIMER) -> Code:
        """See `Engine.hash`."""
        pixels = self._pixels(image)
        code = np.empty(self._words, dtype=np.uint64)
        if self._library.edge_hash(self._network, pixels.ctypes.data, code.ctypes.data):
            raise EngineError(self._error(), where=self.model.path)
        timer.mark("hash")
        return code

    def embed(self, image: Image, timer: StageTimer = NO_TIMER) -> Embedding:
        """See `Engine.embed`."""
        if not self.model.features:
            return Embedding(self.hash(image, timer), None)
        pixels = self._pixels(image)
        code = np.empty(self._words, dtype=np.uint64)
        features = np.empty(self.model.features, dtype=np.float32)
        if self._library.edge_features(
            self._network, pixels.ctypes.data, code.ctypes.data, features.ctypes.data
        ):
            raise EngineError(self._error(), where=self.model.path)
        timer.mark("hash")
        return Embedding(code, features)

    def logits(self, image: Image) -> NDArray[np.float32]:
        """Return the hash layer's sums before the sigmoid, float32 [K], for parity tests."""
        pixels = self._pixels(image)
        logits = np.empty(self.model.bits, dtype=np.float32)
        if self._library.edge_logits(self._network, pixels.ctypes.data, logits.ctypes.data):
            raise EngineError(self._error(), where=self.model.path)
        return logits

    def steps(self, image: Image, calls: int) -> list[Step]:
        """See `Engine.steps`; each step is a kernel."""
        pixels = self._pixels(image)
        library, network = self._library, self._network
        count = library.edge_profile(network, None, 0)
        times_ns = np.zeros((calls, count), dtype=np.uint64)
        code = np.empty(self._words, dtype=np.uint64)
        try:
            for row in times_ns:
                library.edge_profile(network, row.ctypes.data, count)
                library.edge_hash(network, pixels.ctypes.data, code.ctypes.data)
        finally:
            library.edge_profile(network, None, 0)
        work: Sequence[int | None] = multiply_adds(Path(self.model.path)) or [None] * count
        names = [library.edge_kernel(i).decode().partition(": ") for i in range(count)]
        return [
            Step(what or kernel, kernel, work[i], (times_ns[:, i] / 1e6).tolist())
            for i, (kernel, _, what) in enumerate(names)
        ]

    def close(self) -> None:
        """See `Engine.close`."""
        if self._network:
            self._library.edge_close(self._network)
            self._network = None

    def __del__(self) -> None:
        if getattr(self, "_network", None):
            self.close()

    def _pixels(self, image: Image) -> Image:
        if self._network is None:
            raise EngineError("the engine is closed", where=self.model.path)
        if image.shape != self._shape or image.dtype != np.uint8:
            raise EngineError(
                f"image must be uint8 {self._shape}, got {image.dtype} {image.shape}",
                where=self.model.path,
                remedy="preprocess it with edge_runtime.image.preprocess",
            )
        return np.ascontiguousarray(image)

    def _error(self) -> str:
        return str(self._library.edge_error().decode())


def _load(path: Path, copy: Path | None = None) -> ctypes.CDLL:
    """Load the library `path` from its private `copy`, if there is one."""
    try:
        library = ctypes.CDLL(os.fspath((copy or path).absolute()))
    except OSError as error:
        if is_noexec(path):
            raise EngineError(
                "its disk is mounted noexec, so no library on it can be loaded",
                where=path,
                remedy="move the bundle to another disk, or mount this one with exec",
            ) from error
        raise shortage(error, path) or EngineError(
            f"cannot load the library: {error}", where=path, remedy="compile the bundle again"
        ) from error
    pointer, number = ctypes.c_void_p, ctypes.c_int32
    functions = [
        ("edge_open", pointer, [number]),
        ("edge_hash", number, [pointer] * 3),
        ("edge_logits", number, [pointer] * 3),
        ("edge_profile", number, [pointer, pointer, number]),
        ("edge_kernel", ctypes.c_char_p, [number]),
        ("edge_close", None, [pointer]),
        ("edge_error", ctypes.c_char_p, []),
    ]
    try:
        library.edge_version.restype = ctypes.POINTER(_Info)
        version = library.edge_version().contents.api_version
        if version not in (WITHOUT_FEATURES, API_VERSION):
            raise BundleInvalidError(
                f"unsupported interface version {version}, expected {API_VERSION}",
                where=path,
                remedy="compile the bundle again, or update edge-runtime",
            )
        if version != WITHOUT_FEATURES:
            functions.append(("edge_features", number, [pointer] * 4))
        for name, result, arguments in functions:
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except AttributeError as error:
        raise BundleInvalidError(f"not a compiled network: {error}", where=path) from error
    return library
