"""The plan: which kernel runs when, and on which bytes.

All memory is one arena, laid out here. Tensors that are alive at the same time get separate bytes;
others share. A tensor that a depthwise convolution reads beyond its edge is stored with its border
of zeros, so no kernel has to test for the edge.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compile.codegen.memory_planner import Tensor, TensorRef, assign_offsets
from compile.codegen.pack_weights import (
    depthwise_constants,
    head_constants,
    packed,
    pointwise_constants,
    stem_constants,
)
from compile.codegen.workloads import (
    ScheduleConfig,
    Workload,
    kernels_of,
    layer_tensors,
    vector_of,
    workloads,
)
from compile.frontend.ir import Layer, Network
from compile.kernels import head, separable, strassen, words
from compile.kernels.base import DTYPES, Kernel
from compile.kernels.separable import Block, BlockConfig
from compile.kernels.stem import Stem
from compile.target.vector_unit import Vector

Argument = str | TensorRef | NDArray[Any]
"""A C expression, a place in the arena, or constants."""


@dataclass
class Step:
    """One call of one kernel."""

    kernel: Kernel
    arguments: list[Argument]
    output: Tensor | None
    description: str
    """The layers that it computes. The library carries this text (`edge_kernel`)."""
    multiply_adds: int = 0


@dataclass
class Plan:
    """Everything that goes into the library."""

    network: Network
    precision: str = "fp32"
    steps: list[Step] = field(default_factory=list)
    preparations: list[Step] = field(default_factory=list)
    """Steps that run once, when a network is opened."""
    arena_bytes: int = 0
    sums: int = 0
    """Channels that the head averages. Their sums are kept until the next run."""

    @property
    def kernels(self) -> list[Kernel]:
        """The distinct kernels. Layers of the same shape share one."""
        steps = [*self.preparations, *self.steps]
        return list({step.kernel.name: step.kernel for step in steps}.values())


def make_plan(
    network: Network, choices: Mapping[str, ScheduleConfig], vector: Vector, precision: str = "fp32"
) -> Plan:
    """Return the plan for `network` with the schedules `choices`, by workload key."""
    plan = Plan(network, precision)
    tensors = layer_tensors(network, precision)
    works = workloads(network, precision)
    numbers = {key: i for i, key in enumerate(dict.fromkeys(work.key for work in works))}
    kernels: dict[str, list[Kernel]] = {}
    for work in works:
        config = choices[work.key]
        if work.key not in kernels:
            name = f"k{numbers[work.key]}"
            kernels[work.key] = kernels_of(name, work.shape, config, vector)
        if isinstance(work.shape, Stem):
            layer, out = network.layers[work.layers[-1]], tensors[work.layers[-1]]
            constants = stem_constants(network, layer, work.shape, vector)
            arguments: list[Argument] = ["f->image", *constants, TensorRef(out, interior=True)]
            _add(plan, kernels[work.key][0], arguments, out, [layer])
        else:
            assert isinstance(config, BlockConfig)
            width = vector_of(work.shape, vector)
            _BlockPlanner(plan, work, work.shape, config, width, tensors).add(kernels[work.key])
    _add_head(plan, tensors[network.hash_source], vector)
    steps = [*plan.preparations, *plan.steps]
    outputs = {id(step.output): step.output for step in steps if step.output}
    plan.arena_bytes = assign_offsets(list(outputs.values()))
    return plan


def _add_head(plan: Plan, source: Tensor, vector: Vector) -> None:
    network, dtype = plan.network, DTYPES[plan.precision][0]
    bits, pixels = network.model.bits, source.size**2
    width = vector.dividing(source.channels, bits)
    weight, bias, scale = head_constants(network, pixels)
    kernel = head.kernel("head", pixels, source.channels, bits, width, dtype, scale)
    arguments: list[Argument] = [TensorRef(source, interior=True), weight, bias]
    arguments += ["f->sums", "f->logits"]
    plan.sums = source.channels
    _add(plan, kernel, arguments, None, [])
    plan.steps[-1].description = "pool and hash layer"
    plan.steps[-1].multiply_adds = weight.size


@dataclass
class _BlockPlanner:
    """Adds the steps of one [depthwise,] pointwise workload to a plan."""

    plan: Plan
    work: Workload
    shape: Block
    config: BlockConfig
    vector: Vector
    tensors: list[Tensor]

    def add(self, kernels: list[Kernel]) -> None:
        layers = [self.plan.network.layers[index] for index in self.work.layers]
        last, out = layers[-1], self.tensors[self.work.layers[-1]]
        source = self.tensors[layers[0].source]
        front: list[Argument] = [TensorRef(source, interior=not self.shape.window)]
        if self.shape.window:
            front += depthwise_constants(layers[0])
        if self.config.strassen:
            self._add_strassen(kernels, front, layers, out)
            return
        back: list[Argument] = [*pointwise_constants(last, self.shape, self.config, self.vector)]
        if last.residual is not None:
            back.append(TensorRef(self.tensors[last.residual], interior=True))
            back += [last.quantized.residual] if last.quantized else []
        back.append(TensorRef(out, interior=True))
        if len(kernels) == 1:
            _add(self.plan, kernels[0], [*front, *back], out, layers)
            return
        middle = self._middle(last, out)
        _add(self.plan, kernels[0], [*front, TensorRef(middle)], middle, layers[:-1])
        _add(self.plan, kernels[1], [TensorRef(middle), *back], out, [last])

    def _middle(self, last: Layer, out: Tensor) -> Tensor:
        """The tensor D between the two kernels, in the layout of the pointwise one."""
        if last.quantized:
            shape, width = words.middle_shape(self.shape, self.config, self.vector), words.WORD
        else:
            shape = separable.middle_shape(self.shape, self.config, self.vector)
            width = out.width
        return Tensor(last.in_size, self.shape.channels, width, numbers=math.prod(shape))

    def _add_strassen(
        self, kernels: list[Kernel], front: list[Argument], layers: list[Layer], out: Tensor
    ) -> None:
        depthwise, last = layers
        k_half, n_half = self.shape.channels // 2, self.shape.outputs // 2
        one = math.prod(strassen.left_shape(self.shape, self.config, self.vector))
        lefts, rights, products = (
            Tensor(last.in_size, 0, out.width, numbers=count)
            for count in (
                strassen.LEFTS * one,
                strassen.RIGHTS * k_half * n_half,
                strassen.PRODUCTS * last.out_size**2 // 2 * n_half,
            )
        )
        rights.persistent = True
        weight = last.weight[:, :, 0, 0].T
        quarters = [
            packed(weight[row : row + k_half, column : column + n_half], self.config.nr)
            for row in (0, k_half)
            for column in (0, n_half)
        ]
        kernel = strassen.prepare(f"{kernels[0].name}_weights", self.shape, self.vector)
        arguments: list[Argument] = [np.stack(quarters), TensorRef(rights)]
        self.plan.preparations.append(Step(kernel, arguments, rights, last.name))
        calls: list[tuple[list[Argument], Tensor, list[Layer]]] = [
            ([*front, TensorRef(lefts)], lefts, [depthwise]),
            ([TensorRef(lefts), TensorRef(lefts, skip=4 * one)], lefts, []),
            (
                [TensorRef(lefts, skip=one), TensorRef(rights), TensorRef(products)],
                products,
                [last],
            ),
            ([TensorRef(products), last.bias, TensorRef(out, interior=True)], out, []),
        ]
        for kernel, (arguments, output, computed) in zip(kernels, calls, strict=True):
            _add(self.plan, kernel, arguments, output, computed)


def _add(
    plan: Plan, kernel: Kernel, arguments: list[Argument], out: Tensor | None, layers: list[Layer]
) -> None:
    now = len(plan.steps)
    for argument in arguments:
        if isinstance(argument, TensorRef):
            argument.tensor.last_step = now
    if out is not None and all(step.output is not out for step in plan.steps):
        out.first_step = now
    description = " + ".join(layer.name for layer in layers) or "sums"
    multiply_adds = sum(layer.multiply_adds for layer in layers)
    plan.steps.append(Step(kernel, arguments, out, description, multiply_adds))
