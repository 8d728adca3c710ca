"""Counts to latency: a few numbers a core, fitted on times that other people published.

    time = (instructions, vector bytes and first-level misses, each by its cycles) / clock
           + nanoseconds for each second-level miss

The cycles belong to the core; the nanoseconds are the memory's, so every board has its own. They
minimise the squared relative errors of the calibration's rows. None is below zero, nor are vector
instructions ever faster than the core's pipes; and all are drawn lightly (`PULL`) to what is known
of the core, so that what the rows do not tell stays plausible. With so few numbers the solution is
exact: of every set of them that may be above its bound the least squares are taken, and the best
that keeps all bounds wins.

`python -m profiles.estimate.model` prints how well it predicts rows that it has never seen.
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
"""A number of the fit: the counts it goes with, and their unit. Hints cost nothing: they pad."""
SCALAR = "cycles_per_scalar_instruction"
MEMORY = "l2_misses"
PULL = 0.05
"""How lightly: a number that is wholly different from the assumed one counts as much as if every
row were wrong by this share."""


@dataclass(frozen=True)
class Prior:
    """What is assumed of a core where the calibration says nothing."""

    cycles: tuple[float, ...]
    """In the order of GROUPS: the throughputs of Arm's optimisation guides (there is none for the
    A53: its load path is 8 bytes wide), and a first-level miss that is partly hidden."""
    memory_ns: float
    least: tuple[float, ...]
    """Cycles that nothing can be below, likewise: the vector pipes are that many."""
    branchy: float
    """Cycles a scalar instruction where branches rule: an interpreter, a decoder of bits. No row
    of the calibration is such code, so this is an assumption, on the slow side: Python's N-body,
    whose published time on a Raspberry Pi 4 is 158 s for 5 million steps at 1.5 GHz, executes
    58 thousand instructions a step on the emulated one, 0.8 cycles each."""


PRIORS = {
    "cortex-a53": Prior((1.0, 1.0, 2.0, 0.5, 8.0), 30.0, (1.0, 1.0, 0.0, 0.0, 0.0), 2.0),
    "cortex-a72": Prior((1.0, 1.0, 0.5, 0.35, 4.0), 20.0, (1.0, 1.0, 0.0, 0.0, 0.0), 1.3),
    "cortex-a76": Prior((0.5, 0.5, 0.5, 0.25, 2.0), 10.0, (0.5, 0.5, 0.0, 0.0, 0.0), 0.8),
}


BARS = {"cortex-a53": 0.40, "cortex-a72": 0.25, "cortex-a76": 0.25}
"""How wrong an estimate of something held back may be."""


@dataclass(frozen=True)
class CoreModel:
    """A fitted core."""

    core: str
    cycles: dict[str, float]
    """By the names of GROUPS."""
    memory_ns: dict[str, float]
    """A second-level miss, by board."""

    @property
    def usual_memory_ns(self) -> float:
        """For a board of which nothing was fitted: the median of the others."""
        return median(self.memory_ns.values())

    def latency_ms(self, counts: Numbers, clock_mhz: float, memory_ns: float) -> float:
        """The estimate for vector code such as a network's."""
        cycles = _features(counts) @ np.array(list(self.cycles.values()))
        return float(cycles / (clock_mhz * 1e3) + counts[MEMORY] * memory_ns * 1e-6)

    def branchy_ms(self, counts: Numbers, clock_mhz: float, memory_ns: float) -> float:
        """The estimate for code whose scalar instructions wait for each other and for branches."""
        more = max(0.0, PRIORS[self.core].branchy - self.cycles[SCALAR])
        scalar = sum(counts[part] for part in GROUPS[SCALAR][0])
        return self.latency_ms(counts, clock_mhz, memory_ns) + more * scalar / (clock_mhz * 1e3)


@dataclass(frozen=True)
class Row:
    """A published time beside the estimate."""

    core: str
    board: str
    net: str
    held_back: str
    """Why it was not fitted on: its "network" or its "board"; empty: it was."""
    published_ms: float
    estimated_ms: float

    @property
    def error(self) -> float:
        """Relative: 0.1 is a tenth too slow."""
        return self.estimated_ms / self.published_ms - 1


def fit(core: str, calibration: Calibration, without: Collection[str] = ()) -> CoreModel:
    """The numbers of `core`, from the rows that are not held back, less the networks `without`."""
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
            f"{len(rows)} rows are too few to fit {len(start)} numbers on",
            where=core,
            remedy="python -m profiles.estimate.nets FOLDER counts more networks",
        )
    a = np.vstack([np.array(rows), np.diag(PULL * np.sqrt(len(rows)) / start)])
    b = np.concatenate([np.ones(len(rows)), np.full(len(start), PULL * np.sqrt(len(rows)))])
    least = np.array([*prior.least, *[0.0] * len(boards)])
    found = (least + non_negative(a, b - a @ least)).tolist()
    return CoreModel(
        core,
        dict(zip(GROUPS, found[: len(GROUPS)], strict=True)),
        dict(zip((board.board for board in boards), found[len(GROUPS) :], strict=True)),
    )


def non_negative(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """The x >= 0 with the least |a x - b|; `a` has full column rank and few columns."""
    gram, right = a.T @ a, a.T @ b
    best, least = np.zeros(len(right)), 0.0
    for size in range(1, len(right) + 1):
        for chosen in itertools.combinations(range(len(right)), size):
            part = np.linalg.solve(gram[np.ix_(chosen, chosen)], right[list(chosen)])
            value = -float(part @ right[list(chosen)])  # |a x - b| squared, less that of b
            if (part >= 0).all() and value < least:
                best, least = np.zeros(len(right)), value
                best[list(chosen)] = part
    return best


def rows(model: CoreModel, calibration: Calibration) -> list[Row]:
    """Every published row of the model's core beside its estimate."""
    found = []
    for board in calibration.of(model.core):
        memory_ns = model.memory_ns.get(board.board, model.usual_memory_ns)
        for net, published in sorted(board.latency_ms.items()):
            if (counts := calibration.counts[model.core].get(net)) is None:
                continue
            why = "network" if net in calibration.held_back else ""
            found.append(
                Row(
                    model.core,
                    board.board,
                    net,
                    why if board.calibrates else "board",
                    published,
                    model.latency_ms(counts, board.clock_mhz, memory_ns),
                )
            )
    return found


def left_out(core: str, calibration: Calibration) -> list[Row]:
    """Each fitted network as it is estimated when it is left out of the fit, too."""
    found = []
    for net in sorted(set(calibration.counts[core]) - calibration.held_back):
        model = fit(core, calibration, [net])
        found += [
            row for row in rows(model, calibration) if row.net == net and row.held_back != "board"
        ]
    return found


def boards_left_out(core: str, calibration: Calibration) -> list[Row]:
    """Each calibrating board as it is estimated when nothing of it but its clock is known."""
    found = []
    names = [board.board for board in calibration.of(core) if board.calibrates]
    for name in names if len(names) > 1 else []:
        boards = [
            replace(board, calibrates=board.calibrates and board.board != name)
            for board in calibration.boards
        ]
        fewer = replace(calibration, boards=tuple(boards))
        found += [row for row in rows(fit(core, fewer), fewer) if row.board == name]
    return found


def kinds(model: CoreModel, calibration: Calibration) -> dict[str, list[Row]]:
    """All that the model can be judged by, by name; only what there is any of."""
    found = rows(model, calibration)
    all_of_them = {
        "fitted": [row for row in found if not row.held_back],
        "held_back_networks": [row for row in found if row.held_back == "network"],
        "held_back_boards": [row for row in found if row.held_back == "board"],
        "each_network_left_out_in_turn": left_out(model.core, calibration),
        "each_board_left_out_in_turn": boards_left_out(model.core, calibration),
    }
    return {kind: some for kind, some in all_of_them.items() if some}


def worst(some: Iterable[Row]) -> float:
    """The largest error of the rows, either way."""
    return max(abs(row.error) for row in some)


def within(some: Iterable[Row]) -> list[Row]:
    """The rows whose error is within the bar of their core."""
    return [row for row in some if abs(row.error) <= BARS[row.core]]


def usual(some: Iterable[Row]) -> float:
    """The median error of the rows, either way."""
    return median(abs(row.error) for row in some)


def _features(counts: Numbers) -> NDArray[np.float64]:
    return np.array([unit * sum(counts[part] for part in parts) for parts, unit in GROUPS.values()])
