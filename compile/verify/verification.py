"""Verify a bundle: collect the evidence that compile/verify/criteria.py judges."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from compile import cache
from compile.codegen.workloads import ScheduleConfig
from compile.emulation.counters import Counts
from compile.emulation.qemu import count_onnxruntime
from compile.emulation.userland import Userland
from compile.frontend.ir import Network
from compile.quantization.cached import network_parts
from compile.target.description import HOST, read_target
from compile.tuning.untuned import build_untuned
from compile.verify import criteria
from compile.verify.evidence_store import Evidence
from compile.verify.golden import GoldenCodes
from compile.verify.request import Request
from edge_runtime.bundle import LIBRARY
from edge_runtime.engine.compiled import CompiledEngine
from edge_runtime.image import Image
from edge_runtime.model import identify


def verify(
    request: Request,
    staging: Path,
    network: Network,
    choices: Mapping[str, ScheduleConfig],
    golden: GoldenCodes,
    before: Evidence | None = None,
) -> Evidence:
    """Return parity, speed and, below fp32, accuracy of the bundle in `staging`.

    An int8 network has the same bits on every CPU. So an emulated one is compared with the same
    network on this machine, whose accuracy is measured on a thousand pictures. Evidence `before`
    for the same bytes on another CPU applies here, too: then only the speed is measured.
    """
    request.log("measuring its speed" if before else "verifying that it is equal, and its speed")
    target = request.target
    if target.is_host:
        return _verify_here(request, staging, golden)
    library = staging / LIBRARY
    evidence = before or _verify_emulated(request, library, network, choices, golden)
    picture = golden.get(picture_count(request)).pictures[0]
    speed = criteria.estimate_speed(library, target, picture, _onnxruntime_counts(request))
    return evidence | _entries(speed=speed)


def _verify_here(request: Request, staging: Path, golden: GoldenCodes) -> Evidence:
    engine = CompiledEngine(staging)
    codes = functools.cache(lambda count: _hash_all(engine.hash, golden.get(count).pictures))
    views = golden.get(picture_count(request))
    parity = criteria.measure_parity(
        codes(len(views.pictures)),
        views.codes,
        golden.engine.model.bits,
        criteria.EQUAL_BITS[request.precision],
        emulated=False,
    )
    accuracy = _accuracy(request, golden, codes)
    speed = criteria.measure_speed(engine.hash, golden.engine, views.pictures[0])
    return _entries(parity=parity, accuracy=accuracy, speed=speed)


def _verify_emulated(
    request: Request,
    library: Path,
    network: Network,
    choices: Mapping[str, ScheduleConfig],
    golden: GoldenCodes,
) -> Evidence:
    """Return parity and accuracy of a library for another CPU."""
    reference = HostReference(request, network, choices)
    views = golden.get(picture_count(request))
    expected, bar = views.codes, criteria.EQUAL_BITS[request.precision]
    if request.precision == "int8":
        expected, bar = reference.codes(views.pictures), criteria.EQUAL_BITS["fp32"]
    bits = golden.engine.model.bits
    parity = criteria.measure_emulated_parity(
        library, request.target, expected, bits, views.pictures, bar, request.log
    )
    accuracy = _accuracy(request, golden, lambda count: reference.codes(golden.get(count).pictures))
    return _entries(parity=parity, accuracy=accuracy)


def _entries(**parts: criteria.Parity | criteria.Speed | criteria.Accuracy | None) -> Evidence:
    """Return `parts` in the form in which the evidence stores them."""
    return {
        name: {**asdict(part), "passed": part.passed} if part else None
        for name, part in parts.items()
    }


def _accuracy(
    request: Request, golden: GoldenCodes, codes: Callable[[int], criteria.Codes]
) -> criteria.Accuracy | None:
    """Measure the accuracy of `codes(count)`. For fp32, parity is enough: return None."""
    if request.precision == "fp32":
        return None
    request.log(
        f"measuring the accuracy of {request.precision} on {criteria.VIEWS} views of photographs"
    )
    views = golden.get(criteria.VIEWS)
    return criteria.measure_accuracy(codes(criteria.VIEWS), views.codes, views.photographs)


def _hash_all(hash_one: Callable[[Image], criteria.Codes], pictures: Image) -> criteria.Codes:
    """Return the codes uint64 [N, W] of `pictures`."""
    return np.stack([hash_one(picture) for picture in pictures])


def views_needed(request: Request) -> set[int]:
    """Return the counts of views that `verify` will ask `GoldenCodes` for."""
    return {picture_count(request)} | ({criteria.VIEWS} if request.precision != "fp32" else set())


def picture_count(request: Request) -> int:
    """Return the number of pictures to verify parity on."""
    return request.pictures or (1000 if request.target.is_host else 8)


class HostReference:
    """The same network in the same precision, compiled for this machine when it is first used.

    In fp16 it computes in float32 and rounds after every step.
    """

    def __init__(
        self, request: Request, network: Network, choices: Mapping[str, ScheduleConfig]
    ) -> None:
        self.request, self.network, self.choices = request, network, choices
        self.host = read_target(HOST).at("int8" if request.precision == "int8" else "fp32")
        sevens = sorted(key for key, each in choices.items() if getattr(each, "strassen", False))
        self.key = cache.digest(request.precision, self.host, sevens, *network_parts(network))

    @functools.cached_property
    def hash_one(self) -> Callable[[Image], criteria.Codes]:
        """Return the code of one preprocessed picture."""
        with tempfile.TemporaryDirectory(prefix="edge-reference-") as folder:
            work = Path(folder)
            build_untuned(self.network, self.host, self.request.precision, work, self.choices)
            return CompiledEngine(work).hash

    def codes(self, pictures: Image) -> criteria.Codes:
        """Return the codes uint64 [N, W] of `pictures`."""

        def compute() -> dict[str, Any]:
            return {"codes": _hash_all(self.hash_one, pictures).tolist()}

        stored = cache.cached_json(cache.digest("codes", self.key, pictures), compute)
        return np.array(stored["codes"], np.uint64)


def _onnxruntime_counts(request: Request) -> Counts:
    """Return the counts of one call of ONNX Runtime on the emulated CPU. They never change."""
    model_id, _ = identify(request.model)
    userland = Userland()
    userland.make()
    target = request.target
    cpu = (
        f"{target.emulated_as}-{target.l1d_kib}-{target.l1d_ways}-{target.l2_kib}-{target.l2_ways}"
    )
    file = userland.root.parent / f"onnxruntime-{cpu}-{model_id[:16]}.json"
    if not file.exists():
        counts = count_onnxruntime(userland, request.model, target)
        cache.write_text(file, json.dumps(asdict(counts)))
    return Counts(**json.loads(file.read_text(encoding="utf-8")))
