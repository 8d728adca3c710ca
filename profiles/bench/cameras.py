"""Benchmark several cameras in one daemon: what a frame costs beyond its hash.

    python -m profiles.bench.cameras [--out FILE]

Three cameras at five frames per second, each frame hashed, against one camera and against the
hashes alone. The cost of a hash is that of the network in a process that does nothing else, as many
times per second as all cameras deliver frames: so its weights are as cold in the caches of the CPU
as in the daemon. Everything else counts as overhead: reading and converting the pictures, resizing
them, the lookup, the events and the web server. All costs are CPU time, so other processes disturb
them little, and the measurements take turns. Exit code 9: a target was missed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import click
import cv2

from demo.scenes import read_scene
from edge_runtime.engine import open_engine
from edge_runtime.errors import EXIT_CHECK_FAILED
from edge_runtime.image.preprocess import preprocess
from edge_runtime.system.device import read_device
from profiles.bench.support.cameras import install_rpicam, noisy
from profiles.bench.support.harness import running_daemon
from profiles.bench.support.results import write_report

TARGETS = {"times_the_hashes": 1.1, "times_one_camera": 1.1}
CAMERAS = 3
FPS = 5
WARM_S = 6.0
MEASURE_S = 15.0
ROUNDS = 3
SCENES = ("chelsea.png", "coffee.png", "rocket.jpg")


def hash_ms(per_second: float, seconds: float) -> float:
    """Return the CPU milliseconds of a hash of a prepared picture, of `per_second`; 0: no pause."""
    program = [sys.executable, "-m", "profiles.bench.cameras", "--hashes"]
    done = subprocess.run(
        [*program, str(per_second), str(seconds)], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def _hash(per_second: float, seconds: float) -> float:
    cv2.setNumThreads(1)  # as the daemon does
    engine = open_engine()
    square = preprocess(read_scene("chelsea.png"), engine.model.input.size)
    for _ in range(10):
        engine.embed(square)
    count, began_cpu_s, began_s = 0, time.process_time(), time.monotonic()
    while (now_s := time.monotonic()) < began_s + seconds:
        engine.embed(square)
        count += 1
        if per_second:
            time.sleep(max(0.0, began_s + count / per_second - now_s))
    return (time.process_time() - began_cpu_s) / count * 1e3


def frame_cost(folder: Path, cameras: int) -> dict[str, Any]:
    """Return the CPU milliseconds per frame of a daemon with this number of cameras."""
    tables = "".join(
        f'[cameras.c{number}]\nsource = "rpicam:{number}"\nfps = {FPS}\n'
        for number in range(cameras)
    )
    config = 'gallery.path = "g.sqlite"\noutput.format = "none"\ngate.enabled = false\n'
    with running_daemon(f"{config}{tables}[http]\nport = 0\n", path=str(folder)) as daemon:
        daemon.wait_until(lambda: daemon.status()["ready"], 60)
        time.sleep(WARM_S)
        frames, cpu_s, at_s = daemon.status()["frames"], daemon.cpu_s(), time.monotonic()
        time.sleep(MEASURE_S)
        cpu_s, seconds = daemon.cpu_s() - cpu_s, time.monotonic() - at_s
        status = daemon.status()
        frames = status["frames"] - frames
        return {
            "cameras": cameras,
            "frames": frames,
            "fps_per_camera": frames / seconds / cameras,
            "cpu_percent": 100 * cpu_s / seconds,
            "cpu_ms_per_frame": 1e3 * cpu_s / frames,
            "dropped": sum(each["dropped"] for each in status["cameras"]),
            "rss_mb": daemon.process.memory_info().rss / 1e6,
        }


def measure() -> dict[str, Any]:
    """Run all measurements and return the report."""
    hashes, rounds = [], []
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as name:
        folder = Path(name)
        install_rpicam(folder, noisy(SCENES, FPS), FPS)
        for _ in range(ROUNDS):
            hashes.append(hash_ms(CAMERAS * FPS, MEASURE_S))
            rounds.append([frame_cost(folder, 1), frame_cost(folder, CAMERAS)])
    network_ms = median(hashes)
    one_ms, three_ms = (
        median(run["cpu_ms_per_frame"] for run in runs) for runs in zip(*rounds, strict=True)
    )
    figures = {
        "times_the_hashes": three_ms / network_ms,
        "times_one_camera": three_ms / one_ms,
    }
    bars = {
        key: {"figure": figures[key], "bar": bar, "met": figures[key] <= bar}
        for key, bar in TARGETS.items()
    }
    return {
        "cameras": CAMERAS,
        "fps": FPS,
        "hash_cpu_ms": network_ms,
        "hash_without_pause_cpu_ms": hash_ms(0, 3),
        "cpu_ms_per_frame": {"1": one_ms, str(CAMERAS): three_ms},
        "runs": [run for runs in rounds for run in runs],
        "bars": bars,
        "met": all(each["met"] for each in bars.values()),
    }


@click.command()
@click.option("--out", type=click.Path(path_type=Path))
@click.option("--hashes", type=(float, float), hidden=True, help="Only hash: per second, seconds.")
def main(out: Path | None, hashes: tuple[float, float] | None) -> None:
    """Benchmark several cameras."""
    if hashes:
        click.echo(_hash(*hashes))
        return
    report = {"device": asdict(read_device()), **measure()}
    write_report(report, out)
    sys.exit(0 if report["met"] else EXIT_CHECK_FAILED)


if __name__ == "__main__":
    main()
