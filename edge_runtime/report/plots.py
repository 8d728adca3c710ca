"""Plot a report as SVG in the text color of the page, light or dark."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import ExtraMissingError
from edge_runtime.report.budget import STAGES
from edge_runtime.report.schema import Operators, Report, Warm
from edge_runtime.shortage import shortage

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#010203"
"""Color of text and axes. It is replaced by `currentColor`, the page's text color."""
HUES = ("#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#b279a2", "#eeca3b", "#9d755d",
        "#79706e", "#d67195")  # fmt: skip
"""Readable on white and on black."""
WIDTH = 9.0
"""Inches."""
WINDOW = 101
"""Number of samples in the running median."""

Draw = Callable[["Axes"], None]


def figure(title: str, height: float, *draws: Draw, share_x: bool = False) -> str:
    """Return one SVG with one row per function in `draws`; `title` describes it to screen readers.

    Raises `ExtraMissingError` without matplotlib.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # where it keeps its cache
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        if fault := shortage(error, "report html"):
            raise fault from error
        raise ExtraMissingError(
            "plots need matplotlib, which is not installed",
            where="report html",
            remedy="pip install 'edge-runtime[report]'",
        ) from error
    style: Any = {
        **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
        "axes.edgecolor": INK, "font.size": 9, "font.family": "sans-serif",
        "svg.fonttype": "none", "svg.hashsalt": "edge", "axes.spines.top": False,
        "axes.spines.right": False, "legend.frameon": False,
    }  # fmt: skip
    with matplotlib.rc_context(style):
        drawing = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = drawing.subplots(len(draws), 1, squeeze=False, sharex=share_x)[:, 0]
        for draw, row in zip(draws, axes, strict=True):
            row.set_facecolor("none")
            draw(row)
        file = io.StringIO()
        drawing.savefig(file, format="svg", transparent=True, dpi=110, metadata={"Date": None})
    text = file.getvalue()
    svg = text[text.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = svg.replace("<svg ", '<svg role="img" ', 1)
    return re.sub(r"(<svg[^>]*>)", rf"\1<title>{title}</title>", svg, count=1)


def over_time(report: Report) -> str:
    """Plot every query over time, with the board's temperature, clock and memory below."""
    assert report.warm is not None
    warm = report.warm
    moments = report.conditions.moments if report.conditions else []
    draws: list[Draw] = [lambda axes: _queries(axes, warm)]
    for name, label in (("temperature_c", "°C"), ("clock_mhz", "MHz")):
        points = [(m.at_s, value) for m in moments if (value := getattr(m, name)) is not None]
        if points:
            draws.append(lambda axes, points=points, label=label: _line(axes, points, label))  # type: ignore[misc]
    rss = [(m.at_s, m.rss_bytes / 1e6) for m in moments]
    draws.append(lambda axes: _line(axes, rss, "RSS, MB"))
    title = "query latency over time, with temperature, clock and memory of the board"
    return figure(title, 2.2 + 1.1 * (len(draws) - 1), *draws, share_x=True)


def _queries(axes: Axes, warm: Warm) -> None:
    import numpy as np

    at_s, ms = np.array(warm.samples.at_s), np.array(warm.samples.stages_ms["query"], float)
    axes.plot(at_s, ms, ".", ms=2, alpha=0.35, color=HUES[0], rasterized=True, label="query")
    if len(ms) > 2 * WINDOW:
        windows = np.lib.stride_tricks.sliding_window_view(ms, WINDOW)[:: WINDOW // 10]
        middle = at_s[WINDOW // 2 : WINDOW // 2 + len(ms) - WINDOW + 1 : WINDOW // 10]
        axes.plot(middle, np.median(windows, axis=1), color=HUES[1], label="running median")
    axes.set_ylim(0, max(1.3 * warm.stages["query"].p99_ms, 1e-3))
    axes.set_ylabel("query, ms")
    axes.legend(loc="upper right")


def _line(axes: Axes, points: list[tuple[float, float]], label: str) -> None:
    axes.plot(*zip(*points, strict=True), ".-", ms=3, lw=1, color=HUES[2])
    axes.set_ylabel(label)
    axes.set_xlabel("seconds")


def distributions(report: Report) -> str:
    """Plot the distribution of each stage on a logarithmic scale, with its budgets."""
    assert report.warm is not None
    warm = report.warm
    names = [name for name in warm.stages if warm.stages[name].max_ms > 0]
    budgets = {line.name: line.budget for line in report.budget}

    def draw(axes: Axes) -> None:
        for row, name in enumerate(names):
            ms = [x for x in warm.samples.stages_ms[name] if x]
            if not ms:
                continue
            axes.boxplot(
                ms, orientation="horizontal", positions=[row], widths=0.6, whis=(1, 99),
                patch_artist=True, flierprops={"marker": ".", "ms": 2, "rasterized": True,
                                               "markeredgecolor": HUES[3]},
                boxprops={"facecolor": HUES[0], "edgecolor": INK, "alpha": 0.8},
                medianprops={"color": HUES[6]}, whiskerprops={"color": INK},
                capprops={"color": INK},
            )  # fmt: skip
            for percent in (50, 99):
                if (budget := budgets.get(f"{name}_p{percent}_ms")) is not None:
                    axes.plot(budget, row, "|", ms=16, mew=2, color=HUES[1])
                    axes.annotate(
                        f"p{percent} budget", (budget, row), textcoords="offset points",
                        xytext=(3, 6), fontsize=7,
                    )  # fmt: skip
        axes.set_xscale("log")
        axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
        axes.invert_yaxis()
        axes.set_xlabel("ms (box: quartiles, whiskers: 1 and 99 %)")

    return figure("distribution of each stage", 0.6 + 0.33 * len(names), draw)


def waterfall(report: Report) -> str:
    """Plot the stages of the query with the median end-to-end time."""
    assert report.warm is not None
    samples = report.warm.samples.stages_ms
    whole = samples["end_to_end"]
    order = sorted(range(len(whole)), key=lambda i: whole[i] or 0.0)
    median = order[(len(order) - 1) // 2]
    stages = [
        (name, ms)
        for name in STAGES
        if name != "capture" and (ms := samples.get(name, whole)[median]) and name in samples
    ]

    def draw(axes: Axes) -> None:
        begin = 0.0
        for row, (_, ms) in enumerate(stages):
            axes.barh(row, ms, left=begin, color=HUES[row % len(HUES)])
            axes.annotate(f" {ms:.3f} ms", (begin + ms, row), va="center", fontsize=8)
            begin += ms
        axes.set_yticks(range(len(stages)), [name for name, _ in stages])
        axes.invert_yaxis()
        axes.margins(x=0.15)
        axes.set_xlabel("ms since capture")

    return figure("waterfall of the median query", 0.6 + 0.28 * len(stages), draw)


def stacked(title: str, figures: dict[str, float], unit: str) -> str:
    """Plot one bar made of parts."""

    def draw(axes: Axes) -> None:
        begin = 0.0
        for number, (name, value) in enumerate(figures.items()):
            label = f"{name.replace('_', ' ')}, {value:.1f} {unit}"
            axes.barh(0, max(value, 0), left=begin, color=HUES[number % len(HUES)], label=label)
            begin += max(value, 0)
        axes.set_yticks([])
        axes.set_xlabel(unit)
        axes.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=8)

    return figure(title, 1.5, draw)


def operators(profile: Operators, limit: int = 40) -> str:
    """Plot each operator's time, and its share of the core's peak."""
    shown: list[Any] = profile.operators[:limit]

    def draw(axes: Axes) -> None:
        rows = range(len(shown))
        axes.barh(rows, [operator.p50_ms for operator in shown], color=HUES[0])
        for row, operator in zip(rows, shown, strict=True):
            if operator.peak_share is not None:
                axes.annotate(
                    f" {operator.peak_share:.0%} of peak",
                    (operator.p50_ms, row),
                    va="center",
                    fontsize=7,
                )
        axes.set_yticks(rows, [operator.name[:36] for operator in shown], fontsize=7)
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.set_xlabel("ms, median")

    return figure(f"operators of the engine {profile.engine}", 0.7 + 0.17 * len(shown), draw)
