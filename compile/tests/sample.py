"""Write a small network with random weights, of a kind that the compiler supports.

    python -m compile.tests.sample v1 small.onnx [--size 96] [--width 0.25] [--bits 64]

The network is not trained, so its codes have no meaning. But all engines must agree on its bits.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_runtime.model import InputSpec, ModelInfo

V1 = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *((512, 1),) * 5,
    (1024, 2),
    (1024, 1),
)
"""MobileNet-v1 (Howard et al. 2017, table 1): outputs and stride of each block."""
V2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 2, 2), (6, 64, 2, 2), (6, 96, 2, 1))
"""The first blocks of MobileNet-v2 (Sandler et al. 2018, table 2): expansion, outputs, repeats,
stride."""


class Sample:
    """Builds an ONNX graph node by node."""

    def __init__(self, size: int, width: float, bits: int, *, batch_norm: bool = False) -> None:
        self.size, self.width, self.bits, self.batch_norm = size, width, bits, batch_norm
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.chance = np.random.default_rng(1)
        self.last, self.channels, self.side = "image", 3, size

    def constant(self, value: np.ndarray) -> str:
        """Add the constant `value` and return its name."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value.astype(np.float32), name))
        return name

    def node(self, kind: str, inputs: list[str], **attributes: object) -> str:
        """Add a node and return the name of its output."""
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def conv(
        self, outputs: int, window: int, stride: int, *, groups: int = 1, clip: bool = True
    ) -> None:
        """Add a convolution with TensorFlow's SAME padding, and ReLU6."""
        fan = self.channels // groups * window**2
        weight = self.chance.normal(
            0, (2 / fan) ** 0.5, (outputs, self.channels // groups, window, window)
        )
        total = max((-(-self.side // stride) - 1) * stride + window - self.side, 0)
        pads = [total // 2, total // 2, total - total // 2, total - total // 2]
        inputs = [self.last, self.constant(weight)]
        if not self.batch_norm:
            inputs.append(self.constant(self.chance.normal(0, 0.3, outputs)))
        self.last = self.node(
            "Conv", inputs, kernel_shape=[window] * 2, strides=[stride] * 2, pads=pads, group=groups
        )
        if self.batch_norm:
            rows = [
                self.constant(self.chance.uniform(low, high, outputs))
                for low, high in ((0.8, 1.2), (-0.3, 0.3), (-0.2, 0.2), (0.7, 1.5))
            ]
            self.last = self.node("BatchNormalization", [self.last, *rows])
        if clip:
            bounds = [self.constant(np.array(bound)) for bound in (0, 6)]
            self.last = self.node("Clip", [self.last, *bounds])
        self.channels, self.side = outputs, -(-self.side // stride)

    def scaled(self, channels: int) -> int:
        """Return `channels` scaled by the width, as a multiple of 8."""
        return max(8, int(channels * self.width + 4) // 8 * 8)

    def v1(self) -> None:
        """Add the body of MobileNet-v1."""
        self.conv(self.scaled(32), 3, 2)
        for outputs, stride in V1:
            self.conv(self.channels, 3, stride, groups=self.channels)
            self.conv(self.scaled(outputs), 1, 1)

    def v2(self) -> None:
        """Add the inverted residuals of MobileNet-v2."""
        self.conv(self.scaled(32), 3, 2)
        for expansion, outputs, repeats, first in V2:
            for repeat in range(repeats):
                stride, before, channels = (first if repeat == 0 else 1), self.last, self.channels
                if expansion > 1:
                    self.conv(channels * expansion, 1, 1)
                self.conv(self.channels, 3, stride, groups=self.channels)
                self.conv(self.scaled(outputs), 1, 1, clip=False)
                if stride == 1 and channels == self.channels:
                    self.last = self.node("Add", [before, self.last])
        self.conv(self.scaled(320), 1, 1)

    def finish(self, path: Path, *, classes: int = 0, features: bool = True) -> None:
        """Add pooling, hash layer and (with `classes`) a classifier; write the file."""
        pooled, averages = "features", self.node("GlobalAveragePool", [self.last])
        self.nodes.append(helper.make_node("Flatten", [averages], [pooled], pooled))
        weight = self.chance.normal(0, 1, (self.bits, self.channels))
        bias = self.chance.normal(0, 0.5, self.bits)
        sums = self.node("Gemm", [pooled, self.constant(weight), self.constant(bias)], transB=1)
        self.nodes.append(helper.make_node("Sigmoid", [sums], ["hash"], "hash"))
        outputs = [helper.make_tensor_value_info("hash", TensorProto.FLOAT, [1, self.bits])]
        if classes:
            rows = self.constant(self.chance.normal(0, 1, (self.bits, classes)))
            logits = self.node("MatMul", ["hash", rows])
            outputs.insert(
                0, helper.make_tensor_value_info(logits, TensorProto.FLOAT, [1, classes])
            )
        if features:
            shape = [1, self.channels]
            outputs.append(helper.make_tensor_value_info(pooled, TensorProto.FLOAT, shape))
        image = helper.make_tensor_value_info(
            "image", TensorProto.FLOAT, [1, 3, self.size, self.size]
        )
        graph = helper.make_graph(self.nodes, "sample", [image], outputs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        info = ModelInfo("", "", 0, "sample", "0", self.bits, 0.5, 8, InputSpec(size=self.size),
                         self.channels if features else 0)  # fmt: skip
        helper.set_model_props(model, info.to_metadata())
        onnx.save(model, path)


@click.command(help=__doc__)
@click.argument("kind", type=click.Choice(["v1", "v2"]))
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--size", default=96)
@click.option("--width", default=0.25)
@click.option("--bits", default=64)
def main(kind: str, path: Path, size: int, width: float, bits: int) -> None:
    """Run the command; see the module."""
    sample = Sample(size, width, bits)
    getattr(sample, kind)()
    sample.finish(path)


if __name__ == "__main__":
    main()
