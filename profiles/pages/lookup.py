"""The part of docs/results/PERFORMANCE.md that is about the lookup and the gallery."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def lookup(report: dict[str, Any], path: Path) -> list[str]:
    """Times on a real machine, of profiles/bench/lookup.py."""
    emulated = " EMULATED: the times mean nothing." if report["emulated"] else ""
    parts = [
        f"## Lookup, {report['machine']}",
        f"`make bench` on {report['cpu']}, one thread, the {report['k']} nearest of 64-bit codes; "
        f"microseconds a query, Python call included ([report](../../profiles/reports/{path.name}))."
        f'{emulated} "Read" is a plain read of the same bytes (their maximum, by numpy). '
        '"Clustered" are 162 centres with 2 % of the bits flipped, as learned codes are; "real" '
        "are what the shipped network makes of photos and their views. The index was built "
        "beforehand and is there only where the runtime, on trial, found it faster. All are exact "
        "but BinaryMultiHash.",
    ]
    cases = [case for case in report["cases"] if case["bits"] == 64]
    widths = [case for case in report["cases"] if case["bits"] != 64]
    parts.append(_table("codes", cases, lambda case: f"{case['count']:,} {case['kind']}"))
    if widths:
        apart = ", in a later run of their own (`--lengths`)" if report.get("lengths_apart") else ""
        parts += [
            f"Other lengths, {widths[0]['count']:,} uniform codes{apart}:",
            _table("bits", widths, lambda case: str(case["bits"])),
        ]
    lines = []
    if report.get("batch_apart"):
        lines.append("The batches were measured in a later run of their own (`--batch`):\n")
    for batch in report["batch"]:
        what = "full ranking" if batch["k"] == batch["codes"] else f"the {batch['k']} nearest"
        times = ", ".join(f"{name} {ms:.2f}" for name, ms in batch["median_ms"].items())
        lines.append(
            f"- {batch['queries']:,} queries x {batch['codes']:,} codes, {what}, milliseconds: "
            f"{times}"
        )
    right = [case["approximate_right"] for case in cases if "approximate_right" in case]
    if right:
        lines.append(
            f"- faiss BinaryMultiHash (4 hashes of 16 bits, 1 flip) gave all right distances to "
            f"{min(right):.0%} to {max(right):.0%} of the queries."
        )
    return [*parts, "\n".join(lines)]


def lookup_emulated(report: dict[str, Any], path: Path) -> list[str]:
    """Counts on emulated CPUs, of profiles/bench/lookup_emulated.py."""
    widths = list(next(iter(report["counts"].values()))["per_code"])
    rows = [["instructions a code", *(f"{bits} bits" for bits in widths)]]
    rows.append(["---"] * len(rows[0]))
    for name, found in report["counts"].items():
        counts = [f"{found['per_code'][bits]['instructions']:.2f}" for bits in widths]
        rows.append([f"{name} ({found['cpu']})", *counts])
    return [
        "## Lookup, ARM (emulated)",
        f"`python -m profiles.bench.lookup_emulated`: what an emulated CPU does to find the ten "
        f"nearest of {report['codes']:,} uniform codes, one query, warm "
        f"([report](../../profiles/reports/{path.name})). Exact counts, not times.",
        _lines(rows),
    ]


def gallery(report: dict[str, Any], path: Path) -> list[str]:
    """Enrolment and start, of profiles/bench/gallery.py."""
    enrolment, large = report["enrolment"], report["large"]
    return [
        f"## Gallery, {report['machine']}",
        f"`python -m profiles.bench.gallery` on {report['cpu']} "
        f"([report](../../profiles/reports/{path.name})).",
        f"- Enrolment: {enrolment['batch_codes_per_s']:,.0f} codes a second in one call of "
        f"{enrolment['batch_codes']:,} (median of {enrolment['batches']}, from "
        f"{enrolment['batch_slowest_codes_per_s']:,.0f} to "
        f"{enrolment['batch_fastest_codes_per_s']:,.0f}), {enrolment['batch_photos_per_s']:,.0f} "
        f"where each is of a photo that its label must not have twice, "
        f"{enrolment['single_commits_per_s']:,.0f} calls a second of one code each, all durable "
        f"when they return; the same disk does {enrolment['plain_fsyncs_per_s']:,.0f} plain fsync "
        f"calls a second.\n"
        f"- {large['codes']:,} codes: the last {enrolment['batch_codes']:,} went in at "
        f"{large['last_batch_codes_per_s']:,.0f} a second; "
        f"{large['first_answer_p50_ms']:.0f} ms from opening to the first answer in a fresh "
        f"process, {large['rss_p50_mib']:.0f} MiB of memory; what another "
        f"connection commits is found {large['pick_up_p50_ms']:.1f} ms (at most "
        f"{large['pick_up_max_ms']:.1f}) after the question, with the answer.",
    ]


def _table(corner: str, cases: list[dict[str, Any]], name: Callable[[dict[str, Any]], str]) -> str:
    columns = list(dict.fromkeys(column for case in cases for column in case["median_us"]))
    ours = next(column for column in columns if column.startswith("edge-runtime"))
    rows = [[corner, *columns, "ours / read"], ["---"] * (len(columns) + 2)]
    for case in cases:
        times = case["median_us"]
        cells = [f"{times[column]:,.1f}" if column in times else "-" for column in columns]
        rows.append([name(case), *cells, f"{times[ours] / times['read']:.2f}"])
    return _lines(rows)


def _lines(rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
