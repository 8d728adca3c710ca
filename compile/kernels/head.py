"""The tail: average over all pixels, then the hash layer's weighted sums.

logit[k] = sum over c of mean[c] * W[c, k] + B[k]. The sigmoid is left out: it is monotonic, so
that the plan compares the logit with logit(threshold) and packs the bits.
"""

from __future__ import annotations

from typing import Any

from tvm import te, tirx
from tvm.s_tir import Schedule

from compile.kernels.base import Kernel, vectorise
from compile.target.vector_unit import Vector


def kernel(
    name: str,
    pixels: int,
    channels: int,
    bits: int,
    vector: Vector,
    dtype: str = "float32",
    share: float | None = None,
) -> Kernel:
    """(A [pixels, C], W [C, K], B [K], L float32 [K]); int8: W is float16, to be smaller, and the
    sums of its products count `share` (else 1 / pixels)."""
    a = te.placeholder((pixels, channels), dtype, "A")
    whole = dtype == "int8"
    w = te.placeholder((channels, bits), "float16" if whole else "float32", "W")
    bias = te.placeholder((bits,), "float32", "B")
    p = te.reduce_axis((0, pixels), "p")
    c = te.reduce_axis((0, channels), "c")
    wide = "int32" if whole else "float32"
    total = te.compute((channels,), lambda c: te.sum(a[p, c].astype(wide), axis=p), "total")

    def summand(k: Any) -> Any:
        return total[c].astype("float32") * w[c, k].astype("float32")

    product = te.compute((bits,), lambda k: te.sum(summand(k), axis=c), "product")
    each = tirx.const(share or 1 / pixels, "float32")
    logits = te.compute((bits,), lambda k: product[k] * each + bias[k], "L")
    schedule = Schedule(te.create_prim_func([a, w, bias, logits]))

    def sweep(block: Any, across: int) -> None:
        out, reduced = schedule.get_loops(block)
        outer, inner = schedule.split(out, [None, across])
        schedule.reorder(outer, reduced, inner)
        vectorise(schedule, inner, vector.lanes)
        schedule.set_scope(block, 0, "global")

    # Four sums at a time hide the latency of an addition.
    sweep(schedule.get_sblock("total"), _divisor(channels, 4 * vector.lanes))
    sweep(schedule.get_sblock("product"), _divisor(bits, 4 * vector.lanes))
    return Kernel(name, schedule.mod["main"], 1)


def _divisor(number: int, most: int) -> int:
    return next(n for n in range(min(number, most), 0, -1) if number % n == 0)
