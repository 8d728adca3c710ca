"""Measure `edge-runtime hash` beside a plain loop over the same photos.

    python -m profiles.bench.batch [--photos 4000] [--data FOLDER]... [--no-cluster] [--out FILE]

Each round runs, in random order: a loop in one process that reads, digests and hashes, without a
journal; `hash` with one worker and with two; and `hash --cluster` with a Dask scheduler and two
workers on this machine. Reported are the medians of photos per second, and of the CPU time of all
processes with their start, also relative to the loop. The loop calls the same functions of the
product, one photo after the other. All outputs must have the same codes.

The photos are those below --data, in random order; where these are fewer, copies with another
comment at the end, so that all digests differ. Without --data, they are those of the demo with
noise. Exit code 9: the target was missed.
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import click
import cv2
import numpy as np

from demo.scenes import write_enrollment_photos
from edge_runtime.errors import EXIT_CHECK_FAILED
from edge_runtime.image.decode import find_photos
from edge_runtime.system.device import read_device
from profiles.bench.support.results import write_report

PLAIN = "plain loop"
TARGET = 1.4
"""Largest ratio of the CPU time on this machine and that of the loop."""


@click.command(help=__doc__)
@click.option("--photos", "count", type=click.IntRange(10), default=4000, show_default=True)
@click.option("--data", multiple=True, type=click.Path(exists=True, path_type=Path))
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--cluster/--no-cluster", default=True, help="Also measure Dask.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the report to this file.")
def main(count: int, data: tuple[Path, ...], rounds: int, cluster: bool, out: Path | None) -> None:
    """Measure all ways in turn and report."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        originals = 0
        if data:
            photos, originals = _copy_photos(folder, data, count)
        else:
            photos = _write_photos(folder, count)
        ways: dict[str, Callable[[Path], None]] = {
            PLAIN: lambda output: _run("-c", _LOOP, photos, output),
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
    report: dict[str, Any] = {
        "device": asdict(read_device()),
        "photos": count,
        "originals": originals,
        "data": [each.name for each in data],
        "rounds": rounds,
        "ways": _rows(times, count),
    }
    own = [row["times_the_loop"] for row in report["ways"] if "worker" in row["name"]]
    report["bars"] = {"times_the_loop": {"figure": max(own), "bar": TARGET}}
    write_report(report, out)
    sys.exit(EXIT_CHECK_FAILED if max(own) > TARGET else 0)


def _rows(times: dict[str, list[tuple[float, float]]], count: int) -> list[dict[str, Any]]:
    plain_s = median(cpu_s for _, cpu_s in times[PLAIN])
    rows = []
    for name, measured in times.items():
        cpu_s = median(cpu_s for _, cpu_s in measured)
        rows.append(
            {
                "name": name,
                "photos_per_s": count / median(wall_s for wall_s, _ in measured),
                "cpu_ms_per_photo": 1000 * cpu_s / count,
                "times_the_loop": cpu_s / plain_s,
            }
        )
    return rows


def _copy_photos(folder: Path, data: Sequence[Path], count: int) -> tuple[Path, int]:
    """Return a folder of `count` different photos of `data`, and how many files they come from."""
    found = [path for each in data for path in find_photos(each)]
    random.Random(1).shuffle(found)
    # The sets have some photos twice; `hash` stores a digest once.
    different = {hashlib.sha256(path.read_bytes()).digest(): path for path in found}
    originals = list(different.values())[:count]
    for number in range(count):
        source = originals[number % len(originals)]
        place = folder / "photos" / f"label {number % 50}"
        place.mkdir(parents=True, exist_ok=True)
        # What follows the end of a JPEG or PNG changes its digest, and none of its pixels.
        more = f"\n{number}".encode() if number >= len(originals) else b""
        (place / f"{number}{source.suffix}").write_bytes(source.read_bytes() + more)
    return folder / "photos", len(originals)


_LOOP = "import sys; from profiles.bench.batch.plain import plain; plain(*sys.argv[1:])"


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
