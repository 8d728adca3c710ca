"""The network beside its peers: interleaved in one process, one picture at a time.

    python -m profiles.bench.network [--bundle build/host] [--rounds 200] [--out REPORT.json]

Ours in int8 is the bundle beside it, build/host-int8. Every contender must give the same
activations (but int8). CPU time is what all threads of the process used. The limit is the
network's multiply-adds at the most that one core does in registers.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import click
import numpy as np

from compile.front import read_network
from edge_runtime.device import read_device
from edge_runtime.fit import Image
from profiles.bench.cores import NEAR_NS, apart, handover, peak_gmac_s
from profiles.bench.peers import Answer, contenders
from profiles.bench.report import deliver

ROOT = Path(__file__).resolve().parent.parent.parent
MODELS = ROOT / "models"
MODEL, QUANTISED = "mobilenet_v1_hash64.onnx", "mobilenet_v1_hash64_int8.onnx"
CLOSE = 1e-3
"""Largest difference of an activation; not asked of int8, which is by nature another network."""
BUSY = "while True: pass"
BLOCK, PAUSE_S = 20, 0.1


def measure(
    field: dict[str, Callable[[], Answer]],
    rounds: int,
    *,
    threads: int = 1,
    between: Callable[[], float | None] = lambda: None,
) -> dict[str, Any]:
    """Milliseconds of wall and CPU time, in turn: one call each, or with threads BLOCK calls each
    and a pause, since some leave threads spinning that would slow down the next one.

    `between` says how many nanoseconds the cores are apart; calls are also told apart by it.
    """
    samples: dict[str, list[_Call]] = {name: [] for name in field}
    block, pause_s = (1, 0.0) if threads == 1 else (BLOCK, PAUSE_S)
    for turn in range(rounds // block + 1):
        for name, run in field.items():
            time.sleep(pause_s)
            before, taken = between(), []
            for _ in range(block + (2 if block > 1 else 0)):
                wall, cpu = time.perf_counter_ns(), time.process_time_ns()
                run()
                taken.append((time.perf_counter_ns() - wall, time.process_time_ns() - cpu))
            place = _place(before, between())
            if turn:
                samples[name] += [_Call(*times, place) for times in taken[-block:]]
    return {name: _row(calls) for name, calls in samples.items()}


class _Call(NamedTuple):
    wall_ns: int
    cpu_ns: int
    place: str


def _place(before_ns: float | None, after_ns: float | None) -> str:
    """Of a block of calls: near, far; empty where that is unknown or changed meanwhile."""
    if before_ns is None or after_ns is None or (before_ns < NEAR_NS) != (after_ns < NEAR_NS):
        return ""
    return "near" if before_ns < NEAR_NS else "far"


def _row(calls: list[_Call]) -> dict[str, Any]:
    walls = sorted(call.wall_ns for call in calls)
    row: dict[str, Any] = {
        "wall_p50_ms": median(walls) / 1e6,
        "wall_p99_ms": walls[-(-len(walls) * 99 // 100) - 1] / 1e6,
        "cpu_p50_ms": median(call.cpu_ns for call in calls) / 1e6,
    }
    for place in ("near", "far"):
        if there := [call.wall_ns for call in calls if call.place == place]:
            row[place] = {"wall_p50_ms": median(there) / 1e6, "calls": len(there)}
    return row


def check(field: dict[str, Callable[[], Answer]]) -> None:
    """All of them compute the same network; raises ClickException."""
    truth = next(run() for name, run in field.items() if name.startswith("ONNX Runtime"))
    for name, run in field.items():
        far = float(np.abs(run() - truth).max())
        if far > CLOSE and "int8" not in name:
            raise click.ClickException(f"{name} gives other activations, up to {far:.3f}")


def picture_of(size: int) -> Image:
    """Something to look at."""
    rows = np.linspace(0, 255, size)
    made = np.stack([np.add.outer(rows, rows) / 2, *np.meshgrid(rows, rows)], axis=2)
    return made.astype(np.uint8)


LOADING = """
import json, sys, time
def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
bare = peak()
import numpy as np
began = time.perf_counter()
from edge_runtime.engine.compiled import CompiledEngine
engine = CompiledEngine(sys.argv[1])
size = engine.model.input.size
engine.hash(np.zeros((size, size, 3), np.uint8))
taken = time.perf_counter() - began
print(json.dumps([taken * 1e3, (peak() - bare) / 1024]))
"""


def loading(bundle: Path, processes: int = 11) -> dict[str, float]:
    """In fresh processes: from the engine's import to the first code, every file checked, and the
    memory that numpy and the engine need above bare Python. The modules lie there as bytecode, as
    an installation leaves them, also where this environment keeps Python from writing it."""
    with tempfile.TemporaryDirectory() as bytecode:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        rows = [
            json.loads(
                subprocess.run(
                    [sys.executable, "-c", LOADING, str(bundle)],
                    check=True,
                    capture_output=True,
                    text=True,
                    cwd=ROOT,
                    env=environment,
                ).stdout
            )
            for _ in range(processes + 1)
        ][1:]  # the first one writes the bytecode
    return {
        "first_code_p50_ms": median(row[0] for row in rows),
        "numpy_and_engine_mib": median(row[1] for row in rows),
    }


@click.command(help=__doc__)
@click.option("--bundle", type=click.Path(path_type=Path), default=ROOT / "build" / "host")
@click.option("--rounds", default=200, show_default=True)
@click.option("--out", type=click.Path(path_type=Path))
def main(bundle: Path, rounds: int, out: Path | None) -> None:
    """Command: see the module."""
    network = read_network(MODELS / MODEL)
    picture = picture_of(network.model.input.size)
    device = read_device()
    peak, between = peak_gmac_s(), handover()
    report: dict[str, Any] = {
        "schema_version": 1,
        "machine": platform.machine(),
        "cpu": device.cpu,
        "emulated": device.emulated,
        "load_average_before": os.getloadavg()[0],
        "rounds": rounds,
        "multiply_adds": network.multiply_adds,
        "peak_gmac_s": peak,
        "limit_ms": network.multiply_adds / peak / 1e6 if peak else None,
        "library_bytes": (bundle / "libedge.so").stat().st_size,
        "loading": loading(bundle),
        "apart": apart(bundle),
        "int8": _int8(bundle),
        "threads": {},
    }
    for threads in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            quantised = MODELS / QUANTISED
            field = dict(
                contenders(MODELS / MODEL, quantised, bundle, picture, threads, Path(folder))
            )
            check(field)
            report["threads"][str(threads)] = measure(
                field, rounds, threads=threads, between=between if threads > 1 else lambda: None
            )
            click.echo(json.dumps(report["threads"][str(threads)], indent=1), err=True)
            if threads == 2:
                report["busy"] = _among_others(field, rounds)
    deliver(report, out)


def _int8(bundle: Path) -> dict[str, float] | None:
    """Of the bundle beside it, if there is one."""
    other = bundle.with_name(bundle.name + "-int8")
    if not other.exists():
        return None
    return {"library_bytes": (other / "libedge.so").stat().st_size, **loading(other)}


def _among_others(field: dict[str, Callable[[], Answer]], rounds: int) -> dict[str, Any]:
    """The same with every core kept busy by another program."""
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(os.cpu_count() or 1)]
    try:
        time.sleep(0.5)
        return measure(field, rounds, threads=2)
    finally:
        for other in others:
            other.kill()
            other.wait()


if __name__ == "__main__":
    main()
