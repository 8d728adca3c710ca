"""Check the verdicts of the profiler.

Two profiles of the same program must compare as equal. If one stage is made 10 % slower, the
comparison must report that stage and no other.

    python -m profiles.bench.profiler [--tries 10] [--model BUNDLE] [--out FILE]

Every trial consists of three `edge-runtime profile --quick` runs in separate processes: A and B
without a change, and C with a slowdown (after its work, the stage spins for another 10 % of the
time). Exit code 9: a target was missed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import click

from demo.scenes import write_enrollment_photos
from edge_runtime.errors import EXIT_CHECK_FAILED, ReportError
from edge_runtime.report import Report, read_report
from edge_runtime.report.compare import SAME, compare
from edge_runtime.system.device import read_device
from profiles.bench.support.results import write_report

STAGES = ("hash", "decode", "fit")
FACTOR = 1.1
TARGETS = {"same_share": 0.9, "found_share": 0.9, "overhead_share": 0.01}

SLOWED_COMMAND = """
import sys, time
from edge_runtime.system.stage_timer import NO_TIMER
stage, factor, *arguments = sys.argv[1:]

def slowed(function):
    def slower(*values, **named):
        began = time.perf_counter()
        result = function(*values, **named)
        until = time.perf_counter() + (time.perf_counter() - began) * (float(factor) - 1)
        while time.perf_counter() < until:
            pass
        return result
    return slower

def slow_engine(kind):
    hash_of = slowed(lambda self, image: plain(self, image))
    plain = kind.hash
    def slower(self, image, timer=NO_TIMER):
        code = hash_of(self, image)
        timer.mark("hash")
        return code
    kind.hash = slower

if stage == "fit":
    import edge_runtime.recognition.pipeline as place
    place.preprocess = slowed(place.preprocess)
elif stage == "decode":
    import edge_runtime.camera.folder as place
    place.read_photo = slowed(place.read_photo)
elif stage == "hash":
    from edge_runtime.engine.compiled import CompiledEngine
    from edge_runtime.engine.portable import PortableEngine
    slow_engine(CompiledEngine)
    slow_engine(PortableEngine)

from edge_runtime.cli import main
main(["profile", "--quick", *arguments])
"""


def one_run(stage: str, out: Path, model: Path | None, photos: Path) -> Report:
    """Take a quick profile with `stage` slowed down; "" slows nothing."""
    options = ["--gallery", str(out.parent / "none.sqlite"), "--out", str(out), str(photos)]
    if model:
        options += ["--model", str(model)]
    done = subprocess.run(
        [sys.executable, "-c", SLOWED_COMMAND, stage, str(FACTOR), *options],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, EXIT_CHECK_FAILED):
        raise ReportError(f"a profile failed: {done.stderr.strip()[-200:]}")
    return read_report(out)


def one_trial(number: int, folder: Path, model: Path | None, photos: Path) -> dict[str, Any]:
    """Run one trial and return the two comparisons."""
    stage = STAGES[number % len(STAGES)]
    a, b, c = (
        one_run(slow, folder / f"{number}{name}.json", model, photos)
        for name, slow in (("a", ""), ("b", ""), ("c", stage))
    )
    same, slower = compare(a, b), compare(b, c)
    return {
        "verdict": same.verdict,
        "differing": same.stages,
        "planted": stage,
        "found": slower.stages,
        "medians": {
            line.stage: [line.a_ms, line.b_ms] for line in same.lines if line.percent == 50
        },
        "planted_ms": next(
            [line.a_ms, line.b_ms]
            for line in slower.lines
            if line.percent == 50 and line.stage == stage
        ),
        "overhead_share": median(r.overhead.p50_share for r in (a, b, c) if r.overhead),
        "brands": sorted({brand.name for report in (a, b, c) for brand in report.brands}),
    }


def judge(tries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Compare the figures with their targets."""
    count = len(tries)
    figures = {
        "same_share": sum(t["verdict"] == SAME and not t["differing"] for t in tries) / count,
        "found_share": sum(list(t["found"]) == [t["planted"]] for t in tries) / count,
        "overhead_share": median(t["overhead_share"] for t in tries),
    }
    targets = {
        name: {
            "figure": figure,
            "bar": TARGETS[name],
            "met": figure <= TARGETS[name] if name == "overhead_share" else figure >= TARGETS[name],
        }
        for name, figure in figures.items()
    }
    return {"bars": targets, "met": all(target["met"] for target in targets.values())}


@click.command(help=__doc__)
@click.option("--tries", type=click.IntRange(1), default=10)
@click.option("--model", type=click.Path(path_type=Path))
@click.option(
    "--keep", type=click.Path(path_type=Path), help="Folder in which to keep the reports."
)
@click.option("--out", type=click.Path(path_type=Path))
def main(tries: int, model: Path | None, keep: Path | None, out: Path | None) -> None:
    """Run the trials and write the report."""
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as name:
        folder = keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        write_enrollment_photos(folder / "photos")
        results = [one_trial(number, folder, model, folder / "photos") for number in range(tries)]
    report = {"device": asdict(read_device()), "tries": results, **judge(results)}
    write_report(report, out)
    sys.exit(0 if report["met"] else EXIT_CHECK_FAILED)


if __name__ == "__main__":
    main()
