"""A library without a search: each workload gets the choice that the rule of thumb likes best."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from compile.codegen.link import build_library, describe
from compile.codegen.plan import ScheduleConfig, make_plan, workloads
from compile.frontend.ir import Network
from compile.target.description import Target
from compile.tuning.search_space import space
from edge_runtime.bundle import LIBRARY


def build_untuned(
    network: Network,
    target: Target,
    precision: str,
    folder: Path,
    like: Mapping[str, ScheduleConfig] = MappingProxyType({}),
) -> None:
    """Write library and manifest of a bundle by the rule of thumb: not searched for, not proved.

    Where the choices `like` make seven products of eight, it does too, so that it rounds alike.
    """
    choices: dict[str, ScheduleConfig] = {}
    for item in workloads(network, precision):
        seven = getattr(like.get(item.key), "strassen", False)
        every = space(item.shape, target.vector)
        choices[item.key] = next(k for k in every if getattr(k, "strassen", False) == seven)
    plan = make_plan(network, choices, target.vector, precision)
    build_library(plan, target, folder / "work").replace(folder / LIBRARY)
    shutil.rmtree(folder / "work")
    describe(folder, network, target, precision)
