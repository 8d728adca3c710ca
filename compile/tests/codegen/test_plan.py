"""The plan: memory that never overlaps, and Strassen's products."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest

from compile.codegen.emit_c import emit
from compile.codegen.link import build_library
from compile.codegen.memory_planner import At
from compile.codegen.plan import ScheduleConfig, make_plan, workloads
from compile.frontend.ir import Network
from compile.frontend.onnx_importer import read_network
from compile.target.description import Target, read_target
from compile.tests.helpers import random_pictures
from compile.tuning.search_space import space
from edge_runtime.engine.portable import PortableEngine


def sevens(network: Network, target: Target, precision: str = "fp32") -> dict[str, ScheduleConfig]:
    """Choices that multiply in seven products wherever that can be."""
    choices = {}
    for work in workloads(network, precision):
        every = space(work.shape, target.vector)
        choices[work.key] = next((k for k in every if getattr(k, "strassen", False)), every[0])
    return choices


@pytest.mark.parametrize("way", ["first choice", "seven products"])
def test_the_plan_never_lets_living_tensors_overlap(small_model: Path, way: str) -> None:
    target, network = read_target("rpi4"), read_network(small_model)
    choices = {w.key: space(w.shape, target.vector)[0] for w in workloads(network)}
    if way == "seven products":
        choices = sevens(network, target)
        assert sum(getattr(knobs, "strassen", False) for knobs in choices.values()) > 3
    plan = make_plan(network, choices, target.vector)
    steps = [*plan.preparations, *plan.steps]
    outputs = list({id(step.output): step.output for step in steps if step.output}.values())
    for index, one in enumerate(outputs):
        assert one.offset % 64 == 0
        for other in outputs[index + 1 :]:
            if one.meets(other):
                ends = one.offset + one.bytes <= other.offset
                assert ends or other.offset + other.bytes <= one.offset
    for now, step in enumerate(plan.steps):
        read = [argument.tensor for argument in step.arguments if isinstance(argument, At)]
        assert all(tensor.lasting or tensor.born <= now <= tensor.dies for tensor in read)
    text, constants = emit(plan, target.code_for)
    assert "edge_plan_steps" in text
    assert len(constants) > 4 * 200_000


def test_seven_products_give_the_bits_of_onnx_runtime(
    small_model: Path, host: Target, tmp_path: Path
) -> None:
    network = read_network(small_model)
    plan = make_plan(network, sevens(network, host), host.vector)
    library = ctypes.CDLL(str(build_library(plan, host, tmp_path)))
    library.edge_open.restype = ctypes.c_void_p
    opened = ctypes.c_void_p(library.edge_open(2))
    reference, code = PortableEngine(small_model), np.zeros(1, np.uint64)
    for picture in random_pictures(96, 50):
        library.edge_hash(opened, *(ctypes.c_void_p(a.ctypes.data) for a in (picture, code)))
        assert (code == reference.hash(picture)).all()
    library.edge_close(opened)
