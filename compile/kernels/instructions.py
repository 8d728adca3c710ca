"""The arithmetic of int8 kernels: operations that CPUs have as one instruction and TVM lacks.

Kernels use these functions on scalars, like any other operator. After vectorization,
compile/kernels/lower_int8.py replaces them by the CPU's instructions. All variants give the same
numbers, so an int8 network has the same codes on every CPU.
"""

from __future__ import annotations

import tvm
from tvm import tirx

from compile.kernels.base import Expr

DOT_PRODUCT_KIND = "edge.dot_product_kind"
"""Attribute of a function: `Vector.dot_product_kind` of its CPU."""

PURE = 1
"""The value of TVM's CallEffectKind::kPure."""


def _operator(name: str) -> tvm.ir.Op:
    full = f"edge.{name}"
    if full not in tvm.ir.Op.list_op_names():
        tvm.get_global_func("ir.RegisterOp")(full, name)
        tvm.ir.register_op_attr(full, "TVectorizable", True)
        tvm.ir.register_op_attr(full, "TCallEffectKind", PURE)
        tvm.ir.register_op_attr(full, "TScriptPrinterName", full)
    return tvm.ir.Op.get(full)


WORD = _operator("word")
DOT = _operator("dot")
HORIZONTAL_ADD = _operator("horizontal_add")
MULTIPLY_HIGH = _operator("multiply_high")
SATURATING_ADD = _operator("saturating_add")
AVERAGE = _operator("average")
SATURATE = _operator("saturate")
ROUND = _operator("round")
REQUANTIZE = _operator("requantize")
FRACTION = 3
"""Fraction bits of the intermediate result of `requantize`."""


def word(bytes_: list[Expr]) -> Expr:
    """Read four adjacent bytes as an int32."""
    return tirx.call_intrin("int32", WORD, *bytes_)


def dot(pairs: list[tuple[Expr, Expr]]) -> Expr:
    """Return the sum of the byte products of `pairs` of int32, four per pair.

    The second bytes are signed. The first ones are signed, too, but unsigned for VNNI and PLAIN.
    With SMULL only the sum over four adjacent results is correct, and the products that are added
    in one 16-bit number must not overflow it (compile/quantization/calibrate.py ensures this).
    """
    return tirx.call_intrin("int32", DOT, *[word for pair in pairs for word in pair])


def horizontal_add(sums: list[Expr]) -> Expr:
    """Return the sum of four adjacent int32."""
    return tirx.call_intrin("int32", HORIZONTAL_ADD, *sums)


def multiply_high(value: Expr, factor: Expr) -> Expr:
    """Return int16: (value * factor + 2**14) >> 15."""
    return tirx.call_intrin("int16", MULTIPLY_HIGH, value, factor)


def average(one: Expr, other: Expr) -> Expr:
    """Return int16: (one + other + 1) >> 1."""
    return tirx.call_intrin("int16", AVERAGE, one, other)


def requantize(value: Expr, factor: Expr) -> Expr:
    """Return int8: the int32 `value` times factor / 2**(31 + FRACTION), saturated.

    The product is rounded to FRACTION bits first, then to an integer.
    """
    return tirx.call_intrin("int8", REQUANTIZE, value, factor)


def saturating_add(one: Expr, other: Expr) -> Expr:
    """Return int16: the sum, saturated."""
    return tirx.call_intrin("int16", SATURATING_ADD, one, other)


def saturate_int8(value: Expr) -> Expr:
    """Return int8: the int16 `value`, saturated."""
    return tirx.call_intrin("int8", SATURATE, value)


def round_to_int8(value: Expr) -> Expr:
    """Return int8: the float32 `value` rounded to nearest, ties to even, and saturated."""
    return tirx.call_intrin("int8", ROUND, value)
