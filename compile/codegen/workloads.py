"""Workloads: the groups of layers that share kernels and are tuned together.

A workload is the first convolution on its own, or a pointwise convolution with the depthwise one
before it.
"""

from __future__ import annotations

from dataclasses import dataclass

from compile.codegen.memory_planner import Tensor
from compile.frontend.ir import Layer, Network
from compile.kernels import quantized, separable, stem, strassen
from compile.kernels.base import DTYPES, Kernel
from compile.kernels.separable import Block, BlockConfig
from compile.kernels.stem import Stem, StemConfig
from compile.target.vector_unit import Vector
from edge_runtime.errors import NetworkUnsupportedError

Shape = Block | Stem
ScheduleConfig = BlockConfig | StemConfig


@dataclass(frozen=True)
class Workload:
    """A group of layers and the geometry that the search tunes for."""

    key: str
    """Identifies the shape. Layers that share a kernel have the same key."""
    shape: Shape
    layers: tuple[int, ...]
    """Indices into `Network.layers`."""


def vector_of(shape: Shape, vector: Vector) -> Vector:
    """Return `vector`, narrowed where the channels of `shape` are not a multiple of its lanes."""
    if isinstance(shape, Stem) or shape.dtype == "int8":
        return vector.dividing(shape.outputs)
    return vector.dividing(shape.channels, shape.outputs)


def kernels_of(name: str, shape: Shape, config: ScheduleConfig, vector: Vector) -> list[Kernel]:
    """Return the kernels of one workload in the order in which they run."""
    vector = vector_of(shape, vector)
    if isinstance(shape, Stem):
        assert isinstance(config, StemConfig)
        return [stem.kernel(f"{name}_stem", shape, config, vector)]
    assert isinstance(config, BlockConfig)
    if shape.dtype == "int8":
        return quantized.kernels(name, shape, config, vector)
    if config.strassen:
        return strassen.kernels(name, shape, config, vector)
    return separable.kernels(name, shape, config, vector)


def workloads(network: Network, precision: str = "fp32") -> list[Workload]:
    """Cut `network` into workloads; raises `NetworkUnsupportedError`."""
    tensors = layer_tensors(network, precision)
    groups: list[Workload] = []
    waiting: int | None = None
    for index, layer in enumerate(network.layers):
        if layer.kind == "depthwise":
            readers = [i for i, other in enumerate(network.layers) if other.source == index]
            if waiting is not None or readers != [index + 1]:
                raise _unsupported(network, layer)
            if network.layers[index + 1].kind != "pointwise" or layer.residual is not None:
                raise _unsupported(network, layer)
            waiting = index
        elif layer.kind == "stem":
            shape = _stem(network, layer, tensors[index], precision)
            groups.append(Workload(f"stem_{_stem_key(shape)}", shape, (index,)))
        else:
            front = network.layers[waiting] if waiting is not None else None
            block = _block(layer, front, tensors, index, precision)
            members = (index,) if waiting is None else (waiting, index)
            groups.append(Workload(f"block_{_block_key(block)}", block, members))
            waiting = None
    return groups


def layer_tensors(network: Network, precision: str) -> list[Tensor]:
    """Return the output tensor of every layer. Those inside a fused block stay unused."""
    width = DTYPES[precision][1]
    tensors = [Tensor(layer.out_size, layer.outputs, width) for layer in network.layers]
    for layer, tensor in zip(network.layers, tensors, strict=True):
        if layer.quantized and layer.quantized.float_output:
            tensor.width = DTYPES["fp32"][1]
        elif layer.quantized:
            tensor.fill_byte = layer.quantized.zero & 255
        if layer.source >= 0 and any(layer.pads):
            border = tensors[layer.source].border
            if any(border) and border != layer.pads:
                raise _unsupported(network, layer)
            tensors[layer.source].border = layer.pads
    return tensors


def _stem(network: Network, layer: Layer, out: Tensor, precision: str) -> Stem:
    spec = network.model.input
    center = -spec.offset / spec.scale
    blue_first = tuple(float(value) for value in (center - network.color_offset / spec.scale)[::-1])
    return Stem(
        height=layer.out_size,
        width=layer.out_size,
        outputs=layer.outputs,
        size=spec.size,
        window=layer.window,
        stride=layer.stride,
        top=layer.pads[0],
        left=layer.pads[1],
        pad=blue_first,
        out_stride=out.stride,
        center=center if precision == "fp16" else 0.0,
        limit=layer.limit,
        dtype="float16" if precision == "fp16" else "float32",
        out="float32" if layer.quantized and layer.quantized.float_output else DTYPES[precision][0],
        integer=layer.quantized is not None and layer.quantized.weight.size > 0,
    )


def _block(
    layer: Layer, front: Layer | None, tensors: list[Tensor], index: int, precision: str
) -> Block:
    source = tensors[(front or layer).source]
    out = tensors[index]
    return Block(
        height=layer.out_size, width=layer.out_size,
        channels=int(layer.weight.shape[1]), outputs=layer.outputs,
        window=front.window if front else 0, stride=front.stride if front else 1,
        # A pointwise convolution reads from the first interior pixel: as many rows as the picture
        # has, each as wide as it is in memory.
        in_shape=(source.rows if front else source.size, source.columns),
        out_stride=out.stride,
        middle_limit=front.limit if front else None, limit=layer.limit,
        residual_stride=tensors[layer.residual].stride if layer.residual is not None else 0,
        dtype=DTYPES[precision][0],
        input_dtype="float32" if source.width == 4 and precision == "int8" else "",
    )  # fmt: skip


def _stem_key(shape: Stem) -> str:
    parts = [shape.size, shape.outputs, shape.window, shape.stride, shape.top, shape.out_stride]
    return "_".join(map(str, parts))


def _block_key(shape: Block) -> str:
    parts: list[object] = [
        shape.height, shape.channels, shape.outputs, shape.window, shape.stride,
        *shape.in_shape, shape.out_stride, shape.residual_stride,
    ]  # fmt: skip
    parts += [shape.input_dtype] if shape.input_dtype else []
    parts += ["n" if limit is None else f"{limit:g}" for limit in (shape.middle_limit, shape.limit)]
    return "_".join(map(str, parts))


def _unsupported(network: Network, layer: Layer) -> NetworkUnsupportedError:
    return NetworkUnsupportedError(
        f'{layer.kind} convolution "{layer.name}": each depthwise convolution must feed one '
        "pointwise convolution only and must not share its border",
        where=network.model.path,
        remedy="run it on the portable engine: edge-runtime --model",
    )
