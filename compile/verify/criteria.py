"""The gate: a bundle is promoted only with evidence that it is equal, and faster.

Equal: its bits are those of ONNX Runtime on the same pictures (fp32: at least 99.99 % of them).
Faster: on this machine, CPU time beside ONNX Runtime in one run; for another CPU, the estimated
cycles of both on the emulated one. An estimate is called one wherever it shows.
"""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compile.emulation.picture_file import write_pictures
from compile.emulation.qemu import count_library, emulated_codes, emulator_version
from compile.target.description import Target
from edge_runtime.code import hamming
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.image import Image
from edge_runtime.image.preprocess import normalize
from edge_runtime.system.cpu import cpuinfo

EQUAL_BITS = {"fp32": 0.9999, "fp16": 0.97, "int8": 0.95}
"""At least, of a precision; of the others it only says that nothing is badly wrong: see `judge`."""
MAP_LOSS = 0.005
"""Of less than fp32, at most."""
VIEWS = 1000
Codes = NDArray[np.uint64]
BEST = 100
ROUNDS = 60


@dataclass(frozen=True)
class Parity:
    """How equal."""

    pictures: int
    bits: int
    different_bits: int
    share_equal: float
    bar: float
    emulated: bool
    where: str
    """What ran it."""
    at: str
    """When, UTC, ISO 8601."""

    @classmethod
    def read(cls, entry: dict[str, Any]) -> Parity:
        """As evidence has it; raises TypeError if that is of another version."""
        return cls(**{name: value for name, value in entry.items() if name != "passed"})

    @property
    def told(self) -> str:
        """On how much, by what, when."""
        return f"on {self.pictures:,} pictures, {self.where}, {self.at[:10]}"

    @property
    def passed(self) -> bool:
        """Whether the bar is met."""
        return self.share_equal >= self.bar


@dataclass(frozen=True)
class Speed:
    """How fast, beside ONNX Runtime. CPU milliseconds, or estimated megacycles."""

    unit: str
    ours: float
    onnxruntime: float
    ratio: float
    estimate: bool
    counts: dict[str, Any] | None = None

    @property
    def passed(self) -> bool:
        """Faster is what counts."""
        return self.ratio < 1


@dataclass(frozen=True)
class Accuracy:
    """Whether codes still find the other views of the same photograph: mean average precision
    of the 100 nearest (Qi et al. 2017), every view being a query."""

    views: int
    photographs: int
    map100: float
    map100_reference: float
    loss: float
    bar: float

    @property
    def passed(self) -> bool:
        """Whether the bar is met."""
        return self.loss <= self.bar


def judge(ours: Codes, theirs: Codes, photographs: int) -> Accuracy:
    """Of the codes [N, W] of disturbed views of so many photographs in turn."""
    labels = np.arange(len(ours)) % photographs
    found, bar = (mean_average_precision(codes, labels) for codes in (ours, theirs))
    return Accuracy(
        len(ours), photographs, round(found, 5), round(bar, 5), round(bar - found, 5), MAP_LOSS
    )


def mean_average_precision(codes: Codes, labels: NDArray[np.int64]) -> float:
    """MAP@100 of `codes` uint64 [N, W], each a query among the others; ties by place."""
    total = 0.0
    for query in range(len(codes)):
        distances = hamming(codes[query], codes).astype(np.int64)
        distances[query] = 1 << 30  # last, and cut off
        nearest = np.argsort(distances, kind="stable")[: min(BEST, len(codes) - 1)]
        hits = labels[nearest] == labels[query]
        if hits.any():
            precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
            total += float(precision[hits].mean())
    return total / len(codes)


def parity(
    ours: Codes, theirs: Codes, bits: int, bar: float, *, emulated: bool, where: str = ""
) -> Parity:
    """Of the codes [N, W], of `bits` each, of the same pictures; `where`: what gave them, if it
    was not this machine."""
    different = sum(
        int(hamming(code, other[np.newaxis])[0]) for code, other in zip(ours, theirs, strict=True)
    )
    total, at = len(ours) * bits, datetime.now(UTC).isoformat(timespec="seconds")
    share = 1 - different / total
    return Parity(len(ours), total, different, share, bar, emulated, where or this_machine(), at)


def parity_emulated(
    library: Path,
    target: Target,
    expected: Codes,
    bits: int,
    made: Image,
    bar: float,
    tell: Callable[[str], None] = lambda text: None,
) -> Parity:
    """Of a library for another CPU, on the emulated one, with the codes `expected` [N, W] of
    `bits` each."""
    lines = emulated_codes(library, made, target, tell)
    words = [[int(line[i : i + 16], 16) for i in range(0, len(line), 16)] for line in lines]
    where = f"QEMU {emulator_version(target)} as {target.emulated_as}"
    return parity(np.array(words, np.uint64), expected, bits, bar, emulated=True, where=where)


def this_machine() -> str:
    """Its processor, by name."""
    return cpuinfo().get("model name") or f"{platform.machine()} processor"


def speed_here(
    hash_one: Callable[[Image], np.ndarray], reference: PortableEngine, picture: Image
) -> Speed:
    """CPU time of one thread each, in turn; ONNX Runtime gets its input already normalised."""
    normalize(picture, reference.model.input, reference._tensor[0])

    def theirs() -> None:
        reference._session.run([reference._output], {reference._input: reference._tensor})

    samples: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(ROUNDS):
        for name, call in (("ours", lambda: hash_one(picture)), ("theirs", theirs)):
            began = time.process_time_ns()
            call()
            samples[name].append((time.process_time_ns() - began) / 1e6)
    ours, other = median(samples["ours"]), median(samples["theirs"])
    return Speed("ms of CPU", round(ours, 3), round(other, 3), round(ours / other, 3), False)


def speed_emulated(library: Path, target: Target, picture: Image, theirs: Any) -> Speed:
    """Estimated cycles of one call, ours and ONNX Runtime's counts `theirs`."""
    with tempfile.TemporaryDirectory(prefix="edge-gate-") as folder:
        file = Path(folder) / "pictures.bgr"
        write_pictures(np.stack([picture] * 2), file)
        ours = count_library(library, file, target)
    a, b = ours.cycles(target) / 1e6, theirs.cycles(target) / 1e6
    counts = {
        "ours": {**asdict(ours), "instructions": ours.instructions},
        "onnxruntime": {**asdict(theirs), "instructions": theirs.instructions},
    }
    return Speed("estimated Mcycles", round(a, 1), round(b, 1), round(a / b, 3), True, counts)
