"""The hash head: average over all pixels, then the weighted sums of the hash layer.

logit[k] = sum over c of mean[c] * W[c, k] + B[k]. The activation is monotonic and left out: the
runtime compares the logits with the inverse of the threshold and packs the bits. The sums of each
channel are kept, because the runtime makes the features of them.
"""

from __future__ import annotations

from typing import Any

from tvm import te, tirx
from tvm.s_tir import Schedule

from compile.kernels.base import Kernel, vectorize_loop
from compile.target.vector_unit import Vector


def kernel(
    name: str,
    pixels: int,
    channels: int,
    bits: int,
    vector: Vector,
    dtype: str = "float32",
    scale: float | None = None,
) -> Kernel:
    """Return the kernel (A [pixels, C], W [C, K], B [K], S [C], L float32 [K]).

    It writes S, the sums over all pixels (int32 in int8, else float32), and L, the logits. The sums
    of products are multiplied by `scale` (None: 1 / pixels). In int8 W is float16, to save space.
    """
    a = te.placeholder((pixels, channels), dtype, "A")
    integer = dtype == "int8"
    w = te.placeholder((channels, bits), "float16" if integer else "float32", "W")
    bias = te.placeholder((bits,), "float32", "B")
    p = te.reduce_axis((0, pixels), "p")
    c = te.reduce_axis((0, channels), "c")
    wide = "int32" if integer else "float32"
    total = te.compute((channels,), lambda c: te.sum(a[p, c].astype(wide), axis=p), "S")

    def summand(k: Any) -> Any:
        return total[c].astype("float32") * w[c, k].astype("float32")

    product = te.compute((bits,), lambda k: te.sum(summand(k), axis=c), "product")
    factor = tirx.const(scale or 1 / pixels, "float32")
    logits = te.compute((bits,), lambda k: product[k] * factor + bias[k], "L")
    schedule = Schedule(te.create_prim_func([a, w, bias, total, logits]))

    def sweep(block: Any, across: int) -> None:
        out, reduced = schedule.get_loops(block)
        outer, inner = schedule.split(out, [None, across])
        schedule.reorder(outer, reduced, inner)
        vectorize_loop(schedule, inner, vector.lanes)

    # Four registers of sums at a time hide the latency of an addition.
    sweep(schedule.get_sblock("S"), _divisor(channels, 4 * vector.lanes))
    sweep(schedule.get_sblock("product"), _divisor(bits, 4 * vector.lanes))
    schedule.set_scope(schedule.get_sblock("product"), 0, "global")
    return Kernel(name, schedule.mod["main"], 1)


def _divisor(number: int, most: int) -> int:
    return next(n for n in range(min(number, most), 0, -1) if number % n == 0)
