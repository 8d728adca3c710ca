"""Two reports of the same thing: is B faster, slower, or is there no telling?

Stage by stage, the ratio of medians and of 99th percentiles with a bootstrap interval. Even the
same program on the same machine is never quite as fast twice: memory lies elsewhere, a neighbour
came or went. So a difference of medians counts only

- when the whole interval is beyond a margin, wider where a run was disturbed;
- when the lower quartile says the same: code that became slower is slower always, but a neighbour
  slows some of the samples;
- when it is worth a name: microseconds of a stage that takes microseconds are not.

Before, what is known to differ is taken out (`edge_runtime.report.normalized`): photos that are
unlike, and a machine that was not equally fast in both runs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from edge_runtime.errors import ReportError
from edge_runtime.report.bootstrap import Ratio, ratio
from edge_runtime.report.normalized import machine, steadied, times_of
from edge_runtime.report.schema import Report

FASTER, SLOWER, SAME = "faster", "slower", "no difference"
MARGIN = 0.035
"""Of a median, by which two runs of the same thing may differ."""
MARGIN_P99 = 0.15
"""Of a 99th percentile likewise."""
LEAST_SHARE = 0.003
"""Of the median query: smaller differences of a stage have no name."""
DISTURBED = 4.0
"""How much wider all of these are where either report is no measurement."""
FEWEST = 32
"""Samples, of a stage, below which nothing is said."""


@dataclass(frozen=True)
class Line:
    """One percentile of one stage in both reports."""

    stage: str
    percent: int
    a_ms: float
    b_ms: float
    ratio: Ratio | None
    """B over A, as measured; None: too few samples."""
    steadied: Ratio | None
    """Of medians: had the machine been equally fast all the time. What the verdict is about."""
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """B against A."""

    verdict: str
    """Of the whole: the median query, or end to end where that alone differs."""
    stages: tuple[str, ...]
    """Those whose median differs."""
    lines: tuple[Line, ...]
    machine: Ratio
    """B over A of the yardstick: above 1, the machine itself was slower in B."""
    figures: dict[str, tuple[float, float]]
    """What has one number a report, A's and B's: memory, cold start, size."""
    warnings: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


def compare(a: Report, b: Report, *, force: bool = False) -> Comparison:
    """Raises `ReportError` for reports of different models or inputs, unless `force`."""
    differences = list(_differences(a, b))
    if differences and not force:
        raise ReportError(
            f"not the same thing: {'; '.join(differences)}",
            remedy="--force compares them all the same",
        )
    if a.warm is None or b.warm is None:
        raise ReportError(f"report {'A' if a.warm is None else 'B'} ended before its first sample")
    lines = [
        _line(a, b, stage, percent)
        for stage in a.warm.stages
        if stage in b.warm.stages
        for percent in (50, 99)
    ]
    medians = {line.stage: line.verdict for line in lines if line.percent == 50}
    wholes = [medians.get(name, SAME) for name in ("query", "end_to_end")]
    verdict = next((word for word in wholes if word != SAME), SAME)
    return Comparison(
        verdict=verdict,
        stages=tuple(
            name
            for name, word in medians.items()
            if word != SAME and name not in ("query", "end_to_end")
        ),
        lines=tuple(lines),
        machine=ratio(*machine(a, b), 50),
        figures=dict(_figures(a, b)),
        warnings=(*differences, *_doubts(a, b)),
    )


def _differences(a: Report, b: Report) -> list[str]:
    found = []
    for what, left, right in (
        ("model", f"{a.model.name} {a.model.id[:12]}", f"{b.model.name} {b.model.id[:12]}"),
        ("pictures", _pictures(a), _pictures(b)),
        ("pace", _pace(a), _pace(b)),
    ):
        if left != right:
            found.append(f"{what}: {left} and {right}")
    return found


def _pictures(report: Report) -> str:
    size = report.input
    return f"{size.kind} of {size.width_pixels} x {size.height_pixels}"


def _pace(report: Report) -> str:
    per_s = report.protocol.pace_per_s
    return report.protocol.pace + (f" at {per_s:g} a second" if per_s else "")


def _doubts(a: Report, b: Report) -> list[str]:
    doubts = [
        f"{name} is no measurement: {', '.join(brand.name for brand in report.brands)}"
        for name, report in (("A", a), ("B", b))
        if not report.measurement
    ]
    for what, left, right in (
        ("machine", a.device.model or a.device.cpu, b.device.model or b.device.cpu),
        ("engine", a.engine.name, b.engine.name),
        ("target", a.engine.target, b.engine.target),
        ("precision", a.engine.precision, b.engine.precision),
        ("threads", a.engine.thread_count, b.engine.thread_count),
        ("governor", a.device.governor, b.device.governor),
        ("gate", a.protocol.gate, b.protocol.gate),
        ("enrolled codes", a.gallery.item_count, b.gallery.item_count),
    ):
        if left != right:
            doubts.append(f"{what}: {left} and {right}")
    return doubts


def _line(a: Report, b: Report, stage: str, percent: int) -> Line:
    assert a.warm is not None
    assert b.warm is not None
    a_ms, b_ms = (float(getattr(w.stages[stage], f"p{percent}_ms")) for w in (a.warm, b.warm))
    times = times_of(a, b, stage)
    if min(len(times.a), len(times.b)) < FEWEST:
        return Line(stage, percent, a_ms, b_ms, None, None, SAME)
    raw = ratio(times.a, times.b, percent)
    if percent != 50:
        return Line(stage, percent, a_ms, b_ms, raw, None, _verdict(a, b, a_ms, raw, MARGIN_P99))
    calm = steadied(a, b, times)
    found = ratio(calm.a, calm.b, percent)
    verdict = _verdict(a, b, a_ms, found, MARGIN)
    if verdict != _verdict(a, b, a_ms, ratio(calm.a, calm.b, 25), MARGIN):
        verdict = SAME
    return Line(stage, percent, a_ms, b_ms, raw, found, verdict)


def _verdict(a: Report, b: Report, a_ms: float, found: Ratio, margin: float) -> str:
    assert a.warm is not None
    wider = 1.0 if a.measurement and b.measurement else DISTURBED
    if abs(found.value - 1) * a_ms < wider * LEAST_SHARE * a.warm.stages["query"].p50_ms:
        return SAME
    margin *= wider
    return SLOWER if found.low > 1 + margin else FASTER if found.high < 1 - margin else SAME


def _figures(a: Report, b: Report) -> list[tuple[str, tuple[float, float]]]:
    found = [("model_bytes", (float(a.model.file_bytes), float(b.model.file_bytes)))]
    if a.cold and b.cold:
        found.append(("cold_start_ms", (a.cold.total_ms, b.cold.total_ms)))
    if a.memory and b.memory:
        found += [
            ("peak_rss_bytes", (a.memory.peak_rss_bytes, b.memory.peak_rss_bytes)),
            ("uss_bytes", (a.memory.run.uss_bytes, b.memory.run.uss_bytes)),
        ]
    return found
