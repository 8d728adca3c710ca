"""Print a report in the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from edge_runtime.report.schema import Operators, Report, Summary

BAR = 28
"""Length of the longest bar, characters."""
TOP = 6
"""Number of operators shown."""
_SPARKS = "▁▂▃▄▅▆▇█"


def show(report: Report, console: Console) -> None:
    """Print `report` to `console`."""
    console.print(Group(*parts(report)), highlight=False, soft_wrap=True)


def parts(report: Report) -> Iterator[RenderableType]:
    """Yield the parts of the output: conditions, stages, cold start, memory, verdict."""
    yield from _head(report)
    if report.warm is not None:
        yield _stages(report)
        yield Text(_pace(report), style="dim")
    if report.cold is not None:
        cold = {name: getattr(report.cold, name) for name in report.cold.__struct_fields__}
        total_ms = cold.pop("total_ms")
        yield _bars(
            f"cold start, {total_ms:.0f} ms (median of {len(report.cold_starts)} processes)",
            {name.removesuffix("_ms"): ms for name, ms in cold.items()},
            "ms",
        )
    if report.memory is not None:
        of = report.memory.parts
        yield _bars(
            f"memory, {report.memory.run.rss_bytes / 1e6:.0f} MB resident, "
            f"{report.memory.run.uss_bytes / 1e6:.0f} MB unique, "
            f"peak {report.memory.peak_rss_bytes / 1e6:.0f} MB",
            {n.removesuffix("_bytes"): getattr(of, n) / 1e6 for n in of.__struct_fields__},
            "MB",
        )
    for table in report.operators:
        yield _operators(table)
    yield _budget(report)


def _head(report: Report) -> Iterator[Text]:
    device, engine, model = report.device, report.engine, report.model
    if not report.measurement:
        yield Text("NOT A VALID MEASUREMENT", style="bold red")
        for flag in report.brands:
            yield Text(f"  {flag.name}: {flag.detail}", style="red")
    yield Text(
        f"{device.model or device.cpu or device.machine}, {device.core_count} cores"
        + (f", governor {device.governor}" if device.governor else "")
        + (f", {_range(report)}" if _range(report) else ""),
        style="bold",
    )
    yield Text(
        f"engine {engine.name}"
        + (f" ({engine.precision} for {engine.target})" if engine.target else "")
        + f", {engine.thread_count} thread{'s' * (engine.thread_count > 1)}; model {model.name} "
        f"{model.release} ({model.id[:8]}), {model.code_bits} bits; "
        f"{report.gallery.item_count} codes enrolled"
    )
    if report.protocol.quick:
        yield Text("quick run: few samples, for orientation only", style="yellow")


def _range(report: Report) -> str:
    """Return the ranges of temperature and clock during the run."""
    moments = report.conditions.moments if report.conditions else []
    texts = []
    for name, unit in (("temperature_c", "C"), ("clock_mhz", "MHz")):
        values = [value for m in moments if (value := getattr(m, name)) is not None]
        if values:
            texts.append(f"{min(values):.0f} to {max(values):.0f} {unit}")
    return ", ".join(texts)


def _stages(report: Report) -> Table:
    assert report.warm is not None
    warm, images = report.warm, report.input
    count = warm.stages["end_to_end"].sample_count
    table = _table(
        f"warm query: {count} frames of {images.width_pixels} x {images.height_pixels} "
        f"in {warm.elapsed_s:.0f} s, milliseconds",
        *("stage", "right:p50", "right:p90", "right:p99", "right:max", "from 0 to p99"),
    )
    for stage, numbers in warm.stages.items():
        cells = [f"{getattr(numbers, f'{name}_ms'):.3f}" for name in ("p50", "p90", "p99", "max")]
        spark = _spark(warm.samples.stages_ms[stage], numbers)
        style = "bold" if stage in ("query", "end_to_end") else ""
        table.add_row(stage.replace("_", " "), *cells, spark, style=style)
    return table


def _spark(samples: Sequence[float | None], numbers: Summary, bins: int = 16) -> str:
    """Return a one-line histogram from 0 to the 99th percentile."""
    if numbers.p99_ms <= 0:
        return ""
    counts = [0] * bins
    for ms in samples:
        if ms is not None and 0 <= ms <= numbers.p99_ms:
            counts[min(bins - 1, int(ms / numbers.p99_ms * bins))] += 1
    most = max(counts)
    return "".join(" " if not n else _SPARKS[min(7, int(n / most * 8))] for n in counts)


def _pace(report: Report) -> str:
    assert report.warm is not None
    texts = [f"{report.warm.frames_per_s:.1f} frames per second, {report.protocol.pace}"]
    if report.warm.dropped_count:
        texts.append(f"{report.warm.dropped_count} dropped")
    if report.warm.sustained_ratio is not None:
        texts.append(f"last 30 s / first 30 s: {report.warm.sustained_ratio:.2f}")
    if report.overhead is not None:
        texts.append(f"measuring costs {report.overhead.p50_share:.2%} of a query")
    return "; ".join(texts)


def _bars(title: str, figures: Mapping[str, float], unit: str) -> Table:
    table = _table(title, "", "right:", "")
    most = max(*figures.values(), 1e-9)
    for name, value in figures.items():
        bar = "█" * max(0, round(value / most * BAR))
        table.add_row(name.replace("_", " "), f"{value:.1f} {unit}", Text(bar, style="cyan"))
    return table


def _operators(operators: Operators) -> Table:
    peak = (
        f", peak per core {operators.peak_macs_per_s / 1e9:.0f} G multiply-adds per second"
        if operators.peak_macs_per_s
        else ""
    )
    table = _table(
        f"slowest of {len(operators.operators)} operators, engine {operators.engine}, "
        f"{operators.total_ms:.2f} ms{peak}",
        *("operator", "kind", "right:p50 ms", "right:share", "right:of peak"),
    )
    for operator in sorted(operators.operators, key=lambda each: -each.p50_ms)[:TOP]:
        peak_share = "" if operator.peak_share is None else f"{operator.peak_share:.0%}"
        table.add_row(
            operator.name,
            operator.kind,
            f"{operator.p50_ms:.3f}",
            f"{operator.time_share:.1%}",
            peak_share,
        )
    return table


def _budget(report: Report) -> Table:
    table = _table("budget", "", "right:", "", "", "")
    for line in report.budget:
        value = "" if line.value is None else f"{line.value:.2f}"
        style = "yellow" if not report.measurement else "red" if line.met is False else "green"
        table.add_row(
            line.name,
            value,
            f"of {line.budget:g}",
            Text(line.word(report.measurement), style=style),
            line.source,
        )
    return table


def _table(title: str, *columns: str) -> Table:
    """Return a table with a title; "right:" before a column's name aligns it right."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        show_header=any(name.removeprefix("right:") for name in columns),
    )
    for name in columns:
        right = name.startswith("right:")
        table.add_column(name.removeprefix("right:"), justify="right" if right else "left")
    return table
