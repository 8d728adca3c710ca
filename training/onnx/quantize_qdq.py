"""Quantize an fp32 ONNX model to int8 in QDQ format."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from edge_runtime.engine.portable import PortableEngine
from edge_runtime.image.preprocess import preprocess
from training.data.input_tensor import to_input
from training.data.pixel_cache import PixelCache
from training.files import write_bytes
from training.onnx.features_output import with_features, without_features
from training.onnx.model_file import FEATURES_KEY, IMAGE, ExportError, Floats

MAX_BYTES = 3_700_000
PHOTOS = 300


class Calibration(CalibrationDataReader):
    """Feed preprocessed photos one at a time."""

    def __init__(self, cache: PixelCache, size: int):
        self._images: Iterator[Floats] = (
            to_input(preprocess(cache[index], size)) for index in range(len(cache))
        )

    def get_next(self) -> dict[str, Floats] | None:
        """Return the next input, or None at the end."""
        image = next(self._images, None)
        return None if image is None else {IMAGE: image}


def quantize(model: Path, cache: PixelCache, out: Path, method: CalibrationMethod) -> None:
    """Write the int8 version of `model`, calibrated on `cache`, at `out`.

    Raises ExportError when it exceeds `MAX_BYTES`.
    """
    size = PortableEngine(model).model.input.size
    with tempfile.TemporaryDirectory() as folder:
        plain, prepared, small_path = (
            Path(folder) / f"{name}.onnx" for name in ("plain", "prepared", "small")
        )
        full = onnx.load(model)
        described = without_features(full)
        onnx.save(described, plain)
        quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(small_path),
            Calibration(cache, size),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=method,
        )
        small = onnx.load(small_path)
    metadata = {entry.key: entry.value for entry in described.metadata_props}
    metadata["edge.name"] += "_int8"
    del small.metadata_props[:]
    helper.set_model_props(small, metadata)
    if any(entry.key == FEATURES_KEY for entry in full.metadata_props):
        small = with_features(small)
    data = small.SerializeToString()
    if len(data) > MAX_BYTES:
        raise ExportError(
            f"it would be {len(data)} bytes", where=out, remedy=f"a board takes {MAX_BYTES}"
        )
    write_bytes(out, data)


def agreement(one: Path, other: Path, cache: PixelCache) -> float:
    """Return the share of equal bits of two models over `cache`."""
    engines = [PortableEngine(path, threads=2) for path in (one, other)]
    size = engines[0].model.input.size
    equal = []
    for index in range(len(cache)):
        square = preprocess(cache[index], size)
        first, second = (engine.activations(square) > 0.5 for engine in engines)
        equal.append(float((first == second).mean()))
    return float(np.mean(equal))
