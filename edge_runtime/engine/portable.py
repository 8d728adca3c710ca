"""The portable engine: ONNX Runtime on the CPU, the reference for every other engine."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from edge_runtime.code import Code, binarise, pack
from edge_runtime.engine.base import Engine
from edge_runtime.errors import EngineError, ModelInvalidError
from edge_runtime.fit import Image, normalise
from edge_runtime.memory import release_unused
from edge_runtime.model import identify, parse_metadata
from edge_runtime.stopwatch import Lap, no_lap

OUTPUT = "hash"
"""Name of the activations among a model's outputs; without one of that name, the first is it."""


class PortableEngine(Engine):
    """Runs an ONNX hash network with fixed input shape and an explicit number of threads."""

    name = "portable"

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        threads: int = 1,
        reason: str = "it was asked for",
    ) -> None:
        model_id, size_bytes = identify(path)
        try:
            import onnxruntime as ort
        except ImportError as error:
            raise EngineError(
                f"ONNX Runtime cannot be imported: {error}", remedy="run: edge-runtime doctor"
            ) from error
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Waiting threads that spin burn 45 % of a core at 10 frames a second and win nothing.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        options.log_severity_level = 4
        try:
            self._session = ort.InferenceSession(os.fspath(path), options, ["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own classes share no public base
            raise ModelInvalidError(
                "corrupt, or not an ONNX model that ONNX Runtime can run",
                where=path,
                remedy="copy the model file again",
            ) from error
        release_unused()
        self.reason = reason
        self.threads = threads
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.model = parse_metadata(metadata, path=path, model_id=model_id, size_bytes=size_bytes)
        self._check_shapes()
        size = self.model.input.size
        self._tensor = np.empty((1, 3, size, size), dtype=np.float32)

    def _check_shapes(self) -> None:
        size, bits = self.model.input.size, self.model.bits
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        names = [output.name for output in outputs]
        output = outputs[names.index(OUTPUT) if OUTPUT in names else 0]
        for what, found, expected in (
            ("input", inputs[0].shape, [1, 3, size, size]),
            ("output", output.shape, [1, bits]),
        ):
            if found != expected:
                raise ModelInvalidError(
                    f"its {what} is {found}, but its metadata asks for {expected}",
                    where=self.model.path,
                    remedy="export it again with training/",
                )
        self._input, self._output = inputs[0].name, output.name

    def activations(self, image: Image) -> NDArray[np.float32]:
        """The hash layer's sigmoid activations, float32 [K], for evaluation and parity tests."""
        normalise(image, self.model.input, self._tensor[0])
        try:
            (output,) = self._session.run([self._output], {self._input: self._tensor})
        except Exception as error:  # see above
            raise EngineError(f"ONNX Runtime failed: {error}", where=self.model.path) from error
        activations: NDArray[np.float32] = output[0]
        return activations

    def hash(self, image: Image, lap: Lap = no_lap) -> Code:
        """See `Engine.hash`."""
        activations = self.activations(image)
        lap("hash")
        code = pack(binarise(activations, self.model.threshold))
        lap("pack")
        return code
