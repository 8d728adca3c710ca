"""Prefetch the next weights while the current ones are in use.

A pass of the matrix product reads one panel of weights, [K, nr], which the following tiles find in
a near cache. But the first tile that needs the next panel waits for each of its cache lines. If all
weights together exceed the second-level cache and the hardware does not prefetch that far, this
takes a fifth of the time. So every tile prefetches its share of the next panel, which follows this
one in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tvm import tirx
from tvm.ir import Call
from tvm.ir.expr import TensorLoad

LINE_NUMBERS = 16
"""float32 numbers in a cache line of 64 bytes."""
INTO_NEAREST = 3
"""The locality argument of LLVM's prefetch for the first-level cache."""


def prefetch_weights(tiles: tirx.For, step: int) -> tirx.For | None:
    """Add prefetches to the loop over `tiles`; return None if it is not a loop over passes.

    A pass is a loop without inner loops that uses `step` weights per iteration.
    """
    parts = _parts(tiles.body)
    passes = [part for part in parts if isinstance(part, tirx.For)]
    if len(passes) != 1 or any(isinstance(part, tirx.For) for part in _parts(passes[0].body)):
        return None
    (loop,) = passes
    first = next(_weights(loop.body), None)
    if first is None:
        return None
    (index,) = first.indices
    share = -(-step // LINE_NUMBERS // int(tiles.extent))
    start = index.base + step * int(loop.extent) + tiles.loop_var * (share * LINE_NUMBERS)
    ahead = [_fetch(first.source[start + LINE_NUMBERS * line]) for line in range(share)]
    body = tirx.SeqStmt([*ahead, *_parts(loop.body)])
    changed = _with_body(loop, body)
    return _with_body(
        tiles, tirx.SeqStmt([changed if part.same_as(loop) else part for part in parts])
    )


def _fetch(place: Any) -> tirx.Stmt:
    numbers = [tirx.const(number, "int32") for number in (0, INTO_NEAREST, 1)]  # a read, of data
    return tirx.Evaluate(
        tirx.call_llvm_intrin("void", "llvm.prefetch.p0", tirx.address_of(place), *numbers)
    )


def _with_body(loop: tirx.For, body: tirx.Stmt) -> tirx.For:
    head = (loop.loop_var, loop.min, loop.extent, loop.kind)
    return tirx.For(*head, body, loop.thread_binding, loop.annotations)


def _parts(body: tirx.Stmt) -> list[tirx.Stmt]:
    return list(body.seq) if isinstance(body, tirx.SeqStmt) else [body]


def _weights(body: tirx.Stmt) -> Iterator[TensorLoad]:
    """Yield the loads of a register from W, in order."""
    for part in _parts(body):
        if isinstance(part, tirx.BufferStore):
            for load in _loads(part.value):
                if load.source.name.startswith("W") and isinstance(load.indices[0], tirx.Ramp):
                    yield load


def _loads(value: Any) -> Iterator[TensorLoad]:
    if isinstance(value, TensorLoad):
        yield value
    for name in ("a", "b", "value"):
        if hasattr(value, name):
            yield from _loads(getattr(value, name))
    if isinstance(value, Call):
        for argument in value.args:
            yield from _loads(argument)
