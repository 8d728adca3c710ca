"""The network beside its peers: interleaved in one process, one picture at a time.

    python -m profiles.bench.network [--bundle build/host] [--rounds 200] [--out REPORT.json]

Every contender must give the same activations (but int8). CPU time is what all threads of the
process used. The limit is the network's multiply-adds at the most that one core does in registers.
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
from typing import Any

import click
import numpy as np

from compile.front import read_network
from edge_runtime.device import cpu_features, read_device
from edge_runtime.fit import Image
from profiles.bench.peers import Answer, contenders

ROOT = Path(__file__).resolve().parent.parent.parent
MODELS = ROOT / "models"
MODEL, QUANTISED = "mobilenet_v1_hash64.onnx", "mobilenet_v1_hash64_int8.onnx"
CLOSE = 1e-3
"""Largest difference of an activation; not asked of int8, which is by nature another network."""
BUSY = "while True: pass"


def measure(field: dict[str, Callable[[], Answer]], rounds: int) -> dict[str, Any]:
    """Milliseconds of wall and CPU time, round after round in turn."""
    samples: dict[str, list[tuple[int, int]]] = {name: [] for name in field}
    for turn in range(rounds + 5):
        for name, run in field.items():
            wall, cpu = time.perf_counter_ns(), time.process_time_ns()
            run()
            taken = (time.perf_counter_ns() - wall, time.process_time_ns() - cpu)
            if turn >= 5:
                samples[name].append(taken)
    return {
        name: {
            "wall_p50_ms": median(wall for wall, _ in values) / 1e6,
            "wall_p99_ms": sorted(wall for wall, _ in values)[-(-len(values) * 99 // 100) - 1]
            / 1e6,
            "cpu_p50_ms": median(cpu for _, cpu in values) / 1e6,
        }
        for name, values in samples.items()
    }


def check(field: dict[str, Callable[[], Answer]]) -> None:
    """All of them compute the same network; raises ClickException."""
    truth = next(run() for name, run in field.items() if name.startswith("ONNX Runtime"))
    for name, run in field.items():
        far = float(np.abs(run() - truth).max())
        if far > CLOSE and "int8" not in name:
            raise click.ClickException(f"{name} gives other activations, up to {far:.3f}")


def peak_gmac_s() -> float | None:
    """Of one core, 1e9 multiply-adds a second; None: no C compiler here."""
    features = cpu_features()
    size = 64 if "avx512f" in features else 32 if "avx2" in features else 16
    source = Path(__file__).with_name("peak.c")
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "peak"
        flags = ["-O3", "-march=native", "-ffast-math", f"-DVECTOR_BYTES={size}"]
        try:
            subprocess.run(["cc", *flags, str(source), "-o", str(program)], check=True)
            shown = subprocess.run([str(program)], check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        return float(shown.stdout.split()[0]) / 1e9


def picture_of(size: int) -> Image:
    """Something to look at."""
    rows = np.linspace(0, 255, size)
    made = np.stack([np.add.outer(rows, rows) / 2, *np.meshgrid(rows, rows)], axis=2)
    return made.astype(np.uint8)


@click.command(help=__doc__)
@click.option("--bundle", type=click.Path(path_type=Path), default=ROOT / "build" / "host")
@click.option("--rounds", default=200, show_default=True)
@click.option("--out", type=click.Path(path_type=Path))
def main(bundle: Path, rounds: int, out: Path | None) -> None:
    """Command: see the module."""
    network = read_network(MODELS / MODEL)
    picture = picture_of(network.model.input.size)
    device = read_device()
    peak = peak_gmac_s()
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
        "threads": {},
    }
    for threads in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            quantised = MODELS / QUANTISED
            field = dict(
                contenders(MODELS / MODEL, quantised, bundle, picture, threads, Path(folder))
            )
            check(field)
            report["threads"][str(threads)] = measure(field, rounds)
            click.echo(json.dumps(report["threads"][str(threads)], indent=1), err=True)
            if threads == 2:
                report["busy"] = _among_others(field, rounds)
    text = json.dumps(report, indent=1)
    if out:
        out.write_text(text + "\n", encoding="utf-8")
    else:
        click.echo(text)


def _among_others(field: dict[str, Callable[[], Answer]], rounds: int) -> dict[str, Any]:
    """The same with every core kept busy by another program."""
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(os.cpu_count() or 1)]
    try:
        time.sleep(0.5)
        return measure(field, rounds)
    finally:
        for other in others:
            other.kill()
            other.wait()


if __name__ == "__main__":
    main()
