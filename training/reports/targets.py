"""Generate the section of docs/results/ACCURACY.md that compares targets with results."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from training.reports.studies import SHIPPED, SHORT_CODE_TARGETS, in_order, mean, ranked, weakest
from training.reports.tables import markdown, number

TARGETS = (
    ("grocery", "official", "map100", 89.0),
    ("ie_tower", "official", "map100", 64.0),
    ("ie_tower", "distinct_interleaved", "map100", 93.0),
)
"""(set, split, figure, minimum) of the shipped model."""
DISTURBED, INT8 = 6.0, 0.5
"""Maximum loss in points: at medium severity on grocery, and by int8."""
CHANCE = 1.0
"""Points by which one seed may be off."""
_SEVERITY = "medium"
_LIMITS = "see What limits accuracy"


def target_table(
    shipped: Any, small: Any, layers: Any, unseen: Any, frozen: Any, handmade: Any,
    ablations: Iterable[Any],
) -> list[str]:  # fmt: skip
    """Generate the table; every figure comes from the result file of its own section."""
    rows: list[list[str]] = []

    def row(what: str, target: str, result: str, met: bool, note: str = "") -> None:
        rows.append([what, target, result, "reached" if met else "missed", note])

    for source, split, figure, least in TARGETS:
        found = shipped["sets"][source]["protocols"][split][figure]
        met = found >= least
        name = f"{source}, {split.replace('_', ' ')}, MAP@100"
        row(name, f"at least {least:.0f}", number(found), met, "" if met else _LIMITS)
    for bits, most in sorted(SHORT_CODE_TARGETS.items(), reverse=True):
        lost, method = _shortest_loss(layers, bits)
        row(f"grocery, {bits} bits below 64", f"at most {most}", f"{lost:.1f}", lost <= most,
            f"`{method}` layer, trained for its length")  # fmt: skip
    lost, worst = _disturbed(shipped, "grocery")
    row("grocery, each disturbance, medium", f"at most {DISTURBED:.0f} lost", f"{lost:.1f}",
        lost <= DISTURBED, f"worst: {worst}")  # fmt: skip
    lost, worst = _disturbed(shipped, "ie_tower")
    rows.append(["ie_tower, each disturbance, medium", "none", f"{lost:.1f}", "for the record",
                 f"worst: {worst}"])  # fmt: skip
    gaps = {
        source: entry["protocols"]["official"]["map100"]
        - small["sets"][source]["protocols"]["official"]["map100"]
        for source, entry in shipped["sets"].items()
    }
    source = max(gaps, key=lambda name: gaps[name])
    row("int8 compared with fp32", f"at most {INT8} lost", f"{max(gaps[source], 0):.1f}",
        gaps[source] <= INT8, f"worse set: {source}")  # fmt: skip
    for source, entry in unseen["sets"].items():
        for which, table, method, other in (
            ("ImageNet", frozen["sets"][source]["unseen"], "paper",
             "the baselines use a network that was not fine-tuned"),
            ("the same", entry["unseen"], "paper", "the tuned features help the baselines as well"),
            ("the same", entry["unseen"], "neighbors", "a layer for labels not seen in training"),
        ):  # fmt: skip
            if method not in entry["unseen"]:
                continue
            ours = entry["unseen"][method]["64"]
            gain = ours - max(table["itq"]["64"], table["lsh"]["64"])
            layer = "shipped kind of layer" if method == "paper" else f"`{method}` layer"
            row(f"{source}, unseen labels, against ITQ and LSH on {which} features, {layer}",
                "clearly above", f"{gain:+.1f}", gain > 1, other)  # fmt: skip
    for ablation in ablations:
        compared = ranked(ablation, handmade)
        in_order_at = [in_order(figures) for figures in compared.values()]
        if in_order_at:
            gap, words = weakest(compared)
            row(f"{ablation['set']}, paper's order at every length", "holds",
                f"at {sum(in_order_at)} of {len(in_order_at)}", all(in_order_at),
                f"trained end to end, one seed; {words}")  # fmt: skip
            if 0 < gap < CHANCE:
                rows[-1][3] = "within chance"
    return [
        "## Targets",
        "The targets of the project and the results, in points of MAP@100.",
        markdown(["measure", "target", "result", "verdict", "note"], rows),
    ]


def _shortest_loss(layers: Any, bits: int) -> tuple[float, str]:
    """Return the points that the best method at `bits` loses against 64 bits, and its name."""
    found = {
        (row["method"], row["bits"]): mean(row, "binary", "grocery/official")
        for row in layers["rows"].values()
        if row["backbone"] == SHIPPED and row["passes"] == 0 and len(row["binary"]) > 2
    }
    method = max((name for name, n in found if n == bits), key=lambda name: found[name, bits])
    return found["paper", 64] - found[method, bits], method


def _disturbed(shipped: Any, source: str) -> tuple[float, str]:
    """Return the points that the worst disturbance costs, and its name."""
    entry = shipped["sets"][source]
    table = entry["disturbances"]
    worst = min(table, key=lambda name: float(table[name][_SEVERITY]))
    return entry["protocols"]["official"]["map100"] - table[worst][_SEVERITY], worst
