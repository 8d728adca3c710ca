"""Benchmark the gallery: enrollment, start-up, and the delay until a reader sees a commit.

    python -m profiles.bench.gallery [--codes 1e6] [--out profiles/reports/gallery-x86_64.json]

Durable rates depend on the disk, so the rate of plain fsync calls is measured beside them.
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
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np

from edge_runtime.engine.fake import FakeEngine
from edge_runtime.gallery import Gallery, LabeledCode
from edge_runtime.system.device import read_device
from profiles.bench.support.results import write_report

MODEL = FakeEngine().model
BATCH = 200_000
BATCHES, SINGLE = 10, 1000
LABELS = 1000

START = """
import sys, time
import numpy as np, psutil
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.gallery import Gallery
before = psutil.Process().memory_info().rss
began = time.perf_counter()
gallery = Gallery(sys.argv[1], FakeEngine().model, read_only=True)
matches = gallery.search(np.array([7], np.uint64), 10)
took = time.perf_counter() - began
assert len(matches) == 10
print(took * 1e3, (psutil.Process().memory_info().rss - before) / 2**20)
"""


def random_codes(count: int, seed: int = 1, *, photos: bool = False) -> list[LabeledCode]:
    """Return random codes, spread over LABELS labels.

    `photos`: give each code the digest of a photo, so that the gallery checks for duplicates.
    """
    random = np.random.default_rng(seed)
    codes = random.integers(0, 2**64, (count, 1), dtype=np.uint64)
    return [
        LabeledCode(f"label {number % LABELS}", code, digest=random.bytes(32) if photos else None)
        for number, code in enumerate(codes)
    ]


def rate(count: int, act: Callable[[], object]) -> float:
    """Return the rate per second of `act`, which processes `count` codes."""
    began = time.perf_counter()
    act()
    return count / (time.perf_counter() - began)


def enrollment(folder: Path) -> dict[str, float]:
    """Return codes per second, and plain fsync calls per second on the same disk."""
    batches, photos, singles, syncs = [], [], [], []
    for batch in range(BATCHES):
        batch_codes, photo_codes = (
            random_codes(BATCH, batch),
            random_codes(BATCH, batch, photos=True),
        )
        with Gallery(folder / f"{batch}.photos.sqlite", MODEL, create=True) as gallery:
            photos.append(rate(BATCH, partial(gallery.enroll, photo_codes)))
        with (
            Gallery(folder / f"{batch}.sqlite", MODEL, create=True) as gallery,
            (folder / "plain").open("wb") as plain,
        ):
            batches.append(rate(BATCH, partial(gallery.enroll, batch_codes)))

            def one_by_one(
                gallery: Gallery = gallery, batch_codes: list[LabeledCode] = batch_codes
            ) -> None:
                for code in batch_codes[:SINGLE]:
                    gallery.enroll([code])

            def sync_one_by_one(plain: Any = plain) -> None:
                for _ in range(SINGLE):
                    plain.write(bytes(4096))
                    plain.flush()
                    os.fsync(plain.fileno())

            if batch < 3:
                singles.append(rate(SINGLE, one_by_one))
                syncs.append(rate(SINGLE, sync_one_by_one))
    return {
        "batches": BATCHES,
        "batch_codes": BATCH,
        "batch_codes_per_s": median(batches),
        "batch_slowest_codes_per_s": min(batches),
        "batch_fastest_codes_per_s": max(batches),
        "batch_photos_per_s": median(photos),
        "single_commits_per_s": median(singles),
        "plain_fsyncs_per_s": median(syncs),
    }


def large(path: Path, count: int) -> dict[str, float]:
    """Measure start-up with `count` codes in a fresh process, and the delay of other commits."""
    grown = []
    with Gallery(path, MODEL, create=True) as gallery:
        for first in range(0, count, BATCH):
            batch_codes = random_codes(min(BATCH, count - first), first)
            grown.append(rate(len(batch_codes), partial(gallery.enroll, batch_codes)))
        gallery.search(np.zeros(1, np.uint64))
    runs = []
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-c", START, path], capture_output=True, text=True, check=True
        )
        runs.append([float(number) for number in done.stdout.split()])
    picked_up = []
    with Gallery(path, MODEL, read_only=True) as reader, Gallery(path, MODEL) as writer:
        code = np.array([12345], np.uint64)
        reader.search(code)
        for commit in range(20):
            ids = writer.enroll([LabeledCode("new", code)])
            if commit % 2:
                writer.remove(ids=[number for number in ids if number is not None])
            began = time.perf_counter()
            matches = reader.search(code, 1)
            picked_up.append((time.perf_counter() - began) * 1e3)
            assert matches[0].distance == 0
    return {
        "codes": count,
        "last_batch_codes_per_s": grown[-1],
        "first_answer_p50_ms": median(run[0] for run in runs),
        "rss_p50_mib": median(run[1] for run in runs),
        "pick_up_p50_ms": median(picked_up),
        "pick_up_max_ms": max(picked_up),
    }


@click.command(help=__doc__)
@click.option("--codes", type=float, default=1e6, show_default=True)
@click.option("--out", type=click.Path(path_type=Path))
def main(codes: float, out: Path | None) -> None:
    """Benchmark the gallery and write the report."""
    device = read_device()
    with tempfile.TemporaryDirectory(dir="build" if Path("build").is_dir() else None) as name:
        folder = Path(name)
        report = {
            "schema_version": 1,
            "machine": platform.machine(),
            "cpu": device.cpu,
            "emulated": device.emulated,
            "load_average_before": os.getloadavg()[0],
            "enrolment": enrollment(folder),
            "large": large(folder / "large.sqlite", int(codes)),
        }
    click.echo(json.dumps(report), err=True)
    write_report(report, out)


if __name__ == "__main__":
    main()
