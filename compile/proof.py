"""The evidence of a bundle: what the gate (compile/gate.py) needs, made and measured."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compile import gate
from compile.counts import Counts
from compile.emulator import count_onnxruntime
from compile.library import build_untuned
from compile.network import Network
from compile.pictures import photos, pictures
from compile.target import HOST, read_target
from compile.userland import Userland
from edge_runtime.bundle import LIBRARY
from edge_runtime.engine.compiled import CompiledEngine
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.model import identify

if TYPE_CHECKING:
    from compile.build import Request

PROOFS = ("parity", "speed", "accuracy")


def prove(request: Request, staging: Path, network: Network) -> dict[str, Any]:
    """Parity, speed and, for less than fp32, accuracy of the bundle in `staging`.

    A network of integers has the same bits on every CPU. So an emulated one is compared with the
    same integers here, and it is these whose accuracy a thousand pictures judge.
    """
    request.tell("proving it equal, then measuring it")
    reference = PortableEngine(request.model)
    made = pictures(request.photos, network.model.input.size, picture_count(request))
    bar, accuracy = gate.EQUAL_BITS[request.precision], None
    parity: gate.Parity
    speed: gate.Speed
    with _twin(request, network) as twin:
        if twin:
            accuracy = _judge(request, twin, reference)
        if request.target.is_host:
            engine = CompiledEngine(staging)
            parity = gate.parity_here(engine.hash, reference, made, bar)
            speed = gate.speed_here(engine.hash, reference, made[0])
        else:
            other = twin if twin and request.precision == "int8" else reference
            bar = gate.EQUAL_BITS["fp32"] if other is twin else bar
            library, target = staging / LIBRARY, request.target
            parity = gate.parity_emulated(library, target, other, made, bar)
            speed = gate.speed_emulated(library, target, made[0], _onnxruntime_counts(request))
    return {
        name: {**asdict(proof), "passed": proof.passed} if proof else None
        for name, proof in zip(PROOFS, (parity, speed, accuracy), strict=True)
    }


def picture_count(request: Request) -> int:
    """How many pictures parity is proved on."""
    return request.pictures or (1000 if request.target.is_host else 8)


@contextmanager
def _twin(request: Request, network: Network) -> Iterator[CompiledEngine | None]:
    """The network in the same precision, if it is less than fp32, compiled for this machine: in
    fp16 it computes in float32 and rounds after every step."""
    if request.precision == "fp32":
        yield None
        return
    host = read_target(HOST).at("int8" if request.precision == "int8" else "fp32")
    with tempfile.TemporaryDirectory(prefix="edge-twin-") as folder:
        work = Path(folder)
        build_untuned(network, host, request.precision, work)
        yield CompiledEngine(work)


def _judge(request: Request, twin: CompiledEngine, reference: PortableEngine) -> gate.Accuracy:
    """Does the network still find what it found?"""
    request.tell(f"judging {request.precision} on {gate.VIEWS} views of photographs")
    made = pictures(request.photos, twin.model.input.size, gate.VIEWS)
    count = len(photos(request.photos, gate.VIEWS))
    return gate.judge(twin.hash, reference, made, count)


def _onnxruntime_counts(request: Request) -> Counts:
    """What one call of ONNX Runtime does on the emulated CPU; kept, since it never changes."""
    model_id, _ = identify(request.model)
    userland = Userland()
    userland.make()
    file = userland.root.parent / f"onnxruntime-{request.target.name}-{model_id[:16]}.json"
    if not file.exists():
        counts = count_onnxruntime(userland, request.model, request.target)
        file.write_text(json.dumps(asdict(counts)), encoding="utf-8")
    return Counts(**json.loads(file.read_text(encoding="utf-8")))
