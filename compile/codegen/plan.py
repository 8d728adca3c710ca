"""The plan: which kernel runs when, on which bytes, and the C source that says so.

All memory is one arena whose layout is settled here: every tensor that is alive at the same time
as another has bytes of its own, others share. A tensor that a depthwise convolution reads beyond
its edge lies in memory with its border of zeros, so that no kernel has to ask where it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compile.codegen.memory_planner import At, Tensor, lay_out
from compile.codegen.pack_weights import (
    depthwise_constants,
    head_constants,
    packed,
    pointwise_constants,
    stem_constants,
)
from compile.frontend.ir import Layer, Network
from compile.kernels import head, quantized, separable, stem, strassen, words
from compile.kernels.base import NUMBERS, Kernel
from compile.target.vector_unit import Vector
from edge_runtime.errors import NetworkUnsupportedError

Argument = str | At | NDArray[np.floating[Any]]
"""A C expression, a place in the arena, or constants."""


@dataclass
class Step:
    """One call of one kernel."""

    kernel: Kernel
    arguments: list[Argument]
    output: Tensor | None
    what: str
    """For people: the layers that it computes."""
    multiply_adds: int = 0


@dataclass
class Plan:
    """Everything that the library needs."""

    network: Network
    precision: str = "fp32"
    steps: list[Step] = field(default_factory=list)
    preparations: list[Step] = field(default_factory=list)
    """Run once, when a network is opened."""
    arena_bytes: int = 0

    @property
    def kernels(self) -> list[Kernel]:
        """Each once: layers of the same shape share a kernel."""
        steps = [*self.preparations, *self.steps]
        return list({step.kernel.name: step.kernel for step in steps}.values())


@dataclass(frozen=True)
class Workload:
    """What the search tunes: one group of layers, and what may be chosen for it."""

    key: str
    """Names the shape; equal for layers that share a kernel."""
    shape: separable.Block | stem.Stem
    layers: tuple[int, ...]


ScheduleConfig = separable.ScheduleConfig | stem.StemConfig


def vector_of(shape: separable.Block | stem.Stem, vector: Vector) -> Vector:
    """`vector`, or a narrower one where the channels of `shape` ask for it."""
    if isinstance(shape, stem.Stem) or shape.dtype == "int8":
        return vector.dividing(shape.outputs)
    return vector.dividing(shape.channels, shape.outputs)


def kernels_of(
    name: str, shape: separable.Block | stem.Stem, knobs: ScheduleConfig, vector: Vector
) -> list[Kernel]:
    """The kernels of one workload, in the order in which they run."""
    vector = vector_of(shape, vector)
    if isinstance(shape, stem.Stem):
        return [stem.kernel(f"{name}_stem", shape, knobs, vector)]
    if shape.dtype == "int8":
        return quantized.kernels(name, shape, knobs, vector)
    if knobs.strassen:
        return strassen.kernels(name, shape, knobs, vector)
    return separable.kernels(name, shape, knobs, vector)


def workloads(network: Network, precision: str = "fp32") -> list[Workload]:
    """The network cut into groups: the stem, and [depthwise +] pointwise."""
    tensors = _tensors(network, precision)
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
            groups.append(Workload(f"stem_{_key(shape)}", shape, (index,)))
        else:
            front = network.layers[waiting] if waiting is not None else None
            block = _block(layer, front, tensors, index, precision)
            members = (index,) if waiting is None else (waiting, index)
            groups.append(Workload(f"block_{_key(block)}", block, members))
            waiting = None
    return groups


def make_plan(
    network: Network, choices: Mapping[str, ScheduleConfig], vector: Vector, precision: str = "fp32"
) -> Plan:
    """The plan that uses `choices`, by workload key."""
    plan = Plan(network, precision)
    tensors = _tensors(network, precision)
    works = workloads(network, precision)
    numbers = {key: i for i, key in enumerate(dict.fromkeys(work.key for work in works))}
    made: dict[str, list[Kernel]] = {}
    for work in works:
        last = work.layers[-1]
        layer, out, knobs = network.layers[last], tensors[last], choices[work.key]
        number, width = numbers[work.key], vector_of(work.shape, vector)
        if work.key not in made:
            made[work.key] = kernels_of(f"k{number}", work.shape, knobs, vector)
        if isinstance(work.shape, stem.Stem):
            constants = stem_constants(network, layer, work.shape, vector)
            arguments: list[Argument] = ["f->image", *constants, At(out, inside=True)]
            _add(plan, made[work.key][0], arguments, out, [layer])
            continue
        _add_block(plan, work, made[work.key], knobs, width, tensors)
    source = tensors[network.hash_source]
    bits = network.model.bits
    width = vector.dividing(source.channels, bits)
    dtype = NUMBERS[precision][0]
    weight, bias, share = head_constants(network, source.size**2)
    kernel = head.kernel("head", source.size**2, source.channels, bits, width, dtype, share)
    _add(plan, kernel, [At(source, inside=True), weight, bias, "f->logits"], None, [])
    plan.steps[-1].what = "pool and hash layer"
    plan.steps[-1].multiply_adds = weight.size
    steps = [*plan.preparations, *plan.steps]
    outputs = {id(step.output): step.output for step in steps if step.output}
    plan.arena_bytes = lay_out(list(outputs.values()))
    return plan


def _add_block(
    plan: Plan,
    work: Workload,
    kernels: list[Kernel],
    knobs: separable.ScheduleConfig,
    vector: Vector,
    tensors: list[Tensor],
) -> None:
    layers = [plan.network.layers[index] for index in work.layers]
    last, out = layers[-1], tensors[work.layers[-1]]
    source = tensors[layers[0].source]
    front: list[Argument] = [At(source, inside=not work.shape.window)]
    if work.shape.window:
        front += depthwise_constants(layers[0])
    if knobs.strassen:
        _add_strassen(plan, work, kernels, knobs, vector, front, out)
        return
    back: list[Argument] = [*pointwise_constants(last, work.shape, knobs, vector)]
    if last.residual is not None:
        back.append(At(tensors[last.residual], inside=True))
        back += [last.quantised.residual] if last.quantised else []
    back.append(At(out, inside=True))
    if len(kernels) == 1:
        _add(plan, kernels[0], [*front, *back], out, layers)
        return
    of, width = (words, words.WORD) if last.quantised else (separable, out.width)
    flat = math.prod(of.middle_shape(work.shape, knobs, vector))
    middle = Tensor(last.in_size, work.shape.channels, width, flat=flat)
    _add(plan, kernels[0], [*front, At(middle)], middle, layers[:-1])
    _add(plan, kernels[1], [At(middle), *back], out, [last])


def _add_strassen(
    plan: Plan,
    work: Workload,
    kernels: list[Kernel],
    knobs: separable.ScheduleConfig,
    vector: Vector,
    front: list[Argument],
    out: Tensor,
) -> None:
    depthwise, last = (plan.network.layers[index] for index in work.layers)
    k_half, n_half = work.shape.channels // 2, work.shape.outputs // 2
    one = math.prod(strassen.left_shape(work.shape, knobs, vector))
    lefts, rights, products = (
        Tensor(last.in_size, 0, out.width, flat=count)
        for count in (
            strassen.LEFTS * one,
            strassen.RIGHTS * k_half * n_half,
            strassen.PRODUCTS * last.out_size**2 // 2 * n_half,
        )
    )
    rights.lasting = True
    weight = last.weight[:, :, 0, 0].T
    quarters = [
        packed(weight[row : row + k_half, column : column + n_half], knobs.nr)
        for row in (0, k_half)
        for column in (0, n_half)
    ]
    kernel = strassen.prepare(f"{kernels[0].name}_weights", work.shape, vector)
    arguments: list[Argument] = [np.stack(quarters), At(rights)]
    plan.preparations.append(Step(kernel, arguments, rights, last.name))
    _add(plan, kernels[0], [*front, At(lefts)], lefts, [depthwise])
    _add(plan, kernels[1], [At(lefts), At(lefts, skip=4 * one)], lefts, [])
    _add(plan, kernels[2], [At(lefts, skip=one), At(rights), At(products)], products, [last])
    _add(plan, kernels[3], [At(products), last.bias, At(out, inside=True)], out, [])


def _add(
    plan: Plan, kernel: Kernel, arguments: list[Argument], out: Tensor | None, layers: list[Layer]
) -> None:
    now = len(plan.steps)
    for argument in arguments:
        if isinstance(argument, At):
            argument.tensor.dies = now
    if out is not None and all(step.output is not out for step in plan.steps):
        out.born = now
    what = " + ".join(layer.name for layer in layers) or "sums"
    step = Step(kernel, arguments, out, what, sum(layer.multiply_adds for layer in layers))
    plan.steps.append(step)


def _tensors(network: Network, precision: str) -> list[Tensor]:
    """The output of every layer; those inside a fused block are never used."""
    width = NUMBERS[precision][1]
    tensors = [Tensor(layer.out_size, layer.outputs, width) for layer in network.layers]
    for layer, tensor in zip(network.layers, tensors, strict=True):
        if layer.quantised and layer.quantised.real:
            tensor.width = NUMBERS["fp32"][1]
        elif layer.quantised:
            tensor.fill = layer.quantised.zero & 255
        if layer.source >= 0 and any(layer.pads):
            wanted = tensors[layer.source].border
            if any(wanted) and wanted != layer.pads:
                raise _unsupported(network, layer)
            tensors[layer.source].border = layer.pads
    return tensors


def _stem(network: Network, layer: Layer, out: Tensor, precision: str) -> stem.Stem:
    spec = network.model.input
    middle = -spec.offset / spec.scale
    blue_first = tuple(float(value) for value in (middle - network.tint / spec.scale)[::-1])
    return stem.Stem(
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
        centre=middle if precision == "fp16" else 0.0,
        limit=layer.limit,
        dtype="float16" if precision == "fp16" else "float32",
        out="float32" if layer.quantised and layer.quantised.real else NUMBERS[precision][0],
        whole=layer.quantised is not None and layer.quantised.weight.size > 0,
    )


def _block(
    layer: Layer, front: Layer | None, tensors: list[Tensor], index: int, precision: str
) -> separable.Block:
    source = tensors[(front or layer).source]
    out = tensors[index]
    return separable.Block(
        height=layer.out_size, width=layer.out_size,
        channels=int(layer.weight.shape[1]), outputs=layer.outputs,
        window=front.window if front else 0, stride=front.stride if front else 1,
        # Read from the inside, a tensor has the rows of its picture, as wide as it lies in memory.
        in_shape=(source.rows if front else source.size, source.columns),
        out_stride=out.stride,
        middle_limit=front.limit if front else None, limit=layer.limit,
        residual_stride=tensors[layer.residual].stride if layer.residual is not None else 0,
        dtype=NUMBERS[precision][0],
        source="float32" if source.width == 4 and precision == "int8" else "",
    )  # fmt: skip


def _key(shape: separable.Block | stem.Stem) -> str:
    if isinstance(shape, stem.Stem):
        parts = [shape.size, shape.outputs, shape.window, shape.stride, shape.top, shape.out_stride]
    else:
        parts = [
            shape.height, shape.channels, shape.outputs, shape.window, shape.stride,
            *shape.in_shape, shape.out_stride, shape.residual_stride,
        ]  # fmt: skip
        parts += [shape.source] if shape.source else []
        parts += [
            "n" if limit is None else f"{limit:g}" for limit in (shape.middle_limit, shape.limit)
        ]
    return "_".join(map(str, parts))


def _unsupported(network: Network, layer: Layer) -> NetworkUnsupportedError:
    return NetworkUnsupportedError(
        f'{layer.kind} convolution "{layer.name}": each depthwise convolution must be followed by '
        "its own pointwise one, and share its border with nobody",
        where=network.model.path,
        remedy="the portable engine runs it: edge-runtime --model",
    )
