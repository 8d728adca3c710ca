"""A million frames through the whole daemon: does it stay as small as it was?

    python -m profiles.bench.soak [--frames N] [--out FILE]

A real `edge-runtime run` watches a film in an endless loop, as fast as it can: decoding, gate,
network, gallery, decisions, sinks, page and metrics. All the while its page is asked, pictures are
enrolled and removed, and SIGHUP makes it open its camera and gallery anew. Exit code 9: it grew.
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
from profiles.bench.support.harness import CONFIG, Running, enrol, tripod, write_film
from profiles.bench.support.results import deliver

FILM = ("chelsea.png", "coffee.png", "rocket.jpg", "grass.png")
SIDE = (320, 240)
DRIFT_BYTES = 2_000_000
WARM_FRAMES = 2000
"""At least so many come first, however short the run: until then buffers are made."""


@dataclass(frozen=True)
class Sample:
    """The daemon at one moment."""

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
    """The report of a run of so many frames, or, once warm, of `at_most_s`."""
    with tempfile.TemporaryDirectory(prefix="edge-soak-") as name:
        folder = Path(name)
        enrol(folder / "g.sqlite")
        still = 500 if at_most_s == float("inf") else 60
        write_film(folder / "film.mp4", tripod(still, FILM), SIDE, 25)
        config = f'{CONFIG}[camera]\nsource = "film.mp4"\nloop = true\n'
        daemon = Running(folder, config)
        try:
            return _watch(daemon, frames, at_most_s, progress)
        finally:
            daemon.end()


def _watch(
    daemon: Running, frames: int, at_most_s: float, progress: Callable[[float], None]
) -> dict[str, Any]:
    warm = max(WARM_FRAMES, frames // 100)
    samples: list[Sample] = []
    began_s = time.monotonic()
    turn = 0
    warm_s = 0.0
    while True:
        status = daemon.status()
        seen = status["frames"]
        if seen >= warm:
            warm_s = warm_s or time.monotonic()
            samples.append(_sample(daemon, seen))
        progress(min(1.0, seen / frames))
        late = bool(warm_s) and time.monotonic() - warm_s >= at_most_s
        if len(samples) >= 10 and (seen >= max(frames, 2 * warm) or late):
            break
        turn += 1
        _disturb(daemon, turn)
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
        "enrolments": turn // 2,
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


def _sample(daemon: Running, seen: int) -> Sample:
    process = daemon.process
    return Sample(seen, process.memory_info().rss, process.num_threads(), process.num_fds())


def _disturb(daemon: Running, turn: int) -> None:
    """What goes on around a daemon in a year."""
    if turn % 2:
        daemon.ask("/api/labels/passing/frame", "POST")
    else:
        daemon.ask("/api/labels/passing", "DELETE")
    if turn % 5 == 0:  # another rate: the camera is closed and opened anew
        text = daemon.config.read_text().partition("fps")[0]
        daemon.config.write_text(f"{text}fps = {10 + turn % 2}\n")
        daemon.child.send_signal(signal.SIGHUP)
    if turn % 7 == 0:
        daemon.ask("/api/query", "POST", b"no photo")


@click.command()
@click.option("--frames", type=click.IntRange(1000), default=1_000_000, show_default=True)
@click.option("--out", type=click.Path(path_type=Path))
def main(frames: int, out: Path | None) -> None:
    """Soak the daemon."""
    with progress_bar("soaking", 1.0) as advance:
        done = 0.0

        def progress(share: float) -> None:
            nonlocal done
            advance(share - done)
            done = share

        report = {"device": asdict(read_device()), **soak(frames, progress)}
    deliver(report, out)
    sys.exit(0 if report["met"] else EXIT_CHECK_FAILED)


if __name__ == "__main__":
    main()
