"""Measure `edge-runtime hash` beside a plain loop over the same photos.

    python -m profiles.bench.batch [--photos 1000] [--rounds 3] [--no-cluster]

Each round runs, in random order: a loop in one process that reads, digests and hashes, without a
journal; `hash` with one worker and with two; and `hash --cluster` with a Dask scheduler and two
workers on this machine. Printed are the medians of photos per second, and of the CPU time of all
processes with their start, also relative to the loop. All outputs must have the same codes.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import click
import cv2
import numpy as np

from demo.scenes import write_enrollment_photos
from edge_runtime.image.decode import find_photos


@click.command(help=__doc__)
@click.option("--photos", "count", type=click.IntRange(10), default=1000, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--cluster/--no-cluster", default=True, help="Also measure Dask.")
def main(count: int, rounds: int, cluster: bool) -> None:
    """Measure all ways in turn and print one line for each."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = _write_photos(folder, count)
        ways: dict[str, Callable[[Path], None]] = {
            "plain loop": lambda output: _run("-c", _PLAIN, photos, output),
            "1 worker": lambda output: _hash(photos, output, "--workers", "1"),
            "2 workers": lambda output: _hash(photos, output, "--workers", "2"),
        }
        if cluster:
            ways["Dask, 2 workers"] = lambda output: _hash_on_cluster(photos, output)
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        order, chance = list(ways), random.Random(1)
        codes: set[str] = set()
        for _ in range(rounds):
            chance.shuffle(order)
            for name in order:
                output = folder / "codes.jsonl"
                began_s, before_s = time.monotonic(), _cpu_s()
                ways[name](output)
                times[name].append((time.monotonic() - began_s, _cpu_s() - before_s))
                codes.add(_codes_of(output))
                for leftover in folder.glob("codes.jsonl*"):
                    leftover.unlink()
        if len(codes) != 1:
            raise click.ClickException("the outputs have different codes")
        plain_s = median(cpu_s for _, cpu_s in times["plain loop"])
        for name, measured in times.items():
            rate = count / median(wall_s for wall_s, _ in measured)
            cpu_s = median(cpu_s for _, cpu_s in measured)
            click.echo(
                f"{name:16} {rate:7.1f} photos/s  {1000 * cpu_s / count:7.2f} ms of CPU per photo  "
                f"{cpu_s / plain_s:.2f}x the loop"
            )


_PLAIN = "import sys; from profiles.bench.batch.plain import plain; plain(*sys.argv[1:])"


def _write_photos(folder: Path, count: int) -> Path:
    """Write `count` different photos: the demo's, with some noise."""
    write_enrollment_photos(folder / "demo")
    originals = [cv2.imread(str(path)) for path in find_photos(folder / "demo")]
    shutil.rmtree(folder / "demo")
    random_numbers = np.random.default_rng(1)
    for number in range(count):
        original = originals[number % len(originals)]
        assert original is not None
        noise = random_numbers.integers(0, 8, original.shape, np.uint8)
        place = folder / "photos" / f"label {number % 50}"
        place.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place / f"{number}.jpg"), cv2.add(original, noise))
    return folder / "photos"


def _hash(photos: Path, output: Path, *options: str) -> None:
    _run("-m", "edge_runtime", "hash", photos, "--out", output, *options)


def _hash_on_cluster(photos: Path, output: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    here = ("--host", "127.0.0.1", "--no-dashboard")
    options = ("--nworkers", "2", "--nthreads", "1", "--local-directory", str(output.parent))
    with (
        _running("-m", "dask", "scheduler", "--port", str(port), *here),
        _running("-m", "dask", "worker", address, *here, *options),
    ):
        _hash(photos, output, "--cluster", address)


@contextmanager
def _running(*arguments: str) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, *arguments], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def _run(*arguments: object) -> None:
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)


def _cpu_s() -> float:
    """Return the CPU time of all processes that have ended, with those that they had waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _codes_of(output: Path) -> str:
    lines = [json.loads(line) for line in output.read_text().splitlines()[1:]]
    codes = sorted((line["digest"], line["code"]) for line in lines)
    return hashlib.sha256(json.dumps(codes).encode()).hexdigest()


if __name__ == "__main__":
    main()
