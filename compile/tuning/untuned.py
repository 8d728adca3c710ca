"""Build a library without a search, from the schedules that the rule of thumb ranks first."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from compile.codegen.link import build_library, describe
from compile.codegen.plan import make_plan
from compile.codegen.workloads import ScheduleConfig, Workload, workloads
from compile.frontend.ir import Network
from compile.target.description import Target
from compile.target.vector_unit import Vector
from compile.tuning.search_space import space
from edge_runtime.bundle import LIBRARY


def build_untuned(
    network: Network,
    target: Target,
    precision: str,
    folder: Path,
    like: Mapping[str, ScheduleConfig] = MappingProxyType({}),
) -> None:
    """Write library and manifest of a bundle without a search or a verification.

    Where the schedules `like` use Strassen's seven products, so does this library: it rounds alike.
    """
    choices = {
        work.key: untuned_config(work, target.vector, strassen=_uses_strassen(like.get(work.key)))
        for work in workloads(network, precision)
    }
    plan = make_plan(network, choices, target.vector, precision)
    build_library(plan, target, folder / "work").replace(folder / LIBRARY)
    shutil.rmtree(folder / "work")
    describe(folder, network, target, precision)


def untuned_config(work: Workload, vector: Vector, *, strassen: bool = False) -> ScheduleConfig:
    """Return the first schedule for `work` by the rule of thumb, with or without Strassen."""
    return next(
        config for config in space(work.shape, vector) if _uses_strassen(config) == strassen
    )


def _uses_strassen(config: ScheduleConfig | None) -> bool:
    return bool(getattr(config, "strassen", False))
