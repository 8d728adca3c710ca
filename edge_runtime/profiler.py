"""How fast is it here, and what does it take? A first version of the report.

The path that is timed is the daemon's own (`Pipeline.look`); cold figures come from fresh
processes. Every field carries its unit in its name; null means "not known here".
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from edge_runtime import __version__
from edge_runtime.budget import check_budgets
from edge_runtime.device import read_device
from edge_runtime.engine import Engine
from edge_runtime.errors import ReportError
from edge_runtime.gallery import Gallery
from edge_runtime.memory import peak_rss_bytes, rss_bytes, uss_bytes
from edge_runtime.photo import read_photo
from edge_runtime.pipeline import Pipeline
from edge_runtime.stopwatch import Timings

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Protocol:
    """How much is measured."""

    cold_starts: int
    warmup: int
    queries: int
    """At least this many ..."""
    seconds: float
    """... and for at least this long."""


FULL = Protocol(cold_starts=5, warmup=50, queries=1024, seconds=60.0)
QUICK = Protocol(cold_starts=2, warmup=10, queries=100, seconds=0.0)


def profile(
    engine: Engine,
    gallery_path: Path | None,
    photos: Sequence[Path],
    protocol: Protocol,
    *,
    progress: Callable[[float], None] = lambda _share: None,
) -> dict[str, Any]:
    """The report on this machine: cold start, warm stages, memory, verdict; ready for JSON.

    Without a gallery an empty one is used. `progress` hears the share done, 0 to 1.
    """
    with tempfile.TemporaryDirectory() as scratch:
        path = gallery_path or Path(scratch) / "empty.sqlite"
        with Gallery(path, engine.model, create=gallery_path is None) as gallery:
            cold = [
                _cold_start(engine, path, photos[0], progress, run / protocol.cold_starts * 0.3)
                for run in range(protocol.cold_starts)
            ]
            before = read_device()
            timings, seconds = _warm(
                Pipeline(engine, gallery), photos, protocol, lambda x: progress(0.3 + 0.7 * x)
            )
            stats = gallery.stats()
    stages = timings.summary()
    checks = check_budgets(stages["query"]["p99_ms"], engine.model.size_bytes)
    return {
        "schema_version": SCHEMA_VERSION,
        "edge_runtime": __version__,
        "device": {"before": asdict(before), "after": asdict(read_device())},
        "engine": {"name": engine.name, "reason": engine.reason, "threads": engine.threads},
        "model": asdict(engine.model),
        "gallery": {"items": stats.items, "labels": stats.labels},
        "protocol": {**asdict(protocol), "quick": protocol == QUICK, "photos": len(photos)},
        "cold": _medians([run["cold"] for run in cold]),
        "warm": {
            "seconds": seconds,
            "stages": stages,
            "samples_ms": {stage: timings.samples_ms(stage) for stage in stages},
        },
        "memory": {
            **_medians([run["memory"] for run in cold]),
            "rss_bytes": rss_bytes(),
            "uss_bytes": uss_bytes(),
            "peak_rss_bytes": peak_rss_bytes(),
        },
        "budget": [{**asdict(check), "met": check.met} for check in checks],
        "met": all(check.met for check in checks),
    }


def _cold_start(
    engine: Engine, gallery: Path, photo: Path, progress: Callable[[float], None], share: float
) -> dict[str, dict[str, float]]:
    progress(share)
    command = [sys.executable, "-m", "edge_runtime.coldstart", str(time.time_ns())]
    arguments = [engine.model.path, str(gallery), str(photo), str(engine.threads)]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ReportError(f"a cold start failed: {last}", remedy="run: edge-runtime doctor")
    measured: dict[str, dict[str, float]] = json.loads(done.stdout)
    return measured


def _warm(
    pipeline: Pipeline,
    photos: Sequence[Path],
    protocol: Protocol,
    progress: Callable[[float], None],
) -> tuple[Timings, float]:
    images = [read_photo(photo) for photo in photos]
    for turn in range(protocol.warmup):
        pipeline.look(images[turn % len(images)])
    timings = Timings(capacity=1_000_000)
    began_s = time.perf_counter()
    turn = 0
    while turn < protocol.queries or time.perf_counter() - began_s < protocol.seconds:
        stage_ms = pipeline.look(images[turn % len(images)]).stage_ms
        timings.add({**stage_ms, "query": sum(stage_ms.values())})
        turn += 1
        elapsed_s = time.perf_counter() - began_s
        progress(min(turn / protocol.queries, elapsed_s / max(protocol.seconds, 1e-9), 1.0))
    return timings, time.perf_counter() - began_s


def _medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {key: median(run[key] for run in runs) for key in runs[0]}
