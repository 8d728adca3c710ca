"""Benchmark the network against its peers: interleaved in one process, one picture at a time.

    python -m profiles.bench.network [--bundle build/host] [--rounds 200] [--out REPORT.json]

The int8 bundle is the one beside BUNDLE, build/host-int8. Except for int8, every contender must
give the same activations with its first and with its last call. A timed call of edge-runtime starts
from the camera's pixels, a timed call of a peer from a normalized picture. MNN and LiteRT copy it
into internal memory before every call; the copy is not timed. CPU time is that of all threads of
the process. The limit is the number of multiply-adds divided by the peak rate of one core.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import click

from compile.frontend.onnx_importer import read_network
from edge_runtime.system.device import read_device
from profiles.bench.peers.native import contenders
from profiles.bench.support.cores import apart, handover, peak_gmac_s
from profiles.bench.support.interleaved_timing import (
    Contender,
    check_answers,
    first_answers,
    time_interleaved,
)
from profiles.bench.support.network_input import MODEL, QUANTIZED_MODEL, ROOT, sample_picture
from profiles.bench.support.results import write_report

BUSY_LOOP = "while True: pass"


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
    """Measure loading in fresh processes.

    Returns the milliseconds from importing the engine to the first code, with all files verified,
    and the memory of numpy and the engine above bare Python. The modules are compiled to bytecode
    beforehand, as in an installation.
    """
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
    """Benchmark the network and write the report."""
    network = read_network(MODEL)
    picture = sample_picture(network.model.input.size)
    device = read_device()
    peak, handover_ns = peak_gmac_s(), handover()
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
            quantized = QUANTIZED_MODEL
            engines = dict(contenders(MODEL, quantized, bundle, picture, threads, Path(folder)))
            check_answers(first_answers(engines))
            report["threads"][str(threads)] = time_interleaved(
                engines,
                rounds,
                threads=threads,
                handover_ns=handover_ns if threads > 1 else lambda: None,
            )
            click.echo(json.dumps(report["threads"][str(threads)], indent=1), err=True)
            if threads == 2:
                report["busy"] = _on_busy_cores(engines, rounds)
    write_report(report, out)


def _int8(bundle: Path) -> dict[str, float] | None:
    """Measure the loading of the int8 bundle beside `bundle`, if there is one."""
    other = bundle.with_name(bundle.name + "-int8")
    if not other.exists():
        return None
    return {"library_bytes": (other / "libedge.so").stat().st_size, **loading(other)}


def _on_busy_cores(engines: dict[str, Contender], rounds: int) -> dict[str, Any]:
    """Time the contenders on two threads while another program keeps every core busy."""
    others = [
        subprocess.Popen([sys.executable, "-c", BUSY_LOOP]) for _ in range(os.cpu_count() or 1)
    ]
    try:
        time.sleep(0.5)
        return time_interleaved(engines, rounds, threads=2)
    finally:
        for other in others:
            other.kill()
            other.wait()


if __name__ == "__main__":
    main()
