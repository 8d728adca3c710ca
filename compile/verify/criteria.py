"""The criteria of the verification: a bundle must be equal to ONNX Runtime, and faster.

Equal: its bits are those of ONNX Runtime on the same pictures (fp32: at least 99.99 % of them).
Faster: on this machine, less CPU time than ONNX Runtime in the same run; for another CPU, fewer
estimated cycles on the emulated one. An estimate is labeled as one wherever it is shown.
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

from compile.emulation.counters import Counts
from compile.emulation.picture_file import write_pictures
from compile.emulation.qemu import count_library, emulated_codes, emulator_version
from compile.target.description import Target
from edge_runtime.code import hamming
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.image import Image
from edge_runtime.image.preprocess import normalize
from edge_runtime.system.cpu import cpuinfo

EQUAL_BITS = {"fp32": 0.9999, "fp16": 0.97, "int8": 0.95}
"""Smallest share of equal bits by precision. Below fp32 it only detects gross errors: the accuracy
decides (`measure_accuracy`)."""
MAX_MAP_LOSS = 0.005
"""Largest loss of MAP@100 relative to fp32."""
VIEWS = 1000
"""Views that the accuracy is measured on."""
TOP = 100
ROUNDS = 60
Codes = NDArray[np.uint64]


@dataclass(frozen=True)
class Parity:
    """The share of bits equal to ONNX Runtime's. The field names are keys of the evidence."""

    pictures: int
    bits: int
    different_bits: int
    share_equal: float
    bar: float
    """Smallest share that passes."""
    emulated: bool
    where: str
    """The processor, or the emulator, that computed the codes."""
    at: str
    """Time in UTC, ISO 8601."""

    @classmethod
    def read(cls, entry: dict[str, Any]) -> Parity:
        """Read an entry of the evidence; raises TypeError if its format is another one."""
        return cls(**{name: value for name, value in entry.items() if name != "passed"})

    @property
    def summary(self) -> str:
        """On how many pictures, by what, and when."""
        return f"on {self.pictures:,} pictures, {self.where}, {self.at[:10]}"

    @property
    def passed(self) -> bool:
        """Whether enough bits are equal."""
        return self.share_equal >= self.bar


@dataclass(frozen=True)
class Speed:
    """The time relative to ONNX Runtime's. The field names are keys of the evidence."""

    unit: str
    """ms of CPU, or estimated Mcycles."""
    ours: float
    onnxruntime: float
    ratio: float
    """ours / onnxruntime."""
    estimate: bool
    counts: dict[str, Any] | None = None

    @property
    def passed(self) -> bool:
        """Whether the bundle is faster than ONNX Runtime."""
        return self.ratio < 1


@dataclass(frozen=True)
class Accuracy:
    """MAP@100 of retrieving the other views of a photograph (Qi et al. 2017).

    Every view is a query among the others. The field names are keys of the evidence.
    """

    views: int
    photographs: int
    map100: float
    map100_reference: float
    loss: float
    bar: float
    """Largest loss that passes."""

    @property
    def passed(self) -> bool:
        """Whether the loss is small enough."""
        return self.loss <= self.bar


def measure_accuracy(ours: Codes, theirs: Codes, photographs: int) -> Accuracy:
    """Compare the codes [N, W] of N views that show `photographs` photographs in turn."""
    labels = np.arange(len(ours)) % photographs
    found, reference = (mean_average_precision(codes, labels) for codes in (ours, theirs))
    return Accuracy(
        len(ours),
        photographs,
        round(found, 5),
        round(reference, 5),
        round(reference - found, 5),
        MAX_MAP_LOSS,
    )


def mean_average_precision(codes: Codes, labels: NDArray[np.int64]) -> float:
    """Return MAP@100 of `codes` uint64 [N, W], each a query among the others; ties by index."""
    total = 0.0
    for query in range(len(codes)):
        distances = hamming(codes[query], codes).astype(np.int64)
        distances[query] = 1 << 30  # sorts the query last, so that it is cut off
        nearest = np.argsort(distances, kind="stable")[: min(TOP, len(codes) - 1)]
        hits = labels[nearest] == labels[query]
        if hits.any():
            precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
            total += float(precision[hits].mean())
    return total / len(codes)


def measure_parity(
    ours: Codes, theirs: Codes, bits: int, bar: float, *, emulated: bool, where: str = ""
) -> Parity:
    """Compare codes [N, W] of `bits` bits for the same pictures.

    `where` names what computed them (default: this machine's processor).
    """
    different = sum(
        int(hamming(code, other[np.newaxis])[0]) for code, other in zip(ours, theirs, strict=True)
    )
    total, at = len(ours) * bits, datetime.now(UTC).isoformat(timespec="seconds")
    share = 1 - different / total
    return Parity(len(ours), total, different, share, bar, emulated, where or processor_name(), at)


def measure_emulated_parity(
    library: Path,
    target: Target,
    expected: Codes,
    bits: int,
    pictures: Image,
    bar: float,
    log: Callable[[str], None] = lambda text: None,
) -> Parity:
    """Run a library for another CPU on the emulator and compare its codes with `expected`."""
    lines = emulated_codes(library, pictures, target, log)
    words = [[int(line[i : i + 16], 16) for i in range(0, len(line), 16)] for line in lines]
    where = f"QEMU {emulator_version(target)} as {target.emulated_as}"
    codes = np.array(words, np.uint64)
    return measure_parity(codes, expected, bits, bar, emulated=True, where=where)


def processor_name() -> str:
    """Return the name of this machine's processor."""
    return cpuinfo().get("model name") or f"{platform.machine()} processor"


def measure_speed(
    hash_one: Callable[[Image], Codes], reference: PortableEngine, picture: Image
) -> Speed:
    """Measure CPU time on one thread, interleaved with ONNX Runtime.

    ONNX Runtime gets its input already normalized.
    """
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


def estimate_speed(library: Path, target: Target, picture: Image, theirs: Counts) -> Speed:
    """Estimate the cycles of one call, and compare with ONNX Runtime's counts `theirs`."""
    with tempfile.TemporaryDirectory(prefix="edge-verify-") as folder:
        file = Path(folder) / "pictures.bgr"
        write_pictures(np.stack([picture] * 2), file)
        ours = count_library(library, file, target)
    a, b = ours.cycles(target) / 1e6, theirs.cycles(target) / 1e6
    counts = {
        "ours": {**asdict(ours), "instructions": ours.instructions},
        "onnxruntime": {**asdict(theirs), "instructions": theirs.instructions},
    }
    return Speed("estimated Mcycles", round(a, 1), round(b, 1), round(a / b, 3), True, counts)
