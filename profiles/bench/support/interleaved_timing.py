"""Time several engines in turn in one process, and check their answers before and after."""

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
"""Largest allowed difference of an activation. int8 is exempt: it is a different network."""
BLOCK_CALLS, PAUSE_S = 20, 0.1


@dataclass(frozen=True)
class Contender:
    """An engine that is ready to run on its picture."""

    run: Callable[[], Answer]
    """Returns the activations. Only this call is timed."""
    fill: Callable[[], object] = lambda: None
    """Called before every `run` and not timed. For engines that keep their input in internal memory
    which later layers may overwrite."""


def time_interleaved(
    contenders: dict[str, Contender],
    rounds: int,
    *,
    threads: int = 1,
    handover_ns: Callable[[], float | None] = lambda: None,
) -> dict[str, Any]:
    """Return wall and CPU times in milliseconds for each contender.

    The contenders take turns with one call each. With several threads each makes BLOCK_CALLS calls
    and then pauses, because some leave spinning threads that would slow the next one down.
    `handover_ns` measures the nanoseconds from core to core, by which calls are also grouped.
    Raises ClickException if the activations of the last calls differ.
    """
    last: dict[str, Answer] = {}
    samples: dict[str, list[_Call]] = {name: [] for name in contenders}
    block, pause_s = (1, 0.0) if threads == 1 else (BLOCK_CALLS, PAUSE_S)
    for round_number in range(rounds // block + 1):
        for name, contender in contenders.items():
            time.sleep(pause_s)
            before_ns, times = handover_ns(), []
            for _ in range(block + (2 if block > 1 else 0)):
                contender.fill()
                wall, cpu = time.perf_counter_ns(), time.process_time_ns()
                last[name] = contender.run()
                times.append((time.perf_counter_ns() - wall, time.process_time_ns() - cpu))
            place = _place(before_ns, handover_ns())
            if round_number:  # the first round is the warm-up
                samples[name] += [_Call(*pair, place) for pair in times[-block:]]
    check_answers(last)
    return {name: _row(calls) for name, calls in samples.items()}


class _Call(NamedTuple):
    wall_ns: int
    cpu_ns: int
    place: str


def _place(before_ns: float | None, after_ns: float | None) -> str:
    """Return "near" or "far" for a block of calls, or "" if unknown or changed during the block."""
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
        if walls_there := [call.wall_ns for call in calls if call.place == place]:
            row[place] = {"wall_p50_ms": median(walls_there) / 1e6, "calls": len(walls_there)}
    return row


def first_answers(contenders: dict[str, Contender]) -> dict[str, Answer]:
    """Call each contender once and return the answers."""
    answers = {}
    for name, contender in contenders.items():
        contender.fill()
        answers[name] = contender.run()
    return answers


def check_answers(answers: dict[str, Answer]) -> None:
    """Raise ClickException unless all contenders computed the same activations."""
    reference = next(answer for name, answer in answers.items() if name.startswith("ONNX Runtime"))
    for name, answer in answers.items():
        difference = float(np.abs(answer - reference).max())
        if not difference <= CLOSE and "int8" not in name:  # "not <=" also catches NaN
            raise click.ClickException(f"activations of {name} differ by up to {difference:.3f}")
