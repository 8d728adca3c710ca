"""Generate docs/results/DEVICES.md: budgets, estimates, published and measured times by device.

python -m profiles.pages.devices [--check]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from compile.target.description import HOST, Reference, Target, known_targets, read_target
from edge_runtime.errors import EXIT_CHECK_FAILED, ReportError
from edge_runtime.report import read_report
from edge_runtime.report.budget import MODEL_BUDGET_MB, QUERY_BUDGET_MS
from edge_runtime.report.history import made_at
from profiles.bench.support.results import exit_on_error
from profiles.estimate.report import check_kind

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "results" / "DEVICES.md"
REPORTS = ROOT / "profiles" / "reports"
P50, P99 = "query_p50_ms", "query_p99_ms"
"""Keys of two of the budgets."""
UNITS = {"ms": "ms", "mb": "MB", "bytes": "bytes"}
Entry = dict[str, Any]


def document(reports: Path = REPORTS) -> str:
    """Return the text of the page; raises `EdgeRuntimeError`."""
    estimates = _read(reports / "estimates.json")
    check_kind(estimates, reports / "estimates.json")
    targets = [read_target(name) for name in known_targets() if name != HOST]
    measured = {target.name: newest_measurement(reports / target.name) for target in targets}
    parts = [
        "# Devices",
        "`python -m profiles.pages.devices` generates this page from `profiles/devices/`, "
        "`profiles/reports/estimates.json` and the reports of boards, and a test checks that it is "
        "up to date. All times are for one query (fit, hash, pack, lookup, vote), in milliseconds.",
        f"**Estimated values are not measurements.** {estimates['note']} Each estimate is followed "
        "by the range in which a measurement is expected. To add a device, add a file to "
        "`profiles/devices/`; its `[estimate]` section names the most similar core and board.",
        _measurement_status(measured),
        _overview(targets, estimates, measured),
        _promise(estimates, {one.name: one.budgets[P50] for one in targets if P50 in one.budgets}),
    ]
    for target in targets:
        parts += _device(target, estimates["targets"].get(target.name), measured[target.name])
    parts += _calibration(estimates["calibration"])
    return "\n\n".join(parts) + "\n"


def newest_measurement(folder: Path) -> tuple[str, float, float] | None:
    """Return the file name, p50 and p99 (ms per query) of the newest measurement in `folder`.

    Reports that are emulated, disturbed, cut short or quick do not count.
    """
    reports = [(path.name, read_report(path)) for path in folder.glob("*.json")]
    for name, report in sorted(reports, key=lambda one: made_at(one[1]), reverse=True):
        if report.measurement and report.warm and not report.protocol.quick:
            query = report.warm.stages["query"]
            return name, query.p50_ms, query.p99_ms
    return None


def _read(path: Path) -> Entry:
    try:
        content: Entry = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReportError(
            f"cannot read the report: {error.strerror}",
            where=path,
            remedy="run python -m profiles.estimate",
        ) from error
    except ValueError as error:
        raise ReportError(
            f"not JSON: {error}", where=path, remedy="run python -m profiles.estimate"
        ) from error
    return content


def _measurement_status(measured: dict[str, Any]) -> str:
    missing = [name for name, measurement in measured.items() if measurement is None]
    if len(missing) == len(measured):
        return (
            "**No board has been measured yet.** If you have one, `make device-test TARGET=rpi4 "
            "HOST=pi@raspberrypi.local` measures it; its figures then appear here beside the "
            "estimate."
        )
    return f"Not measured yet: {', '.join(missing)}." if missing else "All devices were measured."


def _overview(targets: list[Target], estimates: Entry, measured: dict[str, Any]) -> str:
    lines = [
        "| device | CPU | budget p50 / p99 | estimated, fp32 | estimated, best precision | "
        "measured p50 / p99 |",
        "|---|---|---|---|---|---|",
    ]
    for target in targets:
        bundles = estimates["targets"].get(target.name, {"precisions": {}})["precisions"]
        plain = _range(bundles["fp32"], "query") if "fp32" in bundles else "-"
        best = min(bundles, key=lambda name: bundles[name]["estimated_query_ms"], default=None)
        quick = f"{best}: {_range(bundles[best], 'query')}" if best else "-"
        budget = " / ".join(f"{target.budgets.get(key, float('nan')):g}" for key in (P50, P99))
        measurement = measured[target.name]
        times = f"{measurement[1]:.1f} / {measurement[2]:.1f}" if measurement else "-"
        lines.append(
            f"| [{target.name}](#{target.name}) | {target.cpu}, {target.clock_mhz / 1e3:g} GHz | "
            f"{budget} | {plain} | {quick} | {times} |"
        )
    return "\n".join(lines)


def _promise(estimates: Entry, budgets: dict[str, float]) -> str:
    """Compare the estimates with the limits of the papers and with the devices' own budgets."""
    bundles = [
        (name, precision, bundle)
        for name, entry in estimates["targets"].items()
        for precision, bundle in entry["precisions"].items()
    ]
    name, precision, slowest = max(bundles, key=lambda one: one[2]["estimated_query_ms"])
    high = max(bundle["estimated_query_high_ms"] for _, _, bundle in bundles)
    size = max(bundle["model_bytes"] for _, _, bundle in bundles)
    beyond = [
        f"{name} with {precision}"
        for name, precision, bundle in bundles
        if bundle["estimated_query_ms"] > budgets.get(name, float("inf"))
    ]
    return (
        f"The papers promise a query within {QUERY_BUDGET_MS:.0f} ms and a network of "
        f"{MODEL_BUDGET_MB:.1f} MB. The slowest case, {name} with {precision}, is estimated at "
        f"{_range(slowest, 'query')} ms, and no range exceeds {_ms(high)} ms. The network has "
        f"{size / 1e6:.2f} MB. Estimates above the device's own p50 budget: "
        f"{', '.join(beyond) or 'none'}."
    )


def _range(bundle: Entry, what: str) -> str:
    middle, low, high = (bundle[f"estimated_{what}{kind}_ms"] for kind in ("", "_low", "_high"))
    return f"{_ms(middle)} ({_ms(low)} to {_ms(high)})"


def _ms(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _device(target: Target, entry: Entry | None, measured: Any) -> list[str]:
    parts = [
        f"## {target.name}",
        f"{target.board}: {target.cores} x {target.cpu} at {target.clock_mhz / 1e3:g} GHz, second-"
        f"level cache {target.l2_kib} KiB, memory {target.memory_mib / 1024:g} GiB.",
        "Budget: "
        + ", ".join(f"{_name(key)} {value:g} {_unit(key)}" for key, value in target.budgets.items())
        + ".",
    ]
    if entry:
        parts += _estimate(entry)
    if target.references:
        parts.append(_published(target.references))
    if measured:
        name, p50_ms, p99_ms = measured
        parts.append(
            f"Measured ([report](../../profiles/reports/{target.name}/{name})): "
            f"p50 {p50_ms:.1f} ms, p99 {p99_ms:.1f} ms."
        )
    return parts


def _name(key: str) -> str:
    return key.rsplit("_", 1)[0].replace("_", " ")


def _unit(key: str) -> str:
    return UNITS.get(key.rsplit("_", 1)[1], "")


def _estimate(entry: Entry) -> list[str]:
    by = entry["estimated_by"]
    text = (
        f"Estimated for one thread, from the cycles of a {by['core']} and the memory of a "
        f"{by['memory']}. "
    )
    if by["by_analogy"]:
        text += (
            f"By analogy: no times of a {entry['cpu']} alone were published; it is at least as "
            "fast as that core. "
        )
    elif not by["is_published"]:
        text += "No times of this board itself were published. "
    text += f"The network's time may be wrong by {by['relative_error']:.0%}:"
    bundles = entry["precisions"]
    stages = list(next(iter(bundles.values()))["stages"])
    lines = [
        "| estimated ms | " + " | ".join(bundles) + " |",
        "|---" * (1 + len(bundles)) + "|",
        *(
            f"| {stage} | "
            + " | ".join(_ms(one["stages"][stage]["estimated_ms"]) for one in bundles.values())
            + " |"
            for stage in stages
        ),
    ]
    for what, name in (("query", "**query**"), ("end_to_end", "with decoding and publishing")):
        cells = " | ".join(_range(one, what) for one in bundles.values())
        lines.append(f"| {name} | {cells} |")
    return [text, "\n".join(lines)]


def _published(references: tuple[Reference, ...]) -> str:
    lines = ["| published times | threads | ms | source |", "|---|---|---|---|"]
    lines += [
        f"| {one.what} | {one.threads} | {one.latency_ms:g} | {one.source} |" for one in references
    ]
    return "\n".join(lines)


def _calibration(calibration: Entry) -> list[str]:
    held_back = calibration["held_back_networks"]
    parts = [
        "## Method and accuracy of the estimates",
        "`python -m profiles.estimate` runs the daemon's query path on a photo of 640 x 480 pixels "
        "inside an emulated process of the device, with the bundle of `make compile`. For every "
        "stage of the third frame it counts instructions by class, bytes moved by vector "
        "instructions, and misses of both caches. The cycles of a core for each of these, and the "
        "nanoseconds of a board per second-level miss, are fitted on published times "
        f"({calibration['source']}). The same networks were counted on the emulated CPU "
        "(`python -m profiles.estimate.nets`, stored in `profiles/calibration/counts.json`). "
        "`python -m profiles.estimate.model` repeats the fit at once.",
        "Only the network is vector code like that of the calibration. The other stages are "
        "branchy code: an interpreter, bit decoders, fixed-point loops. No published row is such "
        "code, so the cycles of their scalar instructions are assumptions, and their estimates may "
        "be wrong by a factor of two in either direction. The kernel's work for the process (page "
        "faults, the camera's driver) is not counted.",
        _errors(calibration),
        f"Excluded from the fit are the networks {', '.join(held_back)} (**bold** below) and "
        "whole boards, of which the model knows only the clock. The tables give published / "
        "estimated milliseconds for one thread.",
    ]
    left_out = [f"- {what}: {why}." for what, why in calibration["left_out"].items()]
    parts.append(
        "\n".join(
            ["These rows of the source are left out of the fit and of these figures:\n", *left_out]
        )
    )
    for core, entry in calibration["cores"].items():
        parts += [f"### {core}", _numbers(entry), _rows(entry["rows"], held_back)]
    return parts


def _errors(calibration: Entry) -> str:
    lines = [
        "| core | rows | | median error | worst error | within the target |",
        "|---|---|---|---|---|---|",
    ]
    for core, entry in calibration["cores"].items():
        for kind, error in entry["errors"].items():
            lines.append(
                f"| {core} | {kind.replace('_', ' ')} | {error['rows']} | "
                f"{error['median_error']:.0%} | {error['worst_error']:.0%} | "
                f"{error['rows_within_bar']} of {error['rows']} within {entry['bar']:.0%} |"
            )
    return "\n".join(lines)


def _numbers(entry: Entry) -> str:
    cycles = ", ".join(
        f"{name.removeprefix('cycles_per_').replace('_', ' ')} {value:.2f}"
        for name, value in entry["cycles"].items()
    )
    memory = ", ".join(
        f"{name} {value:.0f}" for name, value in entry["memory_ns_per_l2_miss"].items()
    )
    return f"Cycles: {cycles}. Nanoseconds per second-level miss: {memory}."


def _rows(rows: list[Entry], held_back: list[str]) -> str:
    boards = list(dict.fromkeys(row["board"] for row in rows))
    held = {row["board"] for row in rows if row["held_back"] == "board"}
    cells = {(row["network"], row["board"]): row for row in rows}
    head = [f"{board} (held back)" if board in held else board for board in boards]
    lines = ["| | " + " | ".join(head) + " |", "|---" * (1 + len(boards)) + "|"]
    for net in sorted({row["network"] for row in rows}):
        name = f"**{net}**" if net in held_back else net
        lines.append(
            f"| {name} | " + " | ".join(_cell(cells.get((net, board))) for board in boards) + " |"
        )
    return "\n".join(lines)


def _cell(row: Entry | None) -> str:
    if row is None:
        return "-"
    return f"{row['published_ms']:.1f} / {row['estimated_ms']:.1f} ({row['error']:+.0%})"


@click.command(help=__doc__)
@click.option("--check", is_flag=True, help="Compare with the existing page instead of writing it.")
def main(check: bool) -> None:
    """Write or check the page."""
    with exit_on_error("devices"):
        text = document()
    if check:
        sys.exit(
            0 if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text else EXIT_CHECK_FAILED
        )
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
