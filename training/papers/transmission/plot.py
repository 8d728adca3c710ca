"""The plot of bytes against accuracy, as an SVG file."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib

from training.papers.rows import Row

matplotlib.use("agg")
from matplotlib.figure import Figure

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "edge-runtime",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_MARKS = "osD^vP*X"


def plot(sets: Mapping[str, Sequence[Row]], measure: str) -> bytes:
    """Draw one panel per set: bytes per query, logarithmic, against our mean of `measure`.

    Each way (`Row.system`) is one line through its settings.
    """
    names = list(dict.fromkeys(row.system for rows in sets.values() for row in rows))
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(max(8.0, 3.4 * len(sets)), 4.4), layout="constrained")
        panels = figure.subplots(1, len(sets), sharey=True, squeeze=False)[0]
        for panel, (title, rows) in zip(panels, sets.items(), strict=True):
            for number, name in enumerate(names):
                points = sorted(
                    (float(row.extra["bytes_per_query"]), row.mean)
                    for row in rows
                    if row.system == name and row.mean is not None
                )
                if points:
                    panel.plot(*zip(*points, strict=True), label=name, color=f"C{number}",
                               marker=_MARKS[number % len(_MARKS)], markersize=4)  # fmt: skip
            panel.set_xscale("log")
            panel.set_title(title)
            panel.set_xlabel("bytes per query")
            panel.grid(alpha=0.3)
        panels[0].set_ylabel(measure)
        handles = {
            label: handle
            for panel in panels
            for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3,
                      frameon=False)  # fmt: skip
        data = io.BytesIO()
        figure.savefig(data, format="svg", metadata={"Date": None})
    return data.getvalue()
