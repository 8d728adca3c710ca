"""Measure cold starts: time and memory of new processes that answer their first query."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from edge_runtime.engine import Engine
from edge_runtime.errors import ReportError
from edge_runtime.report.schema import ColdStart, Memory, MemoryParts, Usage

LIMIT_S = 300.0

Run = dict[str, Any]
"""The output of `edge_runtime.profiler.cold_start_child`."""


def run_cold_start(engine: Engine, gallery: Path, photo: Path) -> Run:
    """Start one new process with the model of `engine`; raises `ReportError`."""
    command = [sys.executable, "-m", "edge_runtime.profiler.cold_start_child", str(time.time_ns())]
    arguments = [engine.model.path, str(gallery), str(photo), str(engine.threads)]
    try:
        done = subprocess.run(
            [*command, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise ReportError(f"a cold start took more than {LIMIT_S:g} s") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ReportError(f"a cold start failed: {last}", remedy="run: edge-runtime doctor")
    run: Run = json.loads(done.stdout)
    return run


def cold_start_medians(runs: Iterable[Run]) -> tuple[ColdStart, list[ColdStart]]:
    """Return the medians over all runs, and each run."""
    every = [run["cold"] for run in runs]
    return ColdStart(**_medians(every)), [ColdStart(**run) for run in every]


def memory_summary(runs: list[Run], growth_bytes: int | None) -> Memory:
    """Return the memory of each phase (medians), and the parts of the last phase.

    Pages mapped from library files are attributed to the libraries. Other growth is attributed to
    what the phase loaded, and all memory before the network was loaded to the interpreter.
    """
    usage = {
        phase: Usage(**_rounded(_medians([run["phases"][phase]["usage"] for run in runs])))
        for phase in ("start", "imports", "engine", "gallery", "run")
    }
    parts = _rounded(_medians([_parts(run["phases"]) for run in runs]))
    # Medians of parts need not sum to the median of the total: the working set absorbs the rest.
    parts["working_set_bytes"] += usage["run"].rss_bytes - sum(parts.values())
    return Memory(
        **usage,
        parts=MemoryParts(**parts),
        peak_rss_bytes=max(run["peak_rss_bytes"] for run in runs),
        growth_bytes=growth_bytes,
    )


def _parts(phases: dict[str, dict[str, dict[str, int]]]) -> dict[str, float]:
    own = {  # without libraries and the compiled network
        phase: figures["kinds"]["memory"] + figures["kinds"]["file"]
        for phase, figures in phases.items()
    }
    kinds = phases["run"]["kinds"]
    return {
        "interpreter_bytes": own["imports"],
        "libraries_bytes": kinds["library"],
        "model_bytes": kinds["network"] + own["engine"] - own["imports"],
        "gallery_bytes": own["gallery"] - own["engine"],
        "working_set_bytes": own["run"] - own["gallery"],
    }


def _medians(runs: list[dict[str, Any]]) -> dict[str, float]:
    return {key: median(run[key] for run in runs) for key in runs[0]}


def _rounded(figures: dict[str, float]) -> dict[str, int]:
    return {key: round(value) for key, value in figures.items()}
