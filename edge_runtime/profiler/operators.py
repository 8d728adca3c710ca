"""Time each operator of the network and compare it with the peak of a core."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import median

from edge_runtime.bundle import MODEL, is_bundle
from edge_runtime.code import hamming
from edge_runtime.engine import Engine
from edge_runtime.engine.base import Step
from edge_runtime.errors import EdgeRuntimeError
from edge_runtime.image import Image
from edge_runtime.report.schema import Operator, Operators

CALLS, WARMUP = 30, 3


def peak_macs_per_s() -> float | None:
    """Return the float32 multiply-adds per second of one core, in registers (native/peak.c).

    None if the package was installed without a compiler.
    """
    try:
        from edge_runtime._peak import peak
    except ImportError:
        return None
    return peak() or None


def operators(engine: Engine, image: Image, calls: int = CALLS) -> Iterator[Operators]:
    """Yield the operators of `engine`, and for a bundle those of its network in ONNX Runtime.

    `image` is preprocessed. The time of an operator is compared with the peak of as many cores as
    the engine has threads.
    """
    peak = peak_macs_per_s()
    if steps := engine.steps(image, calls + WARMUP):
        yield _table(engine, steps, peak)
    path = Path(engine.model.path)
    if is_bundle(path):
        try:
            from edge_runtime.engine.portable import PortableEngine

            reference = PortableEngine(path / MODEL, threads=engine.threads)
        except EdgeRuntimeError:  # ONNX Runtime is optional on a board
            return
        steps = reference.steps(image, calls + WARMUP)
        different = int(hamming(engine.hash(image), reference.hash(image)))
        yield _table(reference, steps, peak, 1 - different / engine.model.bits)


def _table(
    engine: Engine, steps: list[Step], peak: float | None, equal_share: float | None = None
) -> Operators:
    times = [median(step.times_ms[WARMUP:] or step.times_ms) for step in steps]
    total_ms = sum(times)

    def share(step: Step, ms: float) -> float | None:
        if not (peak and step.multiply_adds and ms):
            return None
        return round(step.multiply_adds / (ms / 1e3 * peak * engine.threads), 4)

    return Operators(
        engine=engine.name,
        call_count=len(steps[0].times_ms[WARMUP:] or steps[0].times_ms),
        total_ms=round(total_ms, 4),
        equal_share=equal_share,
        peak_macs_per_s=peak,
        operators=[
            Operator(
                name=step.name,
                kind=step.kind,
                p50_ms=round(ms, 4),
                time_share=round(ms / total_ms, 4) if total_ms else 0.0,
                macs=step.multiply_adds,
                peak_share=share(step, ms),
            )
            for step, ms in zip(steps, times, strict=True)
        ],
    )
