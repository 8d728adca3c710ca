"""Two reports of the same thing: is B faster, slower, or is there no telling?

Stage by stage, the ratio of medians and of 99th percentiles with a bootstrap interval. Even the
same program on the same machine is never quite as fast twice: memory lies elsewhere, a neighbour
came or went. So a difference of medians counts only

- when the whole interval is beyond a margin, wider where a run was disturbed;
- when the lower quartile says the same: code that became slower is slower always, but a neighbour
  slows some of the samples;
- when it is worth a name: microseconds of a stage that takes microseconds are not.

Photos are unlike: decoding one takes twice as long as another. Where both runs took the same photos
in turn, each photo is compared with itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from edge_runtime.errors import ReportError
from edge_runtime.report.bootstrap import Ratio, ratio
from edge_runtime.report.schema import Report

FASTER, SLOWER, SAME = "faster", "slower", "no difference"
MARGIN = 0.03
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
    """B over A; None: too few samples."""
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """B against A."""

    verdict: str
    """Of the whole: the median query, or end to end where that alone differs."""
    stages: tuple[str, ...]
    """Those whose median differs."""
    lines: tuple[Line, ...]
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
    first, second = (warm.samples.stages_ms[stage] for warm in (a.warm, b.warm))
    sets = _alike(first, second, _photos_in_turn(a, b))
    if min(map(len, sets)) < FEWEST:
        return Line(stage, percent, a_ms, b_ms, None, SAME)
    found = ratio(*sets, percent)
    wider = 1.0 if a.measurement and b.measurement else DISTURBED
    margin = wider * (MARGIN if percent == 50 else MARGIN_P99)
    verdict = SAME
    least_ms = wider * LEAST_SHARE * a.warm.stages["query"].p50_ms
    if abs(found.value - 1) * a_ms >= least_ms:
        verdict = _beyond(found, margin)
    if percent == 50 and verdict != _beyond(ratio(*sets, 25), margin):
        verdict = SAME
    return Line(stage, percent, a_ms, b_ms, found, verdict)


def _beyond(found: Ratio, margin: float) -> str:
    return SLOWER if found.low > 1 + margin else FASTER if found.high < 1 - margin else SAME


def _photos_in_turn(a: Report, b: Report) -> int:
    """How many photos both took in the same turn; 1: not known to be the same."""
    same = a.protocol.pace == b.protocol.pace == "one by one" and (
        (a.input.photo_count, a.protocol.warmup_count)
        == (b.input.photo_count, b.protocol.warmup_count)
    )
    return a.input.photo_count or 1 if same else 1


def _alike(
    first: Sequence[float | None], second: Sequence[float | None], photos: int
) -> tuple[list[float], list[float]]:
    """Both sets of samples, each photo's over what both take for it."""
    if photos < 2 or None in first or None in second or min(len(first), len(second)) < 2 * photos:
        return [ms for ms in first if ms is not None], [ms for ms in second if ms is not None]
    columns = [np.asarray(first, np.float64), np.asarray(second, np.float64)]
    for turn in range(photos):
        both = np.concatenate([column[turn::photos] for column in columns])
        usual = np.percentile(both, 25)  # company of some samples leaves it as it is
        for column in columns:
            column[turn::photos] /= usual or 1.0
    return columns[0].tolist(), columns[1].tolist()


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
