"""The verdicts on the order of Table 3 as two small tables, from the rows of its result file."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from training.papers.pages.wording import once
from training.papers.rows import Row
from training.papers.table3.verdict import (
    BACKBONES,
    MEASURE,
    NAMES,
    ORDER,
    OWN,
    SYSTEMS,
    Cells,
    Step,
    cause_of,
    order_of,
    sentences,
)
from training.reports.tables import markdown

Cases = dict[tuple[str, int], dict[tuple[str, str], Sequence[float]]]


def cases_of(rows: Sequence[Row]) -> Cases:
    """Return (set, bits) -> the values of each network and method."""
    found: Cases = {}
    methods = {
        f"{SYSTEMS[method]}, {name.removeprefix('the ')}": (network, method)
        for network, name in BACKBONES.items()
        for method in ORDER
    }
    for row in rows:
        if row.measure == MEASURE and row.system in methods:
            bits, source = row.setting.split(" bits, ")
            found.setdefault((source, int(bits)), {})[methods[row.system]] = row.values
    return found


def without_verdicts(notes: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """Return the notes without those sentences that the tables show."""
    said = {
        line for (source, bits), cells in cases_of(rows).items()
        for line in sentences(source, bits, cells)
    }  # fmt: skip
    return [note for note in notes if note not in said]


def verdicts(rows: Sequence[Row]) -> list[str]:
    """Return both tables with their captions; nothing without values to judge."""
    cases = cases_of(rows)
    if not cases:
        return []
    steps = [f"{NAMES[a]} over {NAMES[b]}" for a, b in pairwise(ORDER)]
    order = [line for place, cells in cases.items() for line in _orders(place, cells)]
    names = once(line[0] for line in order)
    causes = []
    for (source, bits), cells in cases.items():
        cause = cause_of(cells)
        causes.append([source, bits, cause.said, _range(cause.gains, "+.1f"),
                       _range(cause.losses, ".1f")])  # fmt: skip
    return [
        "Does the order of the paper hold? Steps are differences of MAP@100 in percentage points;"
        " one within the spread of the seeds decides nothing.",
        markdown(
            ["set, bits", "each method on", "verdict", *steps],
            [[name, *line[1:]] for name, line in zip(names, order, strict=True)],
        ),
        "Backbone or loss? Changes of MAP@100 in percentage points, from the least to the most.",
        markdown(
            ["set", "bits", "verdict", "MobileNet-v1 for the AlexNet-shaped network",
             "best loss over the worst on one network"],
            causes,
        ),
    ]  # fmt: skip


def _orders(place: tuple[str, int], cells: Cells) -> list[list[str]]:
    where = f"{place[0]}, {place[1]} bits"
    comparisons = {"its own backbone": OWN}
    comparisons |= {name: dict.fromkeys(ORDER, network) for network, name in BACKBONES.items()}
    lines = []
    for name, networks in comparisons.items():
        order = order_of(cells, networks)
        steps = [_step(step) for step in order.steps] or [""] * (len(ORDER) - 1)
        lines.append([where, name, order.said.removeprefix("the order "), *steps])
    return lines


def _step(step: Step) -> str:
    return f"{step.gain:+.1f}, {step.verdict.removeprefix('is ')}"


def _range(values: Sequence[float], form: str) -> str:
    return f"{min(values):{form}} to {max(values):{form}}" if values else ""
