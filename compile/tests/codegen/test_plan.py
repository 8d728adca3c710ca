"""The plan: memory that never overlaps, and Strassen's seven products."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest

from compile.codegen.emit_c import emit_c
from compile.codegen.link import build_library
from compile.codegen.memory_planner import TensorRef
from compile.codegen.plan import make_plan
from compile.codegen.workloads import ScheduleConfig, workloads
from compile.frontend.ir import Network
from compile.frontend.onnx_importer import read_network
from compile.target.description import Target, read_target
from compile.tests.helpers import random_pictures
from compile.tuning.search_space import space
from edge_runtime.engine.portable import PortableEngine


def strassen_choices(
    network: Network, target: Target, precision: str = "fp32"
) -> dict[str, ScheduleConfig]:
    """Schedules that use seven products wherever the geometry allows it."""
    choices = {}
    for work in workloads(network, precision):
        every = space(work.shape, target.vector)
        choices[work.key] = next((k for k in every if getattr(k, "strassen", False)), every[0])
    return choices


@pytest.mark.parametrize("products", ["eight", "seven"])
def test_live_tensors_never_overlap(small_model: Path, products: str) -> None:
    target, network = read_target("rpi4"), read_network(small_model)
    choices = {w.key: space(w.shape, target.vector)[0] for w in workloads(network)}
    if products == "seven":
        choices = strassen_choices(network, target)
        assert sum(getattr(config, "strassen", False) for config in choices.values()) > 3
    plan = make_plan(network, choices, target.vector)
    steps = [*plan.preparations, *plan.steps]
    outputs = list({id(step.output): step.output for step in steps if step.output}.values())
    for index, one in enumerate(outputs):
        assert one.offset % 64 == 0
        for other in outputs[index + 1 :]:
            if one.coexists_with(other):
                ends = one.offset + one.bytes <= other.offset
                assert ends or other.offset + other.bytes <= one.offset
    for now, step in enumerate(plan.steps):
        read = [argument.tensor for argument in step.arguments if isinstance(argument, TensorRef)]
        assert all(
            tensor.persistent or tensor.first_step <= now <= tensor.last_step for tensor in read
        )
    text, constants = emit_c(plan, target.code_for)
    assert "edge_plan_steps" in text
    assert len(constants) > 4 * 200_000


def test_seven_products_give_the_bits_of_onnx_runtime(
    small_model: Path, host: Target, tmp_path: Path
) -> None:
    network = read_network(small_model)
    plan = make_plan(network, strassen_choices(network, host), host.vector)
    library = ctypes.CDLL(str(build_library(plan, host, tmp_path)))
    library.edge_open.restype = ctypes.c_void_p
    opened = ctypes.c_void_p(library.edge_open(2))
    reference, code = PortableEngine(small_model), np.zeros(1, np.uint64)
    for picture in random_pictures(96, 50):
        library.edge_hash(opened, *(ctypes.c_void_p(a.ctypes.data) for a in (picture, code)))
        assert (code == reference.hash(picture)).all()
    library.edge_close(opened)
