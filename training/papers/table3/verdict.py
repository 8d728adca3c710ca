"""Judge the order of Table 3 from the values: sentences that no one types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import hypot
from statistics import mean, stdev

ORDER = ("paper", "ssdh", "dlbh")
"""The deep methods of Table 3, best first."""
NAMES = {"paper": "the paper's method", "ssdh": "SSDH", "dlbh": "DLBH"}
MEASURE = "MAP@100 (%)"
SYSTEMS = {"paper": "Our method", "ssdh": "SSDH", "dlbh": "DLBH"}
"""Names in the result file, before the network."""
OWN = {"paper": "mobilenet", "ssdh": "alexnet", "dlbh": "alexnet"}
"""The backbone that each method had in the paper."""
BACKBONES = {"mobilenet": "MobileNet-v1", "alexnet": "the AlexNet-shaped network"}
Cells = Mapping[tuple[str, str], Sequence[float]]
"""(network, method) -> MAP@100 per seed, of one set and one length."""


@dataclass(frozen=True)
class Step:
    """Two neighbors of the order: is the first better, beyond the spread of both?"""

    better: str
    worse: str
    gain: float
    spread: float

    @property
    def verdict(self) -> str:
        """Return "holds", "is within the spread" or "is reversed"."""
        if abs(self.gain) <= self.spread:
            return "is within the spread"
        return "holds" if self.gain > 0 else "is reversed"


def compare(better: str, worse: str, first: Sequence[float], second: Sequence[float]) -> Step:
    """Compare the values of two methods; the spread is that of the difference over the seeds."""
    spreads = [stdev(each) if len(each) > 1 else 0.0 for each in (first, second)]
    return Step(better, worse, mean(first) - mean(second), hypot(*spreads))


@dataclass(frozen=True)
class Order:
    """Does the order of the paper hold, with each method on its network?"""

    said: str
    """For example "the order holds"."""
    values: Mapping[str, Sequence[float]]
    """Method -> MAP@100 per seed."""
    steps: Sequence[Step] = ()


def order_of(cells: Cells, networks: Mapping[str, str]) -> Order:
    """Judge the order; methods without values make it say which are missing."""
    values = {method: cells.get((networks[method], method), ()) for method in ORDER}
    if missing := [NAMES[method] for method in ORDER if not values[method]]:
        return Order(f"not judged: {' and '.join(missing)} not yet run", values)
    steps = [compare(a, b, values[a], values[b]) for a, b in pairwise(ORDER)]
    if all(step.verdict == "holds" for step in steps):
        said = "the order holds, each step beyond the spread"
        if min(map(len, values.values())) < 2:
            said = "the order holds on one seed, so its spread is not known"
    elif any(step.verdict == "is reversed" for step in steps):
        said = "the order does not hold"
    else:
        said = "the order is not decided"
    return Order(said, values, steps)


def judge_order(cells: Cells, networks: Mapping[str, str]) -> str:
    """Return a sentence on the order with each method on its network in `networks`."""
    order = order_of(cells, networks)
    if not order.steps:
        return order.said
    figures = ", ".join(f"{NAMES[method]} {_figure(order.values[method])}" for method in ORDER)
    parts = [
        f"{NAMES[step.better]} over {NAMES[step.worse]} {step.verdict} ({step.gain:+.1f})"
        for step in order.steps
        if step.verdict != "holds"
    ]
    return "; ".join([f"{order.said} ({figures})", *parts])


@dataclass(frozen=True)
class Cause:
    """What changes the figures more: the backbone or the loss."""

    said: str
    """For example "both matter"."""
    gains: Sequence[float] = ()
    """What MobileNet-v1 adds to each method, in percentage points."""
    losses: Sequence[float] = ()
    """How far the best and the worst loss are apart on each network, in percentage points."""


def cause_of(cells: Cells) -> Cause:
    """Judge whether the order comes from the backbone or from the loss."""
    both = [m for m in ORDER if all(cells.get((net, m)) for net in BACKBONES)]
    if len(both) < len(ORDER):
        return Cause("not judged: not every method has run on both networks")
    gains = [mean(cells["mobilenet", m]) - mean(cells["alexnet", m]) for m in ORDER]
    losses = [
        max(mean(cells[net, m]) for m in ORDER) - min(mean(cells[net, m]) for m in ORDER)
        for net in BACKBONES
    ]
    said = "both matter"
    if min(gains) > max(losses):
        said = "the backbone decides"
    elif max(gains) < min(losses):
        said = "the loss decides"
    return Cause(said, gains, losses)


def judge_cause(cells: Cells) -> str:
    """Return a sentence that says whether the order comes from the backbone or from the loss."""
    cause = cause_of(cells)
    if not cause.gains:
        return cause.said
    return (
        f"{cause.said}: MobileNet-v1 instead of the AlexNet-shaped network changes a method by "
        f"{min(cause.gains):+.1f} to {max(cause.gains):+.1f}; on one network, the best and "
        f"the worst loss are {min(cause.losses):.1f} to {max(cause.losses):.1f} apart"
    )


def sentences(source: str, bits: int, cells: Cells) -> list[str]:
    """Return all sentences for one set and one length."""
    where = f"{source}, {bits} bits"
    found = [f"{where}, each on its own backbone: {judge_order(cells, OWN)}."]
    for network, name in BACKBONES.items():
        order = judge_order(cells, dict.fromkeys(ORDER, network))
        found.append(f"{where}, all on {name}: {order}.")
    return [*found, f"{where}, backbone or loss: {judge_cause(cells)}."]


def judge_hand_made(source: str, by_hand: Mapping[str, Sequence[float]], cells: Cells) -> str:
    """Return a sentence that compares the hand-made systems with the deep ones on their own nets.

    `by_hand` are their values by name, `cells` those of the longest code.
    """
    deep = {m: cells[OWN[m], m] for m in ORDER if cells.get((OWN[m], m))}
    where = f"{source}, hand-made systems"
    if not by_hand or not deep:
        return f"{where}: not judged, as they or the deep methods are not yet run."
    best = max(by_hand, key=lambda name: mean(by_hand[name]))
    worst = min(deep, key=lambda method: mean(deep[method]))
    step = compare(worst, best, deep[worst], by_hand[best])
    said = {"holds": "is below", "is reversed": "is above"}.get(step.verdict, "is level with")
    return (
        f"{where}: the best, {best} ({_figure(by_hand[best])}), {said} the worst deep method on its"
        f" own backbone, {NAMES[worst]} ({_figure(deep[worst])})."
    )


def _figure(values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"{mean(values):.1f}, one seed"
    return f"{mean(values):.1f} ± {stdev(values):.1f}"
