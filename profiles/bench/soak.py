"""Send a million frames through the daemon and check that its memory does not grow.

    python -m profiles.bench.soak [--frames N] [--out FILE]

An `edge-runtime run` process watches a video in an endless loop at full speed: decoding, gate,
network, gallery, decisions, sinks, web page and metrics. Meanwhile this program queries its web
API, enrolls and removes pictures, and sends SIGHUP, which reopens the camera and the gallery. Exit
code 9: the daemon grew.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import click

from edge_runtime.cli.common import progress_bar
from edge_runtime.errors import EXIT_CHECK_FAILED
from edge_runtime.system.device import read_device
from profiles.bench.support.harness import (
    CONFIG,
    DaemonProcess,
    enroll_scenes,
    tripod_frames,
    write_video,
)
from profiles.bench.support.results import write_report

SCENES = ("chelsea.png", "coffee.png", "rocket.jpg", "grass.png")
FRAME_SIZE = (320, 240)
DRIFT_BYTES = 2_000_000
WARM_FRAMES = 2000
"""Shortest warm-up, during which buffers are allocated."""


@dataclass(frozen=True)
class Sample:
    """The resources of the daemon at one moment."""

    frames: int
    rss_bytes: int
    threads: int
    descriptors: int


def soak(
    frames: int,
    progress: Callable[[float], None] = lambda _share: None,
    *,
    at_most_s: float = float("inf"),
) -> dict[str, Any]:
    """Run for `frames` frames, or for `at_most_s` seconds after the warm-up; return the report."""
    with tempfile.TemporaryDirectory(prefix="edge-soak-") as name:
        folder = Path(name)
        enroll_scenes(folder / "g.sqlite")
        still = 500 if at_most_s == float("inf") else 60
        write_video(folder / "video.mp4", tripod_frames(still, SCENES), FRAME_SIZE, 25)
        config = f'{CONFIG}[camera]\nsource = "video.mp4"\nloop = true\n'
        daemon = DaemonProcess(folder, config)
        try:
            return _watch(daemon, frames, at_most_s, progress)
        finally:
            daemon.stop()


def _watch(
    daemon: DaemonProcess, frames: int, at_most_s: float, progress: Callable[[float], None]
) -> dict[str, Any]:
    warm = max(WARM_FRAMES, frames // 100)
    samples: list[Sample] = []
    began_s = time.monotonic()
    step = 0
    warm_s = 0.0
    while True:
        status = daemon.status()
        frames_seen = status["frames"]
        if frames_seen >= warm:
            warm_s = warm_s or time.monotonic()
            samples.append(_sample(daemon, frames_seen))
        progress(min(1.0, frames_seen / frames))
        late = bool(warm_s) and time.monotonic() - warm_s >= at_most_s
        if len(samples) >= 10 and (frames_seen >= max(frames, 2 * warm) or late):
            break
        step += 1
        _disturb(daemon, step)
        time.sleep(0.1 if frames < 100_000 else 1.0)
    drift = median(s.rss_bytes for s in samples[-5:]) - median(s.rss_bytes for s in samples[:5])
    highest = max(s.rss_bytes for s in samples) - samples[0].rss_bytes
    first, last = samples[0], samples[-1]
    status = daemon.status()
    counted = all(
        sink["published"] == sink["delivered"] + sink["dropped"] + sink["failed"] + sink["waiting"]
        for sink in status["sinks"].values()
    )
    return {
        "frames": last.frames,
        "seconds": time.monotonic() - began_s,
        "warm_frames": warm,
        "events": status["events"],
        "enrolments": step // 2,
        "rss_at_start_bytes": first.rss_bytes,
        "rss_at_end_bytes": last.rss_bytes,
        "rss_drift_bytes": drift,
        "rss_highest_above_start_bytes": highest,
        "threads": [min(s.threads for s in samples), first.threads, last.threads],
        "descriptors": [min(s.descriptors for s in samples), first.descriptors, last.descriptors],
        "faults": status["faults"],
        "last_error": status["last_error"],
        "samples": [asdict(sample) for sample in samples[:: max(1, len(samples) // 50)]],
        "met": drift <= DRIFT_BYTES
        and last.threads <= first.threads + 1
        and last.descriptors <= first.descriptors + 2
        and status["faults"] == 0
        and counted,
    }


def _sample(daemon: DaemonProcess, frames: int) -> Sample:
    process = daemon.process
    return Sample(frames, process.memory_info().rss, process.num_threads(), process.num_fds())


def _disturb(daemon: DaemonProcess, step: int) -> None:
    """Do one of the things that happen to a daemon over a year."""
    if step % 2:
        daemon.request("/api/labels/passing/frame", "POST")
    else:
        daemon.request("/api/labels/passing", "DELETE")
    if step % 5 == 0:  # a new frame rate reopens the camera
        text = daemon.config.read_text().partition("fps")[0]
        daemon.config.write_text(f"{text}fps = {10 + step % 2}\n")
        daemon.child.send_signal(signal.SIGHUP)
    if step % 7 == 0:
        daemon.request("/api/query", "POST", b"no photo")


@click.command()
@click.option("--frames", type=click.IntRange(1000), default=1_000_000, show_default=True)
@click.option("--out", type=click.Path(path_type=Path))
def main(frames: int, out: Path | None) -> None:
    """Run the soak test."""
    with progress_bar("soaking", 1.0) as advance:
        done = 0.0

        def progress(share: float) -> None:
            nonlocal done
            advance(share - done)
            done = share

        report = {"device": asdict(read_device()), **soak(frames, progress)}
    write_report(report, out)
    sys.exit(0 if report["met"] else EXIT_CHECK_FAILED)


if __name__ == "__main__":
    main()
