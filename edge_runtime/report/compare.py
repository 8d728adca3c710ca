"""Compare two reports of the same workload: is B faster or slower than A?

For each stage, the ratios of medians and of 99th percentiles are computed with a bootstrap
interval. Even the same program on the same machine varies from run to run: memory is laid out
differently, other programs start and stop. Therefore a difference of medians counts only if

- the whole interval is beyond a margin, which is wider if a run was disturbed;
- the lower quartile gives the same verdict: slower code is slower in every sample, but another
  program slows down only some samples;
- it is a relevant part of the query: microseconds in a stage of microseconds are not.

Before that, known differences are removed (`edge_runtime.report.normalized`): photos that take
different times, and a machine whose speed was not the same in both runs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from edge_runtime.errors import ReportError
from edge_runtime.report.bootstrap import Ratio, ratio
from edge_runtime.report.normalized import calibration_times, normalized, times_of
from edge_runtime.report.schema import Report

FASTER, SLOWER, SAME = "faster", "slower", "no difference"
MARGIN = 0.035
"""Relative difference of medians that two runs of the same program may show."""
MARGIN_P99 = 0.15
"""The same for 99th percentiles."""
LEAST_SHARE = 0.003
"""Share of the median query. Smaller differences of a stage are ignored."""
DISTURBED = 4.0
"""Factor on all three if either report is not a valid measurement."""
MIN_SAMPLES = 32
"""A stage with fewer samples gets no verdict."""


@dataclass(frozen=True)
class Line:
    """One percentile of one stage in both reports."""

    stage: str
    percent: int
    a_ms: float
    b_ms: float
    ratio: Ratio | None
    """B / A, as measured; None: too few samples."""
    normalized: Ratio | None
    """B / A of medians, corrected to a constant machine speed. It decides the verdict."""
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """The comparison of report B with report A."""

    verdict: str
    """Overall verdict: on the median query, or on end to end if only that differs."""
    stages: tuple[str, ...]
    """Stages whose medians differ."""
    lines: tuple[Line, ...]
    machine: Ratio
    """B / A of the calibration loop. Above 1, the machine itself was slower in B."""
    figures: dict[str, tuple[float, float]]
    """Values of A and B that each report has once: memory, cold start, size."""
    warnings: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        data = asdict(self)
        for line in data["lines"]:
            line["steadied"] = line.pop("normalized")  # the key in the JSON format
        return data


def compare(a: Report, b: Report, *, force: bool = False) -> Comparison:
    """Compare two reports.

    Raises `ReportError` if their models, images or paces differ, unless `force`.
    """
    differences = list(_differences(a, b))
    if differences and not force:
        raise ReportError(
            f"the reports measure different things: {'; '.join(differences)}",
            remedy="use --force to compare them anyway",
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
        machine=ratio(*calibration_times(a, b), 50),
        figures=dict(_figures(a, b)),
        warnings=(*differences, *_warnings(a, b)),
    )


def _differences(a: Report, b: Report) -> list[str]:
    differences = []
    for what, left, right in (
        ("model", f"{a.model.name} {a.model.id[:12]}", f"{b.model.name} {b.model.id[:12]}"),
        ("images", _images(a), _images(b)),
        ("pace", _pace(a), _pace(b)),
    ):
        if left != right:
            differences.append(f"{what}: {left} and {right}")
    return differences


def _images(report: Report) -> str:
    size = report.input
    return f"{size.kind} of {size.width_pixels} x {size.height_pixels}"


def _pace(report: Report) -> str:
    per_s = report.protocol.pace_per_s
    return report.protocol.pace + (f" at {per_s:g} per second" if per_s else "")


def _warnings(a: Report, b: Report) -> list[str]:
    warnings = [
        f"{name} is not a valid measurement: {', '.join(flag.name for flag in report.brands)}"
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
            warnings.append(f"{what}: {left} and {right}")
    return warnings


def _line(a: Report, b: Report, stage: str, percent: int) -> Line:
    assert a.warm is not None
    assert b.warm is not None
    a_ms, b_ms = (float(getattr(w.stages[stage], f"p{percent}_ms")) for w in (a.warm, b.warm))
    times = times_of(a, b, stage)
    if min(len(times.a), len(times.b)) < MIN_SAMPLES:
        return Line(stage, percent, a_ms, b_ms, None, None, SAME)
    raw = ratio(times.a, times.b, percent)
    if percent != 50:
        return Line(stage, percent, a_ms, b_ms, raw, None, _verdict(a, b, a_ms, raw, MARGIN_P99))
    corrected = normalized(a, b, times)
    ratio_of_medians = ratio(corrected.a, corrected.b, percent)
    verdict = _verdict(a, b, a_ms, ratio_of_medians, MARGIN)
    if verdict != _verdict(a, b, a_ms, ratio(corrected.a, corrected.b, 25), MARGIN):
        verdict = SAME
    return Line(stage, percent, a_ms, b_ms, raw, ratio_of_medians, verdict)


def _verdict(a: Report, b: Report, a_ms: float, measured: Ratio, margin: float) -> str:
    assert a.warm is not None
    wider = 1.0 if a.measurement and b.measurement else DISTURBED
    if abs(measured.value - 1) * a_ms < wider * LEAST_SHARE * a.warm.stages["query"].p50_ms:
        return SAME
    margin *= wider
    return SLOWER if measured.low > 1 + margin else FASTER if measured.high < 1 - margin else SAME


def _figures(a: Report, b: Report) -> list[tuple[str, tuple[float, float]]]:
    figures = [("model_bytes", (float(a.model.file_bytes), float(b.model.file_bytes)))]
    if a.cold and b.cold:
        figures.append(("cold_start_ms", (a.cold.total_ms, b.cold.total_ms)))
    if a.memory and b.memory:
        figures += [
            ("peak_rss_bytes", (a.memory.peak_rss_bytes, b.memory.peak_rss_bytes)),
            ("uss_bytes", (a.memory.run.uss_bytes, b.memory.run.uss_bytes)),
        ]
    return figures
