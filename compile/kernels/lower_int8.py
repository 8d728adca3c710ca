"""Replace the int8 operators of compile/kernels/instructions.py by instructions of the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tvm
from tvm import tirx
from tvm.ir import Call
from tvm.ir.expr import TensorLoad
from tvm.tirx import Broadcast, BufferLoad, Ramp

from compile.kernels.base import Expr
from compile.kernels.instructions import (
    AVERAGE,
    DOT,
    FRACTION,
    HORIZONTAL_ADD,
    MULTIPLY_HIGH,
    REQUANTIZE,
    ROUND,
    SATURATE,
    SATURATING_ADD,
    WORD,
)
from compile.target.vector_unit import SDOT, SMULL, VNNI


def lower_instructions(value: Expr, kind: str) -> Expr:
    """Replace the int8 operators in `value` by instructions for the dot product `kind`."""
    arm = kind in (SDOT, SMULL)
    steps: dict[Any, Callable[..., Expr]] = {
        WORD: _word,
        DOT: lambda *args: _dot(None, args, kind),
        HORIZONTAL_ADD: _horizontal_add,
        MULTIPLY_HIGH: _multiply_high_arm if arm else _multiply_high,
        SATURATING_ADD: _saturating_add,
        AVERAGE: _average_arm if arm else _average,
        REQUANTIZE: _requantize_arm if arm else _requantize,
        SATURATE: _saturate_int8_arm if arm else _saturate_int8,
        ROUND: _round_to_int8_arm if arm else _round_to_int8,
    }

    def visit(value: Expr) -> Expr:
        if isinstance(value, tirx.Add):
            for sums, product in ((value.a, value.b), (value.b, value.a)):
                if isinstance(product, Call) and product.op.same_as(DOT):
                    return _dot(visit(sums), [visit(arg) for arg in product.args], kind)
        if isinstance(value, Call):
            # WORD and HORIZONTAL_ADD need their arguments as loads, with an address.
            loads = value.op.same_as(WORD) or value.op.same_as(HORIZONTAL_ADD)
            args = list(value.args) if loads else [visit(arg) for arg in value.args]
            for op, make in steps.items():
                if value.op.same_as(op):
                    return make(*args)
            return Call(value.op, args, value.attrs, value.ty_args, ret_ty=value.ty)
        if hasattr(value, "a") and hasattr(value, "b"):
            return type(value)(visit(value.a), visit(value.b))
        if isinstance(value, tirx.Cast):
            return tirx.Cast(str(value.ty), visit(value.value))
        if isinstance(value, Broadcast):
            return Broadcast(visit(value.value), value.lanes)
        return value

    return visit(value)


def _lanes(value: Expr) -> int:
    return int(value.ty.dtype.lanes)


def _llvm(dtype: str, name: str, *args: Expr) -> Expr:
    return tirx.call_llvm_pure_intrin(dtype, name, *args)


def _const(value: float, dtype: str, lanes: int) -> Expr:
    number = tirx.const(value, dtype)
    return Broadcast(number, lanes) if lanes > 1 else number


def _typed(dtype: str, lanes: int) -> str:
    return f"{dtype}x{lanes}" if lanes > 1 else dtype


def _side_by_side(first: Expr, number: int) -> Expr:
    """Return a load of `number` times the lanes of `first`, which loads every `number`-th one."""
    assert isinstance(first, TensorLoad), first
    (index,) = first.indices
    lanes = number
    if isinstance(index, Ramp):
        assert int(index.stride) == number, index
        lanes, index = number * int(index.lanes), index.base
    return BufferLoad(first.source, [Ramp(index, tirx.const(1, str(index.ty)), lanes)])


def _word(first: Expr, *_: Expr) -> Expr:
    if isinstance(first, Broadcast):
        return Broadcast(_word(first.value), first.lanes)
    loaded = _side_by_side(first, 4)
    return tirx.reinterpret(_typed("int32", _lanes(loaded) // 4), loaded)


def _horizontal_add(first: Expr, *_: Expr) -> Expr:
    loaded = _side_by_side(first, 4)
    start = loaded.indices[0].base
    one = tirx.const(1, str(start.ty))
    parts = [
        BufferLoad(loaded.source, [Ramp(start + 4 * part, one, 4)])
        for part in range(_lanes(loaded) // 4)
    ]
    while len(parts) > 1:
        pairs = zip(parts[::2], parts[1::2], strict=True)
        parts = [_llvm("int32x4", "llvm.aarch64.neon.addp", one, other) for one, other in pairs]
    return parts[0]


def _dot(sums: Expr | None, words: Any, kind: str) -> Expr:
    lanes = _lanes(words[1])
    total = _const(0, "int32", lanes) if sums is None else sums
    pairs = list(zip(words[::2], words[1::2], strict=True))
    if kind == SMULL:
        return total + _smull(pairs)
    for one, other in pairs:
        if kind == SDOT:
            rows = [tirx.reinterpret("int8x16", value) for value in (one, other)]
            total = _llvm("int32x4", "llvm.aarch64.neon.sdot", total, rows[1], rows[0])
        elif kind == VNNI and lanes in (4, 8, 16):
            rows = [tirx.reinterpret(f"int8x{4 * lanes}", value) for value in (one, other)]
            total = _llvm(f"int32x{lanes}", f"llvm.x86.avx512.vpdpbusd.{32 * lanes}", total, *rows)
        else:
            total = total + _four_products(one, other, lanes)
    return total


def _smull(pairs: list[tuple[Expr, Expr]]) -> Expr:
    """Return four partial sums of the products of 16 bytes per register."""
    products = None
    for pair in pairs:
        rows = [tirx.reinterpret("int8x16", value) for value in pair]
        for half in (tirx.vectorlow, tirx.vectorhigh):
            parts = [half("int8x8", row) for row in rows]
            product = _llvm("int16x8", "llvm.aarch64.neon.smull", *parts)
            products = product if products is None else products + product
    return _llvm("int32x4", "llvm.aarch64.neon.saddlp", products)


def _four_products(one: Expr, other: Expr, lanes: int) -> Expr:
    total = None
    for byte in range(4):
        unsigned = (one >> _const(8 * byte, "int32", lanes)) & _const(255, "int32", lanes)
        signed = (other << _const(24 - 8 * byte, "int32", lanes)) >> _const(24, "int32", lanes)
        product = unsigned * signed
        total = product if total is None else total + product
    return total


def _in_parts(lanes: int, work: Callable[..., Expr], dtype: str, *args: Expr) -> Expr:
    """Apply `work` to the vectors `args` in parts of `lanes`."""
    count = _lanes(args[0])
    if count <= lanes:
        return work(*args)
    halves = [
        _in_parts(
            lanes,
            work,
            dtype,
            *[half(_typed(str(arg.ty).split("x")[0], count // 2), arg) for arg in args],
        )
        for half in (tirx.vectorlow, tirx.vectorhigh)
    ]  # fmt: skip
    return tirx.vectorcombine(_typed(dtype, count), *halves)


def _multiply_high_arm(value: Expr, factor: Expr) -> Expr:
    def work(value: Expr, factor: Expr) -> Expr:
        lanes = _lanes(value)
        if lanes not in (4, 8):
            return _multiply_high(value, factor)
        return _llvm(f"int16x{lanes}", "llvm.aarch64.neon.sqrdmulh", value, factor)

    return _in_parts(8, work, "int16", value, factor)


def _multiply_high(value: Expr, factor: Expr) -> Expr:
    lanes = _lanes(value)
    names = {32: "avx512.pmul.hr.sw.512", 16: "avx2.pmul.hr.sw", 8: "ssse3.pmul.hr.sw.128"}
    if lanes in names and tvm.target.codegen.llvm_lookup_intrinsic_id("llvm.x86." + names[lanes]):
        return _llvm(f"int16x{lanes}", "llvm.x86." + names[lanes], value, factor)
    wide = _typed("int32", lanes)
    product = tirx.Cast(wide, value) * tirx.Cast(wide, factor)
    rounded = (product + _const(1 << 14, "int32", lanes)) >> _const(15, "int32", lanes)
    return tirx.Cast(_typed("int16", lanes), rounded)


def _saturating_add(one: Expr, other: Expr) -> Expr:
    return _llvm(_typed("int16", _lanes(one)), "llvm.sadd.sat", one, other)


def _average_arm(one: Expr, other: Expr) -> Expr:
    def work(one: Expr, other: Expr) -> Expr:
        if _lanes(one) not in (4, 8):
            return _average(one, other)
        return _llvm(f"int16x{_lanes(one)}", "llvm.aarch64.neon.srhadd", one, other)

    return _in_parts(8, work, "int16", one, other)


def _average(one: Expr, other: Expr) -> Expr:
    return (one | other) - ((one ^ other) >> _const(1, "int16", _lanes(one)))


def _requantize_arm(value: Expr, factor: Expr) -> Expr:
    if _lanes(value) % 4:
        return _requantize(value, factor)

    def half(value: Expr, factor: Expr) -> Expr:
        product = _llvm("int32x4", "llvm.aarch64.neon.sqrdmulh", value, factor)
        fraction = tirx.const(FRACTION, "int32")
        return _llvm("int16x4", "llvm.aarch64.neon.sqrshrn", product, fraction)

    return _bytes_arm(_in_parts(4, half, "int16", value, factor))


def _requantize(value: Expr, factor: Expr) -> Expr:
    lanes = _lanes(value)
    wide, whole = _typed("int64", lanes), _typed("int32", lanes)
    product = tirx.Cast(wide, value) * tirx.Cast(wide, factor)
    product = (product + _const(1 << 30, "int64", lanes)) >> _const(31, "int64", lanes)
    half = _const(1 << (FRACTION - 1), "int32", lanes)
    number = (tirx.Cast(whole, product) + half) >> _const(FRACTION, "int32", lanes)
    low, high = _const(-128, "int32", lanes), _const(127, "int32", lanes)
    return tirx.Cast(_typed("int8", lanes), tirx.max(tirx.min(number, high), low))


def _saturate_int8_arm(value: Expr) -> Expr:
    def work(value: Expr) -> Expr:
        if _lanes(value) != 8:
            return _saturate_int8(value)
        return _llvm("int8x8", "llvm.aarch64.neon.sqxtn", value)

    return _in_parts(8, work, "int8", value)


def _saturate_int8(value: Expr) -> Expr:
    lanes = _lanes(value)
    low, high = _const(-128, "int16", lanes), _const(127, "int16", lanes)
    return tirx.Cast(_typed("int8", lanes), tirx.max(tirx.min(value, high), low))


def _round_to_int8_arm(value: Expr) -> Expr:
    if _lanes(value) % 4:
        return _round_to_int8(value)

    def whole(value: Expr) -> Expr:
        number = _llvm("int32x4", "llvm.aarch64.neon.fcvtns", value)
        return _llvm("int16x4", "llvm.aarch64.neon.sqxtn", number)

    return _bytes_arm(_in_parts(4, whole, "int16", value))


def _bytes_arm(halves: Expr) -> Expr:
    if _lanes(halves) == 4:
        twice = tirx.vectorcombine("int16x8", halves, halves)
        return tirx.vectorlow("int8x4", _llvm("int8x8", "llvm.aarch64.neon.sqxtn", twice))

    def byte(value: Expr) -> Expr:
        return _llvm("int8x8", "llvm.aarch64.neon.sqxtn", value)

    return _in_parts(8, byte, "int8", halves)


def _round_to_int8(value: Expr) -> Expr:
    lanes = _lanes(value)
    low, high = _const(-128, "float32", lanes), _const(127, "float32", lanes)
    inside = tirx.max(tirx.min(value, high), low)
    rounded = _llvm(_typed("float32", lanes), "llvm.rint", inside)
    return tirx.Cast(_typed("int8", lanes), tirx.Cast(_typed("int32", lanes), rounded))
