"""Write, run and check ONNX models. Importing this module does not import torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from edge_runtime.errors import ModelError
from training.files import write_bytes

MAX_BYTES = 13_200_000
IMAGE, FEATURES, HASH = "image", "features", "hash"  # names in the graph
FEATURES_KEY = "edge.features"
Floats = NDArray[np.float32]


class ExportError(ModelError):
    """The exported file differs from what it was made of or is larger than a board allows."""


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write `model` to `path` atomically.

    Raises ExportError when it exceeds `MAX_BYTES`, StorageError when the write fails.
    """
    data = model.SerializeToString()
    if len(data) > MAX_BYTES:
        raise ExportError(
            f"it would be {len(data)} bytes", where=path, remedy=f"a board takes {MAX_BYTES}"
        )
    write_bytes(path, data)


def session(model: bytes | Path, threads: int = 1) -> Callable[[Floats], Floats]:
    """Return a function float32 [1, 3, S, S] -> float32 [1, N] that runs `model`."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = model if isinstance(model, bytes) else str(model)
    engine = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    name = engine.get_inputs()[0].name

    def run(image: Floats) -> Floats:
        result: Floats = engine.run(None, {name: image})[0]
        return result

    return run


def check_parity(
    path: Path, expected: Callable[[Floats], Floats], images: Iterable[Floats]
) -> dict[str, float]:
    """Compare `path` in ONNX Runtime with activations `expected` of images float32 [3, S, S].

    Returns the largest difference of an activation and the number of differing bits; a bit may
    differ only where `expected` is within 1e-4 of the threshold. Raises ExportError otherwise.
    """
    run = session(path, threads=2)
    count, largest, differing, borderline = 0, 0.0, 0, 0
    for image in images:
        count += 1
        theirs, ours = run(image[None])[0], expected(image[None])[0]
        largest = max(largest, float(np.abs(theirs - ours).max()))
        wrong = (theirs > 0.5) != (ours > 0.5)
        differing += int(wrong.sum())
        borderline += int((wrong & (np.abs(ours - 0.5) < 1e-4)).sum())
    if differing > borderline or largest > 1e-3:
        raise ExportError(
            f"it differs from what it was made of in {differing} bits, activations by {largest}",
            where=path,
            remedy="report it: the exporter is wrong",
        )
    return {"photos": count, "largest": largest, "bits_differing": differing}
