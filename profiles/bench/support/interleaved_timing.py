"""Contenders timed in turn, in one process, each of which must answer rightly to the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

import click
import numpy as np
from numpy.typing import NDArray

from profiles.bench.support.cores import NEAR_NS

Answer = NDArray[np.float32]
CLOSE = 1e-3
"""Largest difference of an activation; not asked of int8, which is by nature another network."""
BLOCK, PAUSE_S = 20, 0.1


@dataclass(frozen=True)
class Contender:
    """An engine that is ready to run on the picture that it was made for."""

    run: Callable[[], Answer]
    """Gives the activations. This is what is timed."""
    fill: Callable[[], object] = lambda: None
    """Called before every `run`, and not timed: of a peer that keeps its input in memory of its
    own, which later layers may have taken since."""


def measure(
    field: dict[str, Contender],
    rounds: int,
    *,
    threads: int = 1,
    between: Callable[[], float | None] = lambda: None,
) -> dict[str, Any]:
    """Milliseconds of wall and CPU time, in turn: one call each, or with threads BLOCK calls each
    and a pause, since some leave threads spinning that would slow down the next one.

    `between` says how many nanoseconds the cores are apart; calls are also told apart by it.
    Raises ClickException where the last calls do not give the same activations any more.
    """
    last: dict[str, Answer] = {}
    samples: dict[str, list[_Call]] = {name: [] for name in field}
    block, pause_s = (1, 0.0) if threads == 1 else (BLOCK, PAUSE_S)
    for turn in range(rounds // block + 1):
        for name, contender in field.items():
            time.sleep(pause_s)
            before, taken = between(), []
            for _ in range(block + (2 if block > 1 else 0)):
                contender.fill()
                wall, cpu = time.perf_counter_ns(), time.process_time_ns()
                last[name] = contender.run()
                taken.append((time.perf_counter_ns() - wall, time.process_time_ns() - cpu))
            place = _place(before, between())
            if turn:
                samples[name] += [_Call(*times, place) for times in taken[-block:]]
    check(last)
    return {name: _row(calls) for name, calls in samples.items()}


class _Call(NamedTuple):
    wall_ns: int
    cpu_ns: int
    place: str


def _place(before_ns: float | None, after_ns: float | None) -> str:
    """Of a block of calls: near, far; empty where that is unknown or changed meanwhile."""
    if before_ns is None or after_ns is None or (before_ns < NEAR_NS) != (after_ns < NEAR_NS):
        return ""
    return "near" if before_ns < NEAR_NS else "far"


def _row(calls: list[_Call]) -> dict[str, Any]:
    walls = sorted(call.wall_ns for call in calls)
    row: dict[str, Any] = {
        "wall_p50_ms": median(walls) / 1e6,
        "wall_p99_ms": walls[-(-len(walls) * 99 // 100) - 1] / 1e6,
        "cpu_p50_ms": median(call.cpu_ns for call in calls) / 1e6,
    }
    for place in ("near", "far"):
        if there := [call.wall_ns for call in calls if call.place == place]:
            row[place] = {"wall_p50_ms": median(there) / 1e6, "calls": len(there)}
    return row


def first(field: dict[str, Contender]) -> dict[str, Answer]:
    """What each of them answers when it is called for the first time."""
    answers = {}
    for name, contender in field.items():
        contender.fill()
        answers[name] = contender.run()
    return answers


def check(answers: dict[str, Answer]) -> None:
    """All of them computed the same network; raises ClickException."""
    truth = next(found for name, found in answers.items() if name.startswith("ONNX Runtime"))
    for name, found in answers.items():
        far = float(np.abs(found - truth).max())
        if not far <= CLOSE and "int8" not in name:  # nor NaN
            raise click.ClickException(f"{name} gives other activations, up to {far:.3f}")
