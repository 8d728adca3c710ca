"""Load registers just before their use.

TVM puts all loads of a loop's body before its first sum, and LLVM keeps that order. The registers
that wait for their use are not available for sums, which spill to the stack. Loads stay in pairs,
since one instruction can load two registers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tvm import tirx
from tvm.ir import Call
from tvm.ir.expr import TensorLoad

TOGETHER = 2
"""Loads that stay adjacent."""


def sink_loads(statements: list[tirx.Stmt]) -> list[tirx.Stmt]:
    """Move each load in the sequence `statements` to just before its first use."""
    waiting: list[tuple[tirx.BufferStore, range]] = []
    done: list[tirx.Stmt] = []
    for statement in statements:
        places = _copied(statement)
        same = not waiting or waiting[0][0].buffer.same_as(getattr(statement, "buffer", None))
        if places is not None and same:
            waiting.append((statement, places))
            continue
        count = _needed(statement, waiting)
        done += [*(copy for copy, _ in waiting[:count]), statement]
        waiting = waiting[count:]
    return [*done, *(copy for copy, _ in waiting)]


def _copied(statement: tirx.Stmt) -> range | None:
    """Return the places that a load to registers fills; None for other statements."""
    if not isinstance(statement, tirx.BufferStore) or statement.buffer.scope() != "local":
        return None
    if not isinstance(statement.value, TensorLoad) or statement.value.source.scope() == "local":
        return None
    return _places(statement.indices)


def _needed(statement: tirx.Stmt, waiting: list[tuple[tirx.BufferStore, range]]) -> int:
    """Return how many of the loads `waiting` must come before `statement`."""
    if not waiting:
        return 0
    if not isinstance(statement, tirx.BufferStore | tirx.Bind):
        return len(waiting)
    needed, buffer = 0, waiting[0][0].buffer
    for load in _loads(statement.value):
        if load is not None and not load.source.same_as(buffer):
            continue
        places = None if load is None else _places(load.indices)
        if places is None:
            return len(waiting)
        for number, (_, filled) in enumerate(waiting):
            if places.start < filled.stop and filled.start < places.stop:
                needed = max(needed, (number // TOGETHER + 1) * TOGETHER)
    return needed


def _places(indices: Iterable[Any]) -> range | None:
    """Return the places that `indices` name; None if they are unknown or not adjacent."""
    (index,) = indices
    if isinstance(index, tirx.IntImm):
        return range(int(index), int(index) + 1)
    if not isinstance(index, tirx.Ramp) or not isinstance(index.base, tirx.IntImm):
        return None
    return (
        range(int(index.base), int(index.base) + int(index.lanes))
        if int(index.stride) == 1
        else None
    )


def _loads(value: Any) -> Iterator[TensorLoad | None]:
    """Yield all loads of an expression, and None for each part that cannot be analyzed."""
    if isinstance(value, TensorLoad):
        yield value
    elif isinstance(value, tirx.Broadcast | tirx.Cast):
        yield from _loads(value.value)
    elif hasattr(value, "a") and hasattr(value, "b"):
        yield from _loads(value.a)
        yield from _loads(value.b)
    elif isinstance(value, tirx.Ramp):
        yield from _loads(value.base)
    elif isinstance(value, Call):
        for argument in value.args:
            yield from _loads(argument)
    elif not isinstance(value, tirx.IntImm | tirx.FloatImm | tirx.Var):
        yield None
