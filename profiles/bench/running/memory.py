"""Benchmark the memory of the daemon, by options and by kind of camera.

    python -m profiles.bench.running.memory [--out FILE]

Every daemon runs for a minute: the first snapshots, pictures and messages take memory, too. "Page
open" means a client that reads the events and the live view of every camera, as the page does.
Other processes do not change the figures. Exit code 9: a target was missed.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from edge_runtime.errors import EXIT_CHECK_FAILED
from edge_runtime.system.device import read_device
from profiles.bench.support.cameras import SIZE, install_rpicam, jpegs, network_camera, noisy
from profiles.bench.support.harness import running_daemon, tripod_frames, write_video
from profiles.bench.support.results import write_report

TARGETS = {"engine alone": 130.0, "page": 131.0, "all options, films": 160.0}
"""Megabytes."""
FPS = 10
SECONDS = 60.0
SCENES = ("chelsea.png", "coffee.png", "rocket.jpg")
BROKER = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
OPTIONS = """\
[unknowns]
[history]
[speech]
[mqtt]
host = "127.0.0.1"
port = {port}
discovery = true
images = true
[regions.left]
camera = "c0"
area = [0.0, 0.0, 0.5, 1.0]
"""


@dataclass(frozen=True)
class Case:
    """One daemon."""

    name: str
    camera: str = "rpicam"
    """"rpicam" (raw pictures), "network" (JPEGs, like those of a webcam) or "film"."""
    cameras: int = 1
    page: bool = True
    open: bool = False
    options: bool = False


CASES = (
    Case("engine alone", page=False),
    Case("page"),
    Case("page open", open=True),
    Case("page open, network camera", "network", open=True),
    Case("page open, film", "film", open=True),
    Case("all options", cameras=2, open=True, options=True),
    Case("all options, network cameras", "network", 2, open=True, options=True),
    Case("all options, films", "film", 2, open=True, options=True),
)


def memory(case: Case, folder: Path, sources: dict[str, Sequence[str]]) -> dict[str, Any]:
    """Return the resident memory of a daemon in megabytes, at the end and at most."""
    config = 'gallery.path = "g.sqlite"\noutput.format = "none"\n'
    for number in range(case.cameras):
        source = sources[case.camera][number]
        film = "loop = true\nreal_time = true\n" if case.camera == "film" else ""
        config += f'[cameras.c{number}]\nsource = "{source}"\nfps = {FPS}\n{film}'
    config += "[http]\nport = 0\n" if case.page else ""
    with _broker(case.options) as port:
        config += OPTIONS.format(port=port) if case.options else ""
        with running_daemon(config, page=case.page, path=str(folder)) as daemon:
            if case.open:
                daemon.open_page([f"c{number}" for number in range(case.cameras)])
            samples = []
            for _ in range(int(SECONDS)):
                time.sleep(1.0)
                samples.append(daemon.process.memory_info().rss / 1e6)
            return {
                **asdict(case),
                "rss_mb": samples[-1],
                "most_rss_mb": max(samples),
                "threads": daemon.process.num_threads(),
            }


@contextmanager
def _broker(needed: bool) -> Iterator[int]:
    """Run an MQTT broker if it is needed and installed; yields a port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    if not needed or BROKER is None:
        yield port
        return
    quiet = subprocess.DEVNULL
    child = subprocess.Popen([BROKER, "-p", str(port)], stdout=quiet, stderr=quiet)
    try:
        yield port
    finally:
        child.kill()
        child.wait()


def measure() -> dict[str, Any]:
    """Run all measurements and return the report."""
    frames = noisy(SCENES, 2 * FPS)
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as name:
        folder = Path(name)
        install_rpicam(folder, frames, FPS)
        films = [folder / f"film{number}.mp4" for number in range(2)]
        for film in films:
            write_video(film, tripod_frames(40, SCENES, moving=20), SIZE, FPS)
        with network_camera(jpegs(frames), FPS) as address:
            sources: dict[str, Sequence[str]] = {
                "rpicam": ["rpicam:0", "rpicam:1"],
                "network": [address, f"{address}?2"],
                "film": [str(film) for film in films],
            }
            runs = [memory(case, folder, sources) for case in CASES]
    figures = {run["name"]: run["most_rss_mb"] for run in runs}
    bars = {
        key: {"figure": figures[key], "bar": bar, "met": figures[key] <= bar}
        for key, bar in TARGETS.items()
    }
    return {
        "seconds": SECONDS,
        "broker": BROKER is not None,
        "runs": runs,
        "film_mb": (figures["all options, films"] - figures["all options"]) / 2,
        "bars": bars,
        "met": all(each["met"] for each in bars.values()),
    }


@click.command()
@click.option("--out", type=click.Path(path_type=Path))
def main(out: Path | None) -> None:
    """Benchmark the memory of the daemon."""
    report = {"device": asdict(read_device()), **measure()}
    write_report(report, out)
    sys.exit(0 if report["met"] else EXIT_CHECK_FAILED)


if __name__ == "__main__":
    main()
