"""Emit the plan as C source, and its constants as bytes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from compile.codegen.memory_planner import ALIGNMENT, Tensor, TensorRef
from compile.codegen.pack_weights import feature_constants
from compile.codegen.plan import Argument, Plan, Step
from compile.kernels.base import DTYPES


def emit_c(plan: Plan, code_for: str) -> tuple[str, bytes]:
    """Return the C source that defines `edge_plan` (see native/plan.h), and the constants.

    `code_for` names the CPU that the kernels are compiled for.
    """
    constants = bytearray()
    places: dict[bytes, int] = {}
    steps = [_in_precision(step, plan.precision) for step in plan.steps[:-1]]
    steps.append(plan.steps[-1])  # the hash head computes in float32
    preparations = [_in_precision(step, plan.precision) for step in plan.preparations]
    all_steps = [*steps, *preparations]
    runs = [_run(index, step, constants, places) for index, step in enumerate(all_steps)]
    features = _features(plan, constants, places)
    model = plan.network.model
    threshold = plan.network.hash_threshold
    parts = [
        '#include "plan.h"',
        f"const uint64_t edge_constant_bytes = {len(constants)}u;",
        "#define W(offset) ((const void *)(edge_constants + (offset)))",
        "#define A(offset) ((void *)(f->arena + (offset)))",
        *[_declaration(step) for step in _distinct(all_steps)],
        *runs,
        _table("edge_plan", steps, 0),
        _table("edge_preparations", plan.preparations, len(steps)),
        f"const float edge_plan_threshold = {float(np.float32(threshold))!r}f;",
        f"const int32_t edge_plan_sums = {plan.sums};",
        features,
        "const struct edge_info edge_plan_info = {\n"
        f"    EDGE_API_VERSION, {model.input.size}, {model.bits}, {-(-model.bits // 64)},\n"
        f"    {json.dumps(model.id)}, {json.dumps(code_for)}, {json.dumps(plan.precision)}, "
        f"{plan.arena_bytes}u, {model.features}}};",
    ]
    return "\n\n".join(parts) + "\n", bytes(constants)


def _in_precision(step: Step, precision: str) -> Step:
    if precision == "int8":
        return step  # each constant already has the type that its kernel reads
    dtype = DTYPES[precision][0]
    arguments = [
        argument.astype(dtype) if isinstance(argument, np.ndarray) else argument
        for argument in step.arguments
    ]
    return replace(step, arguments=arguments)


def _distinct(steps: list[Step]) -> list[Step]:
    return list({step.kernel.name: step for step in steps}.values())


def _declaration(step: Step) -> str:
    pointers = ", ".join("const void *" for _ in step.arguments[:-1])
    return f"extern void {step.kernel.name}({pointers}, void *, int32_t, int32_t);"


def _run(index: int, step: Step, constants: bytearray, places: dict[bytes, int]) -> str:
    arguments = ", ".join(_expression(argument, constants, places) for argument in step.arguments)
    return (
        f"static void run{index}(const struct edge_frame *f, int32_t begin, int32_t end)\n"
        f"{{\n    {step.kernel.name}({arguments}, begin, end);\n}}"
    )


def _features(plan: Plan, constants: bytearray, places: dict[bytes, int]) -> str:
    """Define `edge_plan_features`. In int8 the sums are exact, and each channel has its scale."""
    head = "void edge_plan_features(const struct edge_frame *f, float *features)\n{\n"
    count = plan.network.model.features
    if not count:
        return head + "    (void)f, (void)features;\n}"
    factor, zero = feature_constants(plan.network)
    if plan.precision == "int8":
        table = _expression(factor, constants, places)
        declared = f"    const int32_t *sums = f->sums;\n    const float *factor = {table};\n"
        value = f"(float)(sums[i] - ({zero})) * factor[i]"
    else:
        declared = "    const float *sums = f->sums;\n"
        value = f"sums[i] * {float(factor[0])!r}f"
    loop = f"    for (int32_t i = 0; i < {count}; i++)\n        features[i] = {value};\n"
    return head + declared + loop + "}"


def _expression(argument: Argument, constants: bytearray, places: dict[bytes, int]) -> str:
    if isinstance(argument, str):
        return argument
    if isinstance(argument, TensorRef):
        return f"A({argument.offset}u)"
    data = np.ascontiguousarray(argument).tobytes()
    if data not in places:
        constants.extend(bytes(-len(constants) % ALIGNMENT))
        places[data] = len(constants)
        constants.extend(data)
    return f"W({places[data]}u)"


def _table(name: str, steps: list[Step], first: int) -> str:
    entries = [_entry(index, step) for index, step in enumerate(steps, first)]
    rows = "\n".join(entries) or "    {0},"
    return (
        f"const struct edge_step {name}[] = {{\n{rows}\n}};\n"
        f"const int32_t {name}_steps = {len(steps)};"
    )


def _entry(index: int, step: Step) -> str:
    name = json.dumps(f"{step.kernel.name}: {step.description}")
    return f"    {{{name}, run{index}, {step.kernel.tasks}, {_border(step.output)}}},"


def _border(tensor: Tensor | None) -> str:
    if tensor is None or not any(tensor.border):
        return "{0}"
    top, left, bottom, right = tensor.border
    row, pixel = (
        n * tensor.bytes // (tensor.rows * tensor.stride) for n in (tensor.stride, tensor.channels)
    )
    sides = (top, bottom, left * pixel, right * pixel)
    numbers = (tensor.offset, tensor.rows, row, *sides, tensor.fill_byte)
    return "{" + ", ".join(map(str, numbers)) + "}"
