"""Measure what a fleet costs a board: memory, time of a version, bytes of polls and of versions.

    python -m profiles.bench.fleet.costs [--rounds 5] [--out FILE]

A real desk publishes, a static file server serves its folder and counts bytes, and mosquitto runs
if it is installed. All bytes are exact. Memory is that of a fresh process; the times are CPU and
wall times of this process. Exit code 9: a target was missed.
"""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np

from demo.scenes import write_enrollment_photos
from edge_runtime.desk.folder import Desk
from edge_runtime.desk.publish import publish
from edge_runtime.desk.settings import Broker, DeskSettings
from edge_runtime.desk.setup import make_desk
from edge_runtime.errors import EXIT_CHECK_FAILED
from edge_runtime.fleet.apply import apply_version
from edge_runtime.fleet.follower import Follower, board_state
from edge_runtime.fleet.following.joined import Joined, write_joined
from edge_runtime.fleet.operations import Add, read_version, write_version
from edge_runtime.gallery import Gallery, LabeledCode
from edge_runtime.gallery.pictures import view_digest
from edge_runtime.system.device import read_device
from profiles.bench.fleet.board import MODEL, VIEWS
from profiles.bench.fleet.counting import CountingServer
from profiles.bench.fleet.parts import BROKER, ROOT, free_port
from profiles.bench.support.results import exit_on_error, write_report

PHOTOS, LABELS = 1000, 50
"""Photos of the first version, and as many in the second: 6,000 codes of six views each."""
TARGETS = {
    "memory_mb": 25.0,
    "apply_s": 0.5,
    "bytes_per_photo": 110.0,
    "idle_requests": 1.0,
    "idle_bytes": 500.0,
    "metadata_bytes": 10_000.0,
}
FLEET = "bench"


@click.command(help=__doc__)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Write the report to this file.")
def main(rounds: int, out: Path | None) -> None:
    """Measure and report."""
    with exit_on_error("costs"), tempfile.TemporaryDirectory(prefix="fleet-costs-") as name:
        report = measure(Path(name), rounds)
    write_report(report, out)
    if any(bar["figure"] > bar["bar"] for bar in report["bars"].values()):
        sys.exit(EXIT_CHECK_FAILED)


def measure(folder: Path, rounds: int) -> dict[str, Any]:
    """Return the report; raises `EdgeRuntimeError`."""
    rng = np.random.default_rng(5)
    with ExitStack() as stack:
        port = stack.enter_context(_broker())
        first = folder / "first.sqlite"
        with Gallery(first, MODEL, create=True) as gallery:
            gallery.enroll(_photos(rng, 0))
        at = None if port is None else Broker(host="127.0.0.1", port=port)
        settings = DeskSettings(fleet=FLEET, broker=at)
        desk = make_desk(folder / "desk", folder / "root", settings, gallery=first)
        server = CountingServer(desk.public)
        stack.callback(server.close)
        board = _join(folder / "board.sqlite", server.url, desk)
        memory = _memory(board)
        follower = Follower(board)
        follower.poll()  # the first one of a process also asks for new root keys
        server.clear()
        follower.poll()
        idle = server.total("/")
        with desk.gallery() as gallery:
            gallery.enroll(_photos(rng, PHOTOS))
            gallery.relabel("label 1", "renamed")
            gallery.remove(label="label 2")
        before = folder / "before.sqlite"
        shutil.copy(board, before)
        publish(desk)
        delta = next((desk.public / "targets" / "gallery" / "delta").iterdir())
        times = [_apply(before, delta, folder / "round.sqlite") for _ in range(rounds)]
        server.clear()
        follower.poll()
        assert board_state(board).version == 2
        metadata = server.total("/metadata/")
        photos = _without_changes(delta)
    features = _with_features(folder / "features")
    figures = {
        "memory_mb": (memory["after"] - memory["before"]) / 1e6,
        "apply_s": median(wall_s for wall_s, _ in times),
        "bytes_per_photo": photos / PHOTOS,
        "idle_requests": idle["requests"],
        "idle_bytes": idle["body"],
        "metadata_bytes": metadata["body"],
    }
    return {
        "device": asdict(read_device()),
        "memory": memory,
        "photos": PHOTOS,
        "codes": PHOTOS * VIEWS,
        "rounds": rounds,
        "apply_cpu_s": median(cpu_s for _, cpu_s in times),
        "delta_bytes": delta.stat().st_size,
        "features": features,
        "idle": idle,
        "metadata": metadata,
        "bars": {name: {"figure": figures[name], "bar": bar} for name, bar in TARGETS.items()},
    }


@contextmanager
def _broker() -> Iterator[int | None]:
    """Run mosquitto and yield its port; None if it is not installed."""
    if BROKER is None:
        yield None
        return
    port, quiet = free_port(), subprocess.DEVNULL
    broker = subprocess.Popen([BROKER, "-p", str(port)], stdout=quiet, stderr=quiet)
    try:
        yield port
    finally:
        broker.kill()
        broker.wait()


def _photos(rng: np.random.Generator, first: int) -> list[LabeledCode]:
    """Return photos with random codes and digests, which cannot be compressed."""
    listed = []
    for number in range(first, first + PHOTOS):
        digest = rng.bytes(32)
        for view in range(VIEWS):
            code = np.frombuffer(rng.bytes(8), np.uint64)
            label, source = f"label {number % LABELS}", f"photo-{number}.jpg"
            listed.append(LabeledCode(label, code, source, view_digest(digest, view)))
    return listed


def _join(path: Path, url: str, desk: Desk) -> Path:
    Gallery(path, MODEL, create=True).close()
    write_joined(path, Joined(board="north", url=url, fleet=FLEET), desk.root.read_bytes())
    Follower(path).poll()
    return path


def _memory(board: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "profiles.bench.fleet.memory", str(board)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def _apply(before: Path, delta: Path, copy: Path) -> tuple[float, float]:
    """Apply `delta` to a copy of the gallery; return wall and CPU time in seconds."""
    shutil.copy(before, copy)
    with Gallery(copy) as gallery, delta.open("rb") as file:
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        applied = apply_version(gallery, *read_version(file))
        took = time.perf_counter() - wall_s, time.process_time() - cpu_s
        assert applied.version == 2
    for leftover in copy.parent.glob(f"{copy.name}*"):
        leftover.unlink()
    return took


def _without_changes(delta: Path) -> int:
    """Return the bytes of a delta that has only the added photos, without the files' names."""
    with delta.open("rb") as file:
        head, operations = read_version(file)
        adds = [replace(each, source="") for each in operations if isinstance(each, Add)]
    smaller = delta.parent.parent / "adds"
    with smaller.open("wb") as file:
        write_version(file, head, adds)
    size = smaller.stat().st_size
    smaller.unlink()
    return size


def _with_features(folder: Path) -> dict[str, Any]:
    """Return the bytes per photo of a full file of real photos, with and without features."""
    write_enrollment_photos(folder / "photos")
    gallery = folder / "gallery.sqlite"
    command = [sys.executable, "-m", "edge_runtime", "enroll", str(folder / "photos")]
    subprocess.run(
        [*command, "--gallery", str(gallery)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )
    desk = make_desk(folder / "desk", folder / "root", DeskSettings(fleet=FLEET), gallery=gallery)
    full = next((desk.public / "targets" / "gallery" / "full").iterdir())
    with full.open("rb") as file:
        _, operations = read_version(file)
        adds = [each for each in operations if isinstance(each, Add)]
    numbers = adds[0].features
    assert numbers
    with gzip.open(full) as file:
        plain = len(file.read())
    return {
        "photos": len(adds),
        "numbers": len(numbers[0]),
        "bytes_per_photo": full.stat().st_size / len(adds),
        "uncompressed_bytes_per_photo": plain / len(adds),
    }


if __name__ == "__main__":
    main()
