"""How long a query would take on boards that nobody here has: estimates, never measurements.

    python -m profiles.estimate [TARGET...] [--precision int8] [--out FILE] [--refit]

For each device (all of them, without a TARGET) and precision whose bundle is in build/ (`make
compile TARGET=...`), the daemon's own path runs over a photo inside an emulated process of the
device, and the instructions and cache misses of every stage are counted (path.py, guest.py). A
model fitted on published times of other networks (model.py) makes latencies of them. A bundle
takes about a minute, once: what FILE has of the same bytes is not counted again
(remove it after a change of the counting itself).
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from compile.target.description import HOST, Target, known_targets, read_target, tuned_by
from edge_runtime.bundle import LIBRARY, MODEL, is_bundle, read_manifest
from edge_runtime.errors import ReportError, TargetError, ToolchainError
from profiles.bench.support.results import deliver, one_line
from profiles.estimate.calibration import read_calibration
from profiles.estimate.report import check_kind, likeness_of, new_report, put, remade

ROOT = Path(__file__).resolve().parent.parent.parent
REPORT = ROOT / "profiles" / "reports" / "estimates.json"
PRECISIONS = ("fp32", "fp16", "int8")


def devices(names: tuple[str, ...]) -> list[Target]:
    """The devices `names`, or all of them; raises `TargetError`."""
    if HOST in names:
        raise TargetError("this machine needs no estimate", where=HOST, remedy="make profile")
    targets = [read_target(name) for name in names or known_targets() if name != HOST]
    for target in targets:
        likeness_of(target)
    return targets


def bundle_of(target: Target, precision: str) -> Path:
    """Where `make compile` leaves it."""
    name = target.name if precision == "fp32" else f"{target.name}-{precision}"
    return ROOT / "build" / name


def alike(target: Target, precision: str) -> Target:
    """All of the device that its counts depend on: code, which follows from the tuning records,
    emulated CPU, caches."""
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
    """The devices whose bundle tells what `target` would do: itself, and those that differ from it
    in clock and memory alone, since they run the same code but for the name in it."""
    others = [read_target(name) for name in known_targets() if name not in (HOST, target.name)]
    wanted = alike(target, precision)
    same = [target, *(other for other in others if alike(other, precision) == wanted)]
    return [one for one in same if is_bundle(bundle_of(one, precision))]


def count(
    report: dict[str, Any], targets: list[Target], precisions: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    """Put the counts of every bundle that is not there yet into `report`, and give it each time."""
    try:
        from compile.emulation.userland import Userland
        from profiles.estimate.path import count_stages, make_material
    except ImportError as error:
        raise ToolchainError(
            f"{error.name} is not installed here",
            where=sys.executable,
            remedy="make estimate, or make setup-compile and .venv-compile/bin/python",
        ) from error
    userland = Userland()
    with tempfile.TemporaryDirectory(prefix="edge-estimate-") as folder:
        for target, precision in itertools.product(targets, precisions):
            if not (found := sources(target, precision)):
                continue
            source, bundle = found[0], bundle_of(found[0], precision)
            facts = _facts(source, bundle)
            kept, twin = (_counted(report, one, precision, facts) for one in (target, source))
            if kept:
                continue
            if not twin:
                userland.make()
                material = make_material(bundle, Path(folder))
                stages = count_stages(userland, source, bundle, material)
                twin = {
                    **facts,
                    "gallery_items": material.items,
                    "stages": {name: {"counts": one.as_dict()} for name, one in stages.items()},
                }
            put(report, target, precision, twin)
            click.echo(f"{target.name} {precision}: counted", err=True)
            yield report


def _facts(source: Target, bundle: Path) -> dict[str, Any]:
    """What was counted, as the report has it: the same bytes need not be counted again."""
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
    """What `report` has of the device already, if it is of the bundle of `facts`."""
    entry = report["targets"].get(target.name, {"precisions": {}})["precisions"].get(precision)
    same = entry and all(entry[name] == fact for name, fact in facts.items())
    return entry if same else None


@click.command(help=__doc__)
@click.argument("names", metavar="[TARGET]...", nargs=-1)
@click.option("--precision", "precisions", multiple=True, type=click.Choice(PRECISIONS))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default=REPORT)
@click.option("--refit", is_flag=True, help="Count nothing: only the model is new.")
def main(names: tuple[str, ...], precisions: tuple[str, ...], out: Path, refit: bool) -> None:
    """Command: see the module."""
    with one_line("estimate"):
        estimate(names, precisions or PRECISIONS, out, refit=refit)


def estimate(
    names: tuple[str, ...], precisions: tuple[str, ...], out: Path, *, refit: bool
) -> None:
    """Count, fit, write and tell; raises `EdgeRuntimeError`."""
    if not out.parent.is_dir():  # to be known before minutes of counting
        raise ReportError("no such folder", where=out.parent, remedy="name another with --out")
    targets, calibration = devices(names), read_calibration()
    report = read_report(out) if out.exists() else new_report()
    for target in targets:
        bundles = any(sources(target, precision) for precision in precisions) and not refit
        if not bundles and target.name not in report["targets"]:
            raise ReportError(
                "no bundle to estimate with",
                where=target.name,
                remedy=f"make compile TARGET={target.name}",
            )
    if not refit:
        for counted in count(report, targets, precisions):
            deliver(remade(counted, calibration), out)  # what was counted is never lost
    report = remade(report, calibration)
    deliver(report, out)
    for target in targets:
        for line in told(report["targets"][target.name]):
            click.echo(line)


def read_report(path: Path) -> dict[str, Any]:
    """An earlier report; raises `ReportError`."""
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


def told(entry: dict[str, Any]) -> Iterator[str]:
    """What the terminal shows of a device."""
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
