"""The portable engine: ONNX Runtime on the CPU, the reference for every other engine."""

from __future__ import annotations

import json
import math
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.code import Code, Embedding, binarize, pack
from edge_runtime.engine.base import Engine, Step
from edge_runtime.engine.refusal import refusal
from edge_runtime.errors import EngineError, ModelInvalidError
from edge_runtime.image import Image
from edge_runtime.image.preprocess import normalize
from edge_runtime.model import check_model, parse_metadata
from edge_runtime.shortage import shortage
from edge_runtime.system.memory import release_unused
from edge_runtime.system.stage_timer import NO_TIMER, StageTimer
from edge_runtime.trust.files import checked_file

if TYPE_CHECKING:
    import onnxruntime as ort

OUTPUT = "hash"
"""Name of the output with the activations. If no output has this name, the first one is used."""
FEATURES = "features"
"""Name of the output with the pooled features, which a model with edge.features has."""


class PortableEngine(Engine):
    """Runs an ONNX hash network with fixed input shape and an explicit number of threads."""

    name = "portable"

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        threads: int = 1,
        reason: str = "requested by the caller",
    ) -> None:
        self._file = os.fspath(checked_file(Path(path)))
        model_id, size_bytes = check_model(self._file, where=path)
        try:
            import onnxruntime as ort  # loaded only here: the compiled engine does not need it
        except ImportError as error:
            raise shortage(error) or EngineError(
                f"cannot import ONNX Runtime: {error}", remedy="run: edge-runtime doctor"
            ) from error
        try:
            self._session = ort.InferenceSession(
                self._file, _options(threads), ["CPUExecutionProvider"], enable_fallback=False
            )
        except Exception as error:  # ONNX Runtime's exceptions share no public base class
            raise refusal(error, path, ort.__version__) from error
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
        checks: list[tuple[str, object, list[int]]] = [
            ("input", inputs[0].shape, [1, 3, size, size]),
            ("output", output.shape, [1, bits]),
        ]
        self._outputs = [output.name]
        if self.model.features:
            found = outputs[names.index(FEATURES)].shape if FEATURES in names else "missing"
            checks.append((f"output {FEATURES}", found, [1, self.model.features]))
            self._outputs.append(FEATURES)
        for what, found, expected in checks:
            if found != expected:
                raise ModelInvalidError(
                    f"model {what} is {found}, but its metadata requires {expected}",
                    where=self.model.path,
                    remedy="export it again with training/",
                )
        self._input, self._output = inputs[0].name, output.name

    def activations(self, image: Image) -> NDArray[np.float32]:
        """Return the sigmoid activations, float32 [K], for evaluation and parity tests."""
        return self._run(image, [self._output])[0]

    def hash(self, image: Image, timer: StageTimer = NO_TIMER) -> Code:
        """See `Engine.hash`."""
        activations = self.activations(image)
        timer.mark("hash")
        code = pack(binarize(activations, self.model.threshold))
        timer.mark("pack")
        return code

    def embed(self, image: Image, timer: StageTimer = NO_TIMER) -> Embedding:
        """See `Engine.embed`."""
        activations, *features = self._run(image, self._outputs)
        timer.mark("hash")
        code = pack(binarize(activations, self.model.threshold))
        timer.mark("pack")
        return Embedding(code, features[0] if features else None)

    def _run(self, image: Image, outputs: list[str]) -> list[NDArray[np.float32]]:
        """Return the `outputs` of the network for `image`, without the batch axis."""
        normalize(image, self.model.input, self._tensor[0])
        try:
            results = self._session.run(outputs, {self._input: self._tensor})
        except Exception as error:  # no public base class, as above
            raise shortage(error, self.model.path) or EngineError(
                f"ONNX Runtime failed: {error}", where=self.model.path
            ) from error
        if not all(np.isfinite(result).all() for result in results):
            raise EngineError(
                "the network computes infinite values or no numbers",
                where=self.model.path,
                remedy="train or export the model again",
            )
        return [result[0] for result in results]

    def steps(self, image: Image, calls: int) -> list[Step]:
        """See `Engine.steps`; uses ONNX Runtime's profiler in a separate session."""
        import onnxruntime as ort

        normalize(image, self.model.input, self._tensor[0])
        with tempfile.TemporaryDirectory(prefix="edge-profile-") as folder:
            options = _options(self.threads)
            options.enable_profiling = True
            options.profile_file_prefix = os.path.join(folder, "profile")  # noqa: PTH118
            session = ort.InferenceSession(
                self._file, options, ["CPUExecutionProvider"], enable_fallback=False
            )
            for _ in range(calls):
                session.run([self._output], {self._input: self._tensor})
            with open(session.end_profiling(), encoding="utf-8") as file:  # noqa: PTH123
                events = json.load(file)
        return _steps([event for event in events if event.get("cat") == "Node"])


def _options(threads: int) -> ort.SessionOptions:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads use 45 % of a core at 10 frames per second and gain nothing.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # One block for all intermediate results, planned in advance, takes 7 MB more and saves no time.
    options.enable_mem_pattern = False
    options.log_severity_level = 4
    return options


def _steps(events: list[dict[str, Any]]) -> list[Step]:
    """Group ONNX Runtime's events into one step per node, with the times of all calls."""
    steps: dict[str, Step] = {}
    for event in events:
        name, _, what = str(event["name"]).rpartition("_kernel_time")
        if what:  # other events of the node, outside the kernel
            continue
        if name not in steps:
            kind, work = str(event["args"]["op_name"]), _multiply_adds(event["args"])
            steps[name] = Step(name, kind, work, [])
        steps[name].times_ms.append(event["dur"] / 1e3)
    return list(steps.values())


def _multiply_adds(arguments: dict[str, Any]) -> int | None:
    """Return the multiply-adds of a convolution or matrix product from the recorded shapes.

    Other operators have none. Returns None if the shapes are missing.
    """
    try:
        shapes = [next(iter(entry.values())) for entry in arguments["input_type_shape"]]
        (out,) = (next(iter(entry.values())) for entry in arguments["output_type_shape"])
    except (KeyError, ValueError, StopIteration):
        return None
    kind = arguments["op_name"]
    if kind.endswith("Conv"):
        return int(math.prod(out) * math.prod(shapes[1][1:]))
    if kind.endswith(("Gemm", "MatMul")):
        return int(math.prod(out) * shapes[0][-1])
    return 0
