"""Estimate how long a query takes on each board. Estimates are not measurements.

    python -m profiles.estimate [TARGET...] [--precision int8] [--out FILE] [--refit]

For each device (without TARGET: all of them) and each precision whose bundle is in build/ (`make
compile TARGET=...`), the daemon's query path runs on a photo inside an emulated process of the
device, and the instructions and cache misses of every stage are counted (path.py, guest.py). A
model that is fitted on published times of other networks (latency.py) turns the counts into
latencies. Counting takes about a minute per bundle and happens once: counts in FILE for the same
bytes are reused. Remove FILE after a change of the counting itself.
"""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from compile.emulation.userland import Userland
from compile.target.description import HOST, Target, known_targets, read_target, tuned_by
from edge_runtime.bundle import LIBRARY, MODEL, is_bundle
from edge_runtime.errors import ReportError, TargetError
from edge_runtime.trust.manifest import read_manifest
from profiles.bench.support.results import exit_on_error, write_report
from profiles.estimate.calibration import read_calibration
from profiles.estimate.path import count_stages, make_material
from profiles.estimate.report import add_counts, check_kind, likeness_of, new_report, with_estimates

ROOT = Path(__file__).resolve().parent.parent.parent
REPORT = ROOT / "profiles" / "reports" / "estimates.json"
PRECISIONS = ("fp32", "fp16", "int8")


def devices(names: tuple[str, ...]) -> list[Target]:
    """Return the devices `names`, or all of them; raises `TargetError`."""
    if HOST in names:
        raise TargetError("this machine can be measured instead", where=HOST, remedy="make profile")
    targets = [read_target(name) for name in names or known_targets() if name != HOST]
    for target in targets:
        likeness_of(target)
    return targets


def bundle_of(target: Target, precision: str) -> Path:
    """Return the folder in which `make compile` leaves the bundle."""
    name = target.name if precision == "fp32" else f"{target.name}-{precision}"
    return ROOT / "build" / name


def counting_key(target: Target, precision: str) -> Target:
    """Return the target reduced to the properties that its counts depend on.

    These are the code, which follows from the tuning records, the emulated CPU and the caches.
    """
    return replace(
        target,
        name="",
        tuned_like=tuned_by(target, precision).name,
        board="",
        cores=1,
        clock_mhz=0,
        memory_mib=0,
        cost=(0, 0, 0),
        likeness=None,
        budgets={},
        references=(),
    )


def sources(target: Target, precision: str) -> list[Target]:
    """Return the devices whose existing bundle can be counted for `target`.

    These are the target itself and devices that differ only in clock and memory: their code is
    the same except for the name in it.
    """
    others = [read_target(name) for name in known_targets() if name not in (HOST, target.name)]
    key = counting_key(target, precision)
    same = [target, *(other for other in others if counting_key(other, precision) == key)]
    return [one for one in same if is_bundle(bundle_of(one, precision))]


def count(
    report: dict[str, Any], targets: list[Target], precisions: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    """Add the counts of every missing bundle to `report`, and yield it after each."""
    userland = Userland()
    with tempfile.TemporaryDirectory(prefix="edge-estimate-") as folder:
        for target, precision in itertools.product(targets, precisions):
            if not (candidates := sources(target, precision)):
                continue
            source, bundle = candidates[0], bundle_of(candidates[0], precision)
            facts = _facts(source, bundle)
            own, counts = (_counted(report, one, precision, facts) for one in (target, source))
            if own:
                continue
            if not counts:
                userland.make()
                material = make_material(bundle, Path(folder))
                stages = count_stages(userland, source, bundle, material)
                counts = {
                    **facts,
                    "gallery_items": material.codes,
                    "stages": {name: {"counts": one.as_dict()} for name, one in stages.items()},
                }
            add_counts(report, target, precision, counts)
            click.echo(f"{target.name} {precision}: counted", err=True)
            yield report


def _facts(source: Target, bundle: Path) -> dict[str, Any]:
    """Return the entries that identify what was counted, so that it is not counted again."""
    manifest = read_manifest(bundle)
    return {
        "counted_on": source.name,
        "model": manifest["model"]["id"],
        "model_bytes": manifest["files"][MODEL]["bytes"],
        "library": manifest["files"][LIBRARY]["sha256"],
        "library_bytes": manifest["files"][LIBRARY]["bytes"],
    }


def _counted(
    report: dict[str, Any], target: Target, precision: str, facts: dict[str, Any]
) -> dict[str, Any] | None:
    """Return the entry of the device in `report` if it was counted on the bundle of `facts`."""
    entry = report["targets"].get(target.name, {"precisions": {}})["precisions"].get(precision)
    same = entry and all(entry[name] == fact for name, fact in facts.items())
    return entry if same else None


@click.command(help=__doc__)
@click.argument("names", metavar="[TARGET]...", nargs=-1)
@click.option("--precision", "precisions", multiple=True, type=click.Choice(PRECISIONS))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default=REPORT)
@click.option("--refit", is_flag=True, help="Count nothing; only fit the model again.")
def main(names: tuple[str, ...], precisions: tuple[str, ...], out: Path, refit: bool) -> None:
    """Estimate every device and print the results."""
    with exit_on_error("estimate"):
        estimate(names, precisions or PRECISIONS, out, refit=refit)


def estimate(
    names: tuple[str, ...], precisions: tuple[str, ...], out: Path, *, refit: bool
) -> None:
    """Count, fit, write the report and print it; raises `EdgeRuntimeError`."""
    if not out.parent.is_dir():  # check this before minutes of counting
        raise ReportError("folder not found", where=out.parent, remedy="name another with --out")
    targets, calibration = devices(names), read_calibration()
    report = read_report(out) if out.exists() else new_report()
    for target in targets:
        bundles = any(sources(target, precision) for precision in precisions) and not refit
        if not bundles and target.name not in report["targets"]:
            raise ReportError(
                "no bundle found",
                where=target.name,
                remedy=f"make compile TARGET={target.name}",
            )
    if not refit:
        for counted in count(report, targets, precisions):
            write_report(with_estimates(counted, calibration), out)  # saves the counts so far
    report = with_estimates(report, calibration)
    write_report(report, out)
    for target in targets:
        for line in summary_lines(report["targets"][target.name]):
            click.echo(line)


def read_report(path: Path) -> dict[str, Any]:
    """Read an earlier report; raises `ReportError`."""
    try:
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(report, dict):
            raise ValueError("not an object")
    except (OSError, ValueError) as error:
        raise ReportError(
            f"not a report: {error}", where=path, remedy="name another file with --out"
        ) from error
    check_kind(report, path)
    return report


def summary_lines(entry: dict[str, Any]) -> Iterator[str]:
    """Yield the lines that the terminal shows for a device."""
    for precision, bundle in entry["precisions"].items():
        query, low, high = (bundle[f"estimated_query{kind}_ms"] for kind in ("", "_low", "_high"))
        yield (
            f"{entry['board']}, {precision}: a query is estimated at {query:.0f} ms "
            f"({low:.0f} to {high:.0f}), not measured"
        )
        for name, stage in bundle["stages"].items():
            yield f"  {name:8} {stage['estimated_ms']:9.2f} ms, estimated"


if __name__ == "__main__":
    main()
