"""The sections of docs/results/PERFORMANCE.md about the lookup and the gallery."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def lookup(report: dict[str, Any], path: Path) -> list[str]:
    """Return the section with times on a real machine, from profiles/bench/lookup.py."""
    emulated = " EMULATED: the times are not valid." if report["emulated"] else ""
    parts = [
        f"## Lookup, {report['machine']}",
        f"`make bench` on {report['cpu']} with one thread: the {report['k']} nearest of 64-bit "
        f"codes, in microseconds per query, including the Python call "
        f"([report](../../profiles/reports/{path.name})).{emulated}",
        '"Read" is a plain read of the same bytes (their maximum, by numpy). "Clustered" codes are '
        '162 centers with 2 % of the bits flipped, similar to learned codes. "Real" codes are '
        "those of photos and their views by the shipped network. The index was built beforehand "
        "and is used only where the runtime measured it to be faster. All contenders except "
        "BinaryMultiHash are exact.",
    ]
    cases = [case for case in report["cases"] if case["bits"] == 64]
    widths = [case for case in report["cases"] if case["bits"] != 64]
    parts.append(_table("codes", cases, lambda case: f"{case['count']:,} {case['kind']}"))
    if widths:
        apart = ", measured in a later run (`--lengths`)" if report.get("lengths_apart") else ""
        parts += [
            f"Other lengths, {widths[0]['count']:,} uniform codes{apart}:",
            _table("bits", widths, lambda case: str(case["bits"])),
        ]
    lines = []
    if report.get("batch_apart"):
        lines.append("The batches were measured in a later run (`--batch`):\n")
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
            f"- faiss BinaryMultiHash (4 hashes of 16 bits, 1 flip) returned only correct "
            f"distances for {min(right):.0%} to {max(right):.0%} of the queries, depending on "
            "the case."
        )
    return [*parts, "\n".join(lines)]


def lookup_emulated(report: dict[str, Any], path: Path) -> list[str]:
    """Return the section with counts on emulated CPUs, from profiles/bench/lookup_emulated.py."""
    widths = list(next(iter(report["counts"].values()))["per_code"])
    rows = [["instructions per code", *(f"{bits} bits" for bits in widths)]]
    rows.append(["---"] * len(rows[0]))
    for name, target in report["counts"].items():
        counts = [f"{target['per_code'][bits]['instructions']:.2f}" for bits in widths]
        rows.append([f"{name} ({target['cpu']})", *counts])
    return [
        "## Lookup, ARM (emulated)",
        f"`python -m profiles.bench.lookup_emulated`: instructions per code on an emulated "
        f"CPU for one warm query for the ten nearest of {report['codes']:,} uniform codes "
        f"([report](../../profiles/reports/{path.name})). These are exact counts, not times.",
        _lines(rows),
    ]


def gallery(report: dict[str, Any], path: Path) -> list[str]:
    """Return the section about enrollment and start-up, from profiles/bench/gallery.py."""
    enrollment, large = report["enrolment"], report["large"]
    return [
        f"## Gallery, {report['machine']}",
        f"`python -m profiles.bench.gallery` on {report['cpu']} "
        f"([report](../../profiles/reports/{path.name})).",
        f"- Enrollment: {enrollment['batch_codes_per_s']:,.0f} codes per second in one call with "
        f"{enrollment['batch_codes']:,} codes (median of {enrollment['batches']}, from "
        f"{enrollment['batch_slowest_codes_per_s']:,.0f} to "
        f"{enrollment['batch_fastest_codes_per_s']:,.0f}); {enrollment['batch_photos_per_s']:,.0f} "
        f"per second if each code belongs to a photo that is checked for duplicates within its "
        f"label; {enrollment['single_commits_per_s']:,.0f} calls per second with one code each. "
        f"All codes are durable when the call returns. The same disk does "
        f"{enrollment['plain_fsyncs_per_s']:,.0f} plain fsync calls per second.\n"
        f"- With {large['codes']:,} codes: the last {enrollment['batch_codes']:,} were added at "
        f"{large['last_batch_codes_per_s']:,.0f} per second. A fresh process takes "
        f"{large['first_answer_p50_ms']:.0f} ms from opening to the first answer and "
        f"{large['rss_p50_mib']:.0f} MiB of memory. A query that follows a commit of another "
        f"connection finds it in {large['pick_up_p50_ms']:.1f} ms (at most "
        f"{large['pick_up_max_ms']:.1f} ms), including the answer.",
    ]


def _table(corner: str, cases: list[dict[str, Any]], name: Callable[[dict[str, Any]], str]) -> str:
    columns = list(dict.fromkeys(column for case in cases for column in case["median_us"]))
    ours = next(column for column in columns if column.startswith("edge-runtime"))
    rows = [[corner, *columns, "edge-runtime / read"], ["---"] * (len(columns) + 2)]
    for case in cases:
        times = case["median_us"]
        cells = [f"{times[column]:,.1f}" if column in times else "-" for column in columns]
        rows.append([name(case), *cells, f"{times[ours] / times['read']:.2f}"])
    return _lines(rows)


def _lines(rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
