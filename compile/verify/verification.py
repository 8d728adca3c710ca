"""The evidence of a bundle: what the gate (compile/verify/criteria.py) needs, made and measured."""

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
from compile.codegen.plan import ScheduleConfig
from compile.emulation.counters import Counts
from compile.emulation.qemu import count_onnxruntime
from compile.emulation.userland import Userland
from compile.frontend.ir import Network
from compile.quantization.cached import parts_of
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


def prove(
    request: Request,
    staging: Path,
    network: Network,
    choices: Mapping[str, ScheduleConfig],
    truth: GoldenCodes,
    before: Evidence | None = None,
) -> Evidence:
    """Parity, speed and, for less than fp32, accuracy of the bundle in `staging`, built by
    `choices`.

    A network of integers has the same bits on every CPU. So an emulated one is compared with the
    same integers here, and it is these whose accuracy a thousand pictures judge. What the same
    bytes were found to be `before`, on another CPU, holds here: only the speed is this one's.
    """
    request.tell("measuring it" if before else "proving it equal, then measuring it")
    target, count = request.target, picture_count(request)
    seen, bits, bar = (
        truth.of(count),
        truth.engine.model.bits,
        criteria.EQUAL_BITS[request.precision],
    )
    if target.is_host:
        engine = CompiledEngine(staging)
        codes = functools.cache(lambda count: _all(engine.hash, truth.of(count).pictures))
        parity = criteria.parity(codes(count), seen.codes, bits, bar, emulated=False)
        equal = _entries(parity=parity, accuracy=_judge(request, truth, codes))
        speed = criteria.speed_here(engine.hash, truth.engine, seen.pictures[0])
    else:
        library = staging / LIBRARY
        if not before:
            twin, expected = _Twin(request, network, choices), seen.codes
            if request.precision == "int8":
                expected, bar = twin.codes(seen.pictures), criteria.EQUAL_BITS["fp32"]
            parity = criteria.parity_emulated(
                library, target, expected, bits, seen.pictures, bar, request.tell
            )
            accuracy = _judge(request, truth, lambda count: twin.codes(truth.of(count).pictures))
        equal = before or _entries(parity=parity, accuracy=accuracy)
        speed = criteria.speed_emulated(
            library, target, seen.pictures[0], _onnxruntime_counts(request)
        )
    return equal | _entries(speed=speed)


def _entries(**parts: criteria.Parity | criteria.Speed | criteria.Accuracy | None) -> Evidence:
    """As evidence has them."""
    return {
        name: {**asdict(part), "passed": part.passed} if part else None
        for name, part in parts.items()
    }


def _judge(
    request: Request, truth: GoldenCodes, codes: Callable[[int], criteria.Codes]
) -> criteria.Accuracy | None:
    """Of the codes of so many views of photographs; fp32 needs no more than its parity."""
    if request.precision == "fp32":
        return None
    request.tell(f"judging {request.precision} on {criteria.VIEWS} views of photographs")
    views = truth.of(criteria.VIEWS)
    return criteria.judge(codes(criteria.VIEWS), views.codes, views.photographs)


def _all(hash_one: Callable[[Image], criteria.Codes], made: Image) -> criteria.Codes:
    """uint64 [N, W] of the pictures `made`."""
    return np.stack([hash_one(picture) for picture in made])


def views_needed(request: Request) -> set[int]:
    """How many views of photographs `prove` will ask `GoldenCodes` for."""
    return {picture_count(request)} | ({criteria.VIEWS} if request.precision != "fp32" else set())


def picture_count(request: Request) -> int:
    """How many pictures parity is proved on."""
    return request.pictures or (1000 if request.target.is_host else 8)


class _Twin:
    """The network in the same precision, less than fp32, compiled for this machine when it is
    needed: in fp16 it computes in float32 and rounds after every step."""

    def __init__(
        self, request: Request, network: Network, choices: Mapping[str, ScheduleConfig]
    ) -> None:
        self.request, self.network, self.choices = request, network, choices
        self.host = read_target(HOST).at("int8" if request.precision == "int8" else "fp32")
        sevens = sorted(key for key, knobs in choices.items() if getattr(knobs, "strassen", False))
        self.key = cache.digest(request.precision, self.host, sevens, *parts_of(network))

    @functools.cached_property
    def hash_one(self) -> Callable[[Image], np.ndarray]:
        """Of one fitted picture, as an engine does it."""
        with tempfile.TemporaryDirectory(prefix="edge-twin-") as folder:
            work = Path(folder)
            build_untuned(self.network, self.host, self.request.precision, work, self.choices)
            return CompiledEngine(work).hash

    def codes(self, made: Image) -> np.ndarray:
        """uint64 [N, W]."""

        def compute() -> dict[str, Any]:
            return {"codes": _all(self.hash_one, made).tolist()}

        found = cache.facts(cache.digest("codes", self.key, made), compute)
        return np.array(found["codes"], np.uint64)


def _onnxruntime_counts(request: Request) -> Counts:
    """What one call of ONNX Runtime does on the emulated CPU; kept, since it never changes."""
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
        file.write_text(json.dumps(asdict(counts)), encoding="utf-8")
    return Counts(**json.loads(file.read_text(encoding="utf-8")))
