"""Transpose columns to rows in registers before they are stored.

A tile of D (kernels/separable.py) is computed one vector of channels at a time, but its pixels are
adjacent in memory. Each vector would be stored one value at a time. Instead, 24 instructions that
interleave two vectors transpose eight vectors of eight, and eight instructions store them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from tvm import tirx
from tvm.sym import Analyzer

Vectors = list[Any]


def transpose_stores(statements: list[tirx.Stmt]) -> list[tirx.Stmt]:
    """Store each run of columns in the sequence `statements` as rows."""
    done: list[tirx.Stmt] = []
    for kind, group in groupby(statements, _kind):
        run = list(group)
        done += run if kind is None else _rows(run)
    return done


def _kind(statement: tirx.Stmt) -> tuple[Any, ...] | None:
    """Return what stores of one run of columns have in common; None for other statements."""
    if not isinstance(statement, tirx.BufferStore) or len(statement.indices) != 1:
        return None
    (index,) = statement.indices
    if not isinstance(index, tirx.Ramp) or not isinstance(index.stride, tirx.IntImm):
        return None
    stride, lanes = int(index.stride), int(index.lanes)
    if stride <= 1 or lanes < 4 or lanes & (lanes - 1):
        return None
    return statement.buffer.name, stride, lanes


def _rows(stores: list[tirx.BufferStore]) -> Iterator[tirx.Stmt]:
    first = stores[0].indices[0]
    stride, lanes = int(first.stride), int(first.lanes)
    analyzer = Analyzer()
    places: dict[int, tirx.BufferStore] = {}
    for store in stores:
        distance = analyzer.simplify(store.indices[0].base - first.base)
        if not isinstance(distance, tirx.IntImm) or int(distance) in places:
            return iter(stores)
        places[int(distance)] = store
    return _blocks(places, stride, lanes)


def _blocks(places: dict[int, tirx.BufferStore], stride: int, lanes: int) -> Iterator[tirx.Stmt]:
    """Yield stores, given by their distance from the first one, in blocks of adjacent columns."""
    left = sorted(places)
    while left:
        start, count = left[0], lanes
        while any(start + column not in places for column in range(count)):
            count //= 2
        block = [places[start + column] for column in range(count)]
        left = [place for place in left if not start <= place < start + count]
        yield from _block(block, stride, lanes) if count > 1 else block


def _block(columns: list[tirx.BufferStore], stride: int, lanes: int) -> Iterator[tirx.Stmt]:
    count, buffer = len(columns), columns[0].buffer
    base, one = columns[0].indices[0].base, tirx.const(1, "int32")
    vectors: Vectors = []
    for column in columns:
        vectors.append(tirx.Var("column", column.value.ty))
        yield tirx.Bind(vectors[-1], column.value)
    half = count
    while half > 1:
        half //= 2
        pairs = list(zip(vectors[: count // 2], vectors[count // 2 :], strict=True))
        vectors = []
        for pair in pairs:
            for start in (0, lanes // 2):
                mix = [
                    lane + side for lane in range(start, start + lanes // 2) for side in (0, lanes)
                ]
                vectors.append(tirx.Var("mixed", pair[0].ty))
                yield tirx.Bind(vectors[-1], _shuffled(pair, mix))
    for row in range(lanes):
        held, place = divmod(row * count, lanes)
        value = vectors[held]
        if count < lanes:
            value = _shuffled([value], range(place, place + count))
        yield tirx.BufferStore(buffer, value, [tirx.Ramp(base + row * stride, one, count)])


def _shuffled(vectors: Any, lanes: Any) -> Any:
    return tirx.Shuffle(list(vectors), [tirx.const(lane, "int32") for lane in lanes])
