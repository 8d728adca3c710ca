"""Render a report as one self-contained page: plots, and their values as tables."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from pathlib import Path

from edge_runtime.errors import ReportError, storage_error
from edge_runtime.report import plots
from edge_runtime.report.schema import Report
from edge_runtime.system.durable import write_file

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto;
 padding: 0 1rem; }}
svg {{ width: 100%; height: auto; }}
table {{ border-collapse: collapse; margin: .5rem 0; }}
.wide {{ overflow-x: auto; }}
th, td {{ padding: .15rem .7rem .15rem 0; text-align: left; }}
td.number, th.number {{ text-align: right; font-variant-numeric: tabular-nums; }}
.invalid {{ border: 2px solid #e45756; padding: .5rem 1rem; }}
.met {{ color: #3d9a50; }} .missed {{ color: #e45756; font-weight: bold; }}
.note {{ opacity: .75; }}
</style></head><body>
"""


def write_page(path: Path, report: Report) -> None:
    """Write the page durably; raises `StorageError`, or `ExtraMissingError` without matplotlib."""
    text = page(report)
    try:
        write_file(path, text.encode())
    except OSError as error:
        raise storage_error(error, path) or ReportError(str(error), where=path) from error


def page(report: Report) -> str:
    """Return the page as HTML."""
    device = report.device.model or report.device.cpu or report.device.machine
    suffix = "" if report.measurement else " (not a valid measurement)"
    parts = [_HEAD.format(title=_text(f"edge-runtime on {device}{suffix}"))]
    parts.append(f"<h1>edge-runtime on {_text(device)}</h1>")
    parts += _flags(report)
    parts.append(f"<p>{_text(_about(report))}</p>")
    parts.append("<h2>Budget</h2>" + _budget(report))
    if report.warm is not None:
        parts += _warm(report)
    if report.cold is not None:
        cold = {
            name.removesuffix("_ms"): getattr(report.cold, name)
            for name in report.cold.__struct_fields__
            if name != "total_ms"
        }
        parts.append(f"<h2>Cold start: {report.cold.total_ms:.0f} ms</h2>")
        parts.append(_note("Medians over new processes, with the files in the page cache."))
        parts.append(plots.stacked("cold start by part", cold, "ms"))
    parts += _memory(report)
    for engine in report.operators:
        parts.append(
            f"<h2>The network, engine {_text(engine.engine)}: {engine.total_ms:.2f} ms</h2>"
        )
        if engine.peak_macs_per_s:
            peak = f"{engine.peak_macs_per_s / 1e9:.0f} G float32 multiply-adds per second"
            parts.append(_note(f"One core of this machine reaches {peak} in registers."))
        parts.append(plots.operators(engine))
    parts.append(_details(report))
    return "\n".join(parts) + "\n</body></html>\n"


def _flags(report: Report) -> list[str]:
    if report.measurement:
        return []
    lines = "".join(
        f"<li><b>{_text(flag.name)}</b>: {_text(flag.detail)}</li>" for flag in report.brands
    )
    return [
        f'<div class="invalid" role="alert"><b>Not a valid measurement</b><ul>{lines}</ul></div>'
    ]


def _about(report: Report) -> str:
    engine, model = report.engine, report.model
    of = f", {engine.precision} for {engine.target}" if engine.target else ""
    return (
        f"{report.made_at}. Engine {engine.name}{of}, {engine.thread_count} thread(s). Model "
        f"{model.name} {model.release} ({model.id[:12]}), {model.code_bits} bits. "
        f"{report.gallery.item_count} codes under {report.gallery.label_count} labels. Input: "
        f"{report.input.kind}, {report.input.width_pixels} x {report.input.height_pixels}, "
        f"{report.protocol.pace}."
        + (" Quick run: few samples, for orientation only." if report.protocol.quick else "")
    )


def _budget(report: Report) -> str:
    rows = []
    for line in report.budget:
        word = line.word(report.measurement)
        value = "" if line.value is None else f"{line.value:.2f}"
        kind = "met" if word == "met" else "missed" if word == "missed" else "note"
        mark = f'<span class="{kind}">{word}</span>'
        rows.append([_text(line.name), value, f"{line.budget:g}", mark, _text(line.source)])
    return _table(("budget", "value", "limit", "verdict", "source"), rows, numbers=(1, 2))


def _warm(report: Report) -> list[str]:
    assert report.warm is not None
    warm = report.warm
    names = ("p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms", "mean_ms", "std_ms")
    rows = [
        [_text(stage.replace("_", " ")), *(f"{getattr(numbers, name):.3f}" for name in names)]
        for stage, numbers in warm.stages.items()
    ]
    count = warm.stages["end_to_end"].sample_count
    notes = [
        f"{count} frames in {warm.elapsed_s:.0f} s, {warm.frames_per_s:.1f} per second, "
        f"{warm.dropped_count} dropped, {warm.fault_count} failed."
    ]
    if warm.sustained_ratio is not None:
        notes.append(f"Last 30 s / first 30 s: {warm.sustained_ratio:.3f}.")
    if report.overhead is not None:
        notes.append(f"Measuring cost {report.overhead.p50_share:.2%} of a median query.")
    return [
        "<h2>Warm query</h2>",
        _note(" ".join(notes)),
        plots.over_time(report),
        plots.distributions(report),
        "<h3>The median query</h3>",
        plots.waterfall(report),
        _table(("stage, ms", *(n.removesuffix("_ms") for n in names)), rows, numbers=range(1, 8)),
    ]


def _memory(report: Report) -> list[str]:
    if report.memory is None:
        return []
    memory = report.memory
    parts = {
        name.removesuffix("_bytes"): getattr(memory.parts, name) / 1e6
        for name in memory.parts.__struct_fields__
    }
    rows = [
        [name, *(f"{getattr(usage, field) / 1e6:.1f}" for field in usage.__struct_fields__)]
        for name in ("start", "imports", "engine", "gallery", "run")
        for usage in (getattr(memory, name),)
    ]
    growth = (
        ""
        if memory.growth_bytes is None
        else f" Change over the run: {memory.growth_bytes / 1e6:+.2f} MB."
    )
    return [
        f"<h2>Memory: {memory.run.rss_bytes / 1e6:.0f} MB resident</h2>",
        _note(f"Peak: {memory.peak_rss_bytes / 1e6:.0f} MB.{growth}"),
        plots.stacked("memory by part", parts, "MB"),
        _table(("MB, after", "RSS", "PSS", "USS", "private dirty"), rows, numbers=range(1, 5)),
    ]


def _details(report: Report) -> str:
    rows = []
    for part in ("program", "device", "engine", "model", "protocol", "overhead"):
        table = getattr(report, part)
        for name in table.__struct_fields__ if table is not None else ():
            rows.append([f"{part}.{name}", _text(getattr(table, name))])
    if report.conditions is not None:
        for name in ("others_cores_ratio", "stolen_share", "waiting_share", "swapped_bytes"):
            rows.append([f"conditions.{name}", _text(getattr(report.conditions, name))])
    body = _table(("field", "value"), rows)
    return f"<details><summary>All other fields</summary>{body}</details>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()) -> str:
    """Return a table; `rows` are HTML, and the columns `numbers` are aligned right."""
    right = set(numbers)

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{' class=number' if i in right else ''}>{cell}</{tag}>"
            for i, cell in enumerate(row)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{cells("th", head)}</tr>{body}</table></div>'


def _note(text: str) -> str:
    return f'<p class="note">{_text(text)}</p>'


def _text(value: object) -> str:
    return html.escape(str(value))
