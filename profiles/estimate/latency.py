"""Turn counts into latency with a few parameters per core, fitted on published times.

    time = (instructions, vector bytes and first-level misses, each times its cycles) / clock
           + second-level misses times nanoseconds

The cycles are properties of the core. The nanoseconds are a property of the memory, so every board
has its own. The fit minimizes the squared relative errors over the rows of the calibration. No
parameter may be negative, and vector instructions may not be faster than the core's pipelines. A
weak regularization (`PULL`) draws every parameter toward the known properties of the core, so that
parameters which the rows do not determine stay plausible. With so few parameters, the bounded
least-squares problem is solved exactly: for every subset of parameters above their bound, the
unbounded problem is solved, and the best solution that respects all bounds is taken.

`python -m profiles.estimate.model` prints how well the model predicts rows excluded from the fit.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ReportError
from profiles.estimate.calibration import Calibration, Numbers

GROUPS: dict[str, tuple[tuple[str, ...], float]] = {
    "cycles_per_multiply_add": (("fma",), 1.0),
    "cycles_per_other_vector_instruction": (("vector",), 1.0),
    "cycles_per_16_vector_bytes": (("vector_bytes",), 1 / 16),
    "cycles_per_scalar_instruction": (("int", "branch", "load", "store"), 1.0),
    "cycles_per_l1_miss": (("l1_misses",), 1.0),
}
"""Parameter of the fit: the counts it multiplies, and their unit. Hints cost nothing: they pad."""
SCALAR = "cycles_per_scalar_instruction"
MEMORY = "l2_misses"
PULL = 0.05
"""Weight of the regularization: a parameter that differs from its assumed value by 100 % costs as
much as an error of this size in every row."""


@dataclass(frozen=True)
class Prior:
    """Assumptions about a core, for parameters that the calibration does not determine."""

    cycles: tuple[float, ...]
    """In the order of GROUPS: the throughputs from Arm's optimization guides (the A53 has no guide;
    its load path is 8 bytes wide), and a first-level miss that is partly hidden."""
    memory_ns: float
    least: tuple[float, ...]
    """Lower bounds in the same order, which follow from the number of vector pipelines."""
    branchy: float
    """Cycles per scalar instruction in code dominated by branches: interpreters, bit decoders. No
    row of the calibration is such code, so this is an assumption, on the slow side. For comparison:
    Python's N-body takes 158 s for 5 million steps on a Raspberry Pi 4 at 1.5 GHz (published), and
    executes 58 thousand instructions per step on the emulated one: 0.8 cycles each."""


PRIORS = {
    "cortex-a53": Prior((1.0, 1.0, 2.0, 0.5, 8.0), 30.0, (1.0, 1.0, 0.0, 0.0, 0.0), 2.0),
    "cortex-a72": Prior((1.0, 1.0, 0.5, 0.35, 4.0), 20.0, (1.0, 1.0, 0.0, 0.0, 0.0), 1.3),
    "cortex-a76": Prior((0.5, 0.5, 0.5, 0.25, 2.0), 10.0, (0.5, 0.5, 0.0, 0.0, 0.0), 0.8),
}


TARGETS = {"cortex-a53": 0.40, "cortex-a72": 0.25, "cortex-a76": 0.25}
"""Largest allowed relative error of an estimate for excluded data."""


@dataclass(frozen=True)
class CoreModel:
    """The fitted parameters of one core."""

    core: str
    cycles: dict[str, float]
    """Cycles by the names of GROUPS."""
    memory_ns: dict[str, float]
    """Nanoseconds per second-level miss, by board."""

    @property
    def usual_memory_ns(self) -> float:
        """The value for a board without a fitted one: the median of the others."""
        return median(self.memory_ns.values())

    def latency_ms(self, counts: Numbers, clock_mhz: float, memory_ns: float) -> float:
        """Return the estimate for vector code such as a network's."""
        cycles = _features(counts) @ np.array(list(self.cycles.values()))
        return float(cycles / (clock_mhz * 1e3) + counts[MEMORY] * memory_ns * 1e-6)

    def branchy_ms(self, counts: Numbers, clock_mhz: float, memory_ns: float) -> float:
        """Return the estimate for code dominated by branches and dependent instructions."""
        more = max(0.0, PRIORS[self.core].branchy - self.cycles[SCALAR])
        scalar = sum(counts[part] for part in GROUPS[SCALAR][0])
        return self.latency_ms(counts, clock_mhz, memory_ns) + more * scalar / (clock_mhz * 1e3)


@dataclass(frozen=True)
class Row:
    """A published time and its estimate."""

    core: str
    board: str
    net: str
    held_back: str
    """What was excluded from the fit: the "network" or the "board". Empty: the row was fitted."""
    published_ms: float
    estimated_ms: float

    @property
    def error(self) -> float:
        """Relative error: 0.1 means that the estimate is 10 % too high."""
        return self.estimated_ms / self.published_ms - 1


def fit(core: str, calibration: Calibration, without: Collection[str] = ()) -> CoreModel:
    """Fit the parameters of `core` on the rows that are not held back, excluding `without`."""
    boards = [board for board in calibration.of(core) if board.calibrates]
    prior = PRIORS[core]
    held = calibration.held_back | set(without)
    rows = [
        np.concatenate(
            [
                _features(counts) / (board.clock_mhz * 1e3),
                np.eye(len(boards))[place] * counts[MEMORY] * 1e-6,
            ]
        )
        / board.latency_ms[net]
        for place, board in enumerate(boards)
        for net, counts in sorted(calibration.counts[core].items())
        if net in board.latency_ms and net not in held
    ]
    start = np.array([*prior.cycles, *[prior.memory_ns] * len(boards)])
    if len(rows) < len(start):
        raise ReportError(
            f"{len(rows)} rows are too few to fit {len(start)} parameters",
            where=core,
            remedy="count more networks with python -m profiles.estimate.nets FOLDER",
        )
    a = np.vstack([np.array(rows), np.diag(PULL * np.sqrt(len(rows)) / start)])
    b = np.concatenate([np.ones(len(rows)), np.full(len(start), PULL * np.sqrt(len(rows)))])
    least = np.array([*prior.least, *[0.0] * len(boards)])
    parameters = (least + non_negative(a, b - a @ least)).tolist()
    return CoreModel(
        core,
        dict(zip(GROUPS, parameters[: len(GROUPS)], strict=True)),
        dict(zip((board.board for board in boards), parameters[len(GROUPS) :], strict=True)),
    )


def non_negative(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the x >= 0 that minimizes |a x - b|; `a` has full column rank and few columns."""
    gram, right = a.T @ a, a.T @ b
    best, least = np.zeros(len(right)), 0.0
    for size in range(1, len(right) + 1):
        for chosen in itertools.combinations(range(len(right)), size):
            part = np.linalg.solve(gram[np.ix_(chosen, chosen)], right[list(chosen)])
            value = -float(part @ right[list(chosen)])  # |a x - b| squared minus |b| squared
            if (part >= 0).all() and value < least:
                best, least = np.zeros(len(right)), value
                best[list(chosen)] = part
    return best


def rows(model: CoreModel, calibration: Calibration) -> list[Row]:
    """Return every published row of the model's core with its estimate."""
    estimates = []
    for board in calibration.of(model.core):
        memory_ns = model.memory_ns.get(board.board, model.usual_memory_ns)
        for net, published in sorted(board.latency_ms.items()):
            if (counts := calibration.counts[model.core].get(net)) is None:
                continue
            why = "network" if net in calibration.held_back else ""
            estimates.append(
                Row(
                    model.core,
                    board.board,
                    net,
                    why if board.calibrates else "board",
                    published,
                    model.latency_ms(counts, board.clock_mhz, memory_ns),
                )
            )
    return estimates


def left_out(core: str, calibration: Calibration) -> list[Row]:
    """Return the estimates of each fitted network when that network is left out of the fit."""
    estimates = []
    for net in sorted(set(calibration.counts[core]) - calibration.held_back):
        model = fit(core, calibration, [net])
        estimates += [
            row for row in rows(model, calibration) if row.net == net and row.held_back != "board"
        ]
    return estimates


def boards_left_out(core: str, calibration: Calibration) -> list[Row]:
    """Return the estimates of each calibrating board from a fit without that board."""
    estimates = []
    names = [board.board for board in calibration.of(core) if board.calibrates]
    for name in names if len(names) > 1 else []:
        boards = [
            replace(board, calibrates=board.calibrates and board.board != name)
            for board in calibration.boards
        ]
        fewer = replace(calibration, boards=tuple(boards))
        estimates += [row for row in rows(fit(core, fewer), fewer) if row.board == name]
    return estimates


def kinds(model: CoreModel, calibration: Calibration) -> dict[str, list[Row]]:
    """Return the groups of rows by which the model is judged, without empty groups."""
    estimates = rows(model, calibration)
    all_of_them = {
        "fitted": [row for row in estimates if not row.held_back],
        "held_back_networks": [row for row in estimates if row.held_back == "network"],
        "held_back_boards": [row for row in estimates if row.held_back == "board"],
        "each_network_left_out_in_turn": left_out(model.core, calibration),
        "each_board_left_out_in_turn": boards_left_out(model.core, calibration),
    }
    return {kind: some for kind, some in all_of_them.items() if some}


def worst(some: Iterable[Row]) -> float:
    """Return the largest absolute error of the rows."""
    return max(abs(row.error) for row in some)


def within(some: Iterable[Row]) -> list[Row]:
    """Return the rows whose error is within the target of their core."""
    return [row for row in some if abs(row.error) <= TARGETS[row.core]]


def usual(some: Iterable[Row]) -> float:
    """Return the median absolute error of the rows."""
    return median(abs(row.error) for row in some)


def _features(counts: Numbers) -> NDArray[np.float64]:
    return np.array([unit * sum(counts[part] for part in parts) for parts, unit in GROUPS.values()])
