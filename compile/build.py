"""One compile: from an ONNX hash network to a promoted bundle, or to the reason why not."""

from __future__ import annotations

import json
import shutil
import tarfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from compile import gate
from compile.emulator import Counts, EmulatorRunner, count_in_userland
from compile.front import read_network
from compile.library import build_library
from compile.network import Network
from compile.pictures import pictures
from compile.plan import Knobs, Workload, make_plan, workloads
from compile.records import Records
from compile.runner import LocalRunner, Runner
from compile.search import Told, search
from compile.target import Target
from compile.toolchain import FFI, TVM, c_compiler, version_of
from compile.userland import Userland
from edge_runtime.bundle import EVIDENCE, LIBRARY, MANIFEST, MODEL, write_manifest
from edge_runtime.engine.compiled import CompiledEngine
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.errors import CompileError, NetworkUnsupportedError, storage_error
from edge_runtime.model import identify, parse_metadata

PRECISION = "fp32"
TRIALS = 40
"""Choices tried for each workload that has no record."""


@dataclass
class Request:
    """What is to be compiled, and how hard to try."""

    model: Path
    target: Target
    out: Path
    """The folder of the bundle, and with .tar.gz added its archive."""
    trials: int | None = None
    """None: search only where there is no record."""
    runner: str = ""
    """local or emulator; empty: what fits the target."""
    photos: Path | None = None
    pictures: int = 0
    """How many to prove parity on; 0: 1,000 here, 8 on the emulator, which takes seconds for each."""
    records: Path | None = None
    tell: Callable[[str], None] = field(default=lambda text: None)
    progress: Told = field(default=lambda workload, count, best: None)


@dataclass(frozen=True)
class Result:
    """What came of it."""

    bundle: Path
    promoted: bool
    evidence: dict[str, Any]


def compile_bundle(request: Request) -> Result:
    """Search, build, prove, promote.

    A bundle that was promoted before is replaced only by one that passes its gate; the one that
    does not is left beside it, as OUT.rejected, with its evidence. Raises errors of the families
    `ModelError`, `CompileError` and `StorageError`.
    """
    began = time.perf_counter()
    try:
        network = read_network(request.model)
    except NetworkUnsupportedError:
        _portable_bundle(request)
        raise
    try:
        return _compile(request, network, began)
    except OSError as error:
        raise storage_error(error, request.out) or error from error


def _compile(request: Request, network: Network, began: float) -> Result:
    target = request.target
    runner = make_runner(request.runner, target)
    records = Records.of(target, PRECISION, *([request.records] if request.records else []))
    choices = _choose(request, network, runner, records)
    searched = time.perf_counter()
    plan = make_plan(network, choices, target.vector)
    staging = request.out.with_name(request.out.name + ".rejected")
    shutil.rmtree(staging, ignore_errors=True)
    work = staging / "work"
    request.tell(f"building {LIBRARY}: {len(plan.steps)} steps, {len(plan.kernels)} kernels")
    library = build_library(plan, target, PRECISION, work)
    built = time.perf_counter()
    library.replace(staging / LIBRARY)
    shutil.copyfile(request.model, staging / MODEL)
    shutil.rmtree(work)
    _describe(staging, network, target)
    request.tell("proving it equal, then measuring it")
    parity, speed = _prove(request, staging, network)
    evidence = {
        "parity": {**asdict(parity), "passed": parity.passed},
        "speed": {**asdict(speed), "passed": speed.passed},
        "library_bytes": (staging / LIBRARY).stat().st_size,
        "arena_bytes": plan.arena_bytes,
        "multiply_adds": network.multiply_adds,
        "tuning": {key: asdict(knobs) for key, knobs in sorted(choices.items())},
        "seconds": {
            "search": round(searched - began, 1),
            "build": round(built - searched, 1),
            "prove": round(time.perf_counter() - built, 1),
        },
    }
    (staging / EVIDENCE).write_text(json.dumps(evidence, indent=1) + "\n", encoding="utf-8")
    (staging / MANIFEST).unlink()
    _describe(staging, network, target)
    promoted = parity.passed and speed.passed
    if promoted:
        _promote(staging, request.out)
    return Result(request.out if promoted else staging, promoted, evidence)


def make_runner(name: str, target: Target) -> Runner:
    """The runner called `name`, or the one that fits `target`."""
    chosen = name or ("local" if target.is_host else "emulator")
    if chosen == "local" and target.is_host:
        return LocalRunner(target)
    if chosen == "emulator" and not target.is_host:
        return EmulatorRunner(target)
    raise CompileError(
        f"the runner {chosen} cannot run code for {target.name}",
        where="RUNNER",
        remedy="local is for TARGET=host, emulator for the boards",
    )


def _choose(
    request: Request, network: Network, runner: Runner, records: Records
) -> dict[str, Knobs]:
    choices: dict[str, Knobs] = {}
    wanted: list[Workload] = []
    for work in workloads(network):
        record = records.get(work)
        if record is None or record.unit != runner.unit or request.trials is not None:
            wanted.append(work)
        if record is not None:
            choices[work.key] = record.knobs
    unique = list({work.key: work for work in wanted}.values())
    trials = TRIALS if request.trials is None else request.trials
    if unique and trials:
        request.tell(f"searching {len(unique)} workloads, {trials} trials each, on {runner.name}")
    for work in unique:
        if trials or work.key not in choices:
            found = search(work, runner, records, max(trials, 1), request.progress)
            choices[work.key] = found.knobs
    return choices


def _prove(request: Request, staging: Path, network: Network) -> tuple[gate.Parity, gate.Speed]:
    size = network.model.input.size
    reference = PortableEngine(request.model)
    count = request.pictures or (1000 if request.target.is_host else 8)
    made = pictures(request.photos, size, count)
    if request.target.is_host:
        engine = CompiledEngine(staging)
        parity = gate.parity_here(engine.hash, reference, made)
        return parity, gate.speed_here(engine.hash, reference, made[0])
    parity = gate.parity_emulated(staging / LIBRARY, request.target, reference, made)
    theirs = _onnxruntime_counts(request)
    return parity, gate.speed_emulated(staging / LIBRARY, request.target, made[0], theirs)


def _onnxruntime_counts(request: Request) -> Counts:
    """What one call of ONNX Runtime does on the emulated CPU; kept, since it never changes."""
    model_id, _ = identify(request.model)
    userland = Userland()
    userland.make()
    file = userland.root.parent / f"onnxruntime-{request.target.name}-{model_id[:16]}.json"
    if not file.exists():
        counts = count_in_userland(userland, request.model, request.target)
        file.write_text(json.dumps(asdict(counts)), encoding="utf-8")
    return Counts(**json.loads(file.read_text(encoding="utf-8")))


def _describe(folder: Path, network: Network, target: Target) -> None:
    write_manifest(
        folder,
        network.model,
        target={
            "name": target.name,
            "board": target.board,
            "triple": target.triple,
            "cpu": target.cpu,
            "features": list(target.features),
        },
        precision=PRECISION,
        budgets=target.budgets,
        tools={
            "apache-tvm": TVM,
            "apache-tvm-ffi": FFI,
            "compiler": version_of(c_compiler(target.triple)),
        },
    )


def _promote(staging: Path, out: Path) -> None:
    """Put the folder `staging` in the place of `out`, and its archive beside it."""
    archive = out.with_name(out.name + ".tar.gz")
    temporary = out.with_name(out.name + ".tar.gz.new")
    with tarfile.open(temporary, "w:gz", compresslevel=1) as tar:
        tar.add(staging, arcname=out.name)
    old = out.with_name(out.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    staging.rename(out)
    temporary.replace(archive)
    shutil.rmtree(old, ignore_errors=True)


def _portable_bundle(request: Request) -> None:
    """The network as it is, for the portable engine, where it cannot be compiled."""
    import onnx

    model_id, size_bytes = identify(request.model)
    metadata = {entry.key: entry.value for entry in onnx.load(request.model).metadata_props}
    info = parse_metadata(metadata, path=request.model, model_id=model_id, size_bytes=size_bytes)
    staging = request.out.with_name(request.out.name + ".new")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    shutil.copyfile(request.model, staging / MODEL)
    target = request.target
    write_manifest(
        staging,
        info,
        target={"name": target.name, "triple": target.triple, "cpu": target.cpu, "features": []},
        precision="portable",
        budgets=target.budgets,
        tools={},
    )
    _promote(staging, request.out)
    request.tell(f"{request.out} holds the network as it is, for the portable engine")
