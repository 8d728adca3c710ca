"""One compile: from an ONNX hash network to a verified bundle, or to the reason why not."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict
from pathlib import Path

from compile import cache
from compile.codegen.link import build_library, describe
from compile.codegen.plan import Plan, make_plan
from compile.codegen.workloads import ScheduleConfig, Workload, workloads
from compile.emulation.qemu import missing_for_emulation
from compile.frontend.ir import Network
from compile.frontend.onnx_importer import read_network
from compile.promote import (
    check_destination,
    copy_model,
    promote,
    promote_unverified,
    write_portable_bundle,
)
from compile.quantization.cached import cached_network, network_parts
from compile.quantization.calibrate import quantize
from compile.target.description import Target
from compile.tuning.database import Records
from compile.tuning.qemu_runner import EmulatorRunner
from compile.tuning.runner import LocalRunner, Runner
from compile.tuning.search import search, strategy_named
from compile.tuning.untuned import untuned_config
from compile.verify.criteria import Parity
from compile.verify.evidence_store import (
    EVIDENCE_PARTS,
    Evidence,
    EvidenceStore,
    ProofKey,
    proved_pictures,
)
from compile.verify.golden import GoldenCodes
from compile.verify.images import load_views, photo_files
from compile.verify.request import Request, Result
from compile.verify.verification import picture_count, verify, views_needed
from edge_runtime.bundle import EVIDENCE, LIBRARY, is_bundle, verify_files
from edge_runtime.errors import (
    CompileError,
    EdgeRuntimeError,
    NetworkUnsupportedError,
    storage_error,
)
from edge_runtime.trust.manifest import MANIFEST, read_manifest

CALIBRATION_VIEWS, CALIBRATION_SEED = 16, 11
"""Views that int8 is calibrated on. The seed differs from the one of the views that judge it."""
TRIALS = 40
"""Trials for each workload that has no tuning record."""


def compile_bundle(request: Request) -> Result:
    """Search, build and verify a bundle, then put it in its place.

    A verified bundle replaces the one before it. A bundle that fails a check stays beside it as
    OUT.rejected, with its evidence. For another CPU and without an emulator nothing can be checked:
    the bundle is marked as unverified and never replaces a verified one. Raises errors of the
    families `ModelError`, `CompileError` and `StorageError`.
    """
    began = time.perf_counter()
    check_destination(request.out)
    photo_files(request.photos)  # a missing folder is reported before the search, not after it
    try:
        try:
            network = read_network(request.model)
        except NetworkUnsupportedError:
            out = write_portable_bundle(request)
            request.log(f"{out} holds the network for the portable engine only")
            raise
        with GoldenCodes(request.model, request.photos) as golden:
            return _compile(request, network, golden, began)
    except OSError as error:
        raise storage_error(error, request.out) or error from error


def _compile(request: Request, network: Network, golden: GoldenCodes, began: float) -> Result:
    target = request.target.at(request.precision)
    missing = None if target.is_host else missing_for_emulation(target)
    if not missing:
        for count in views_needed(request):
            golden.begin(count)
    network = _in_precision(request, network, target)
    records = Records.for_target(
        target, request.precision, *([request.records] if request.records else [])
    )
    choices = _choose(request, network, records, golden, missing)
    searched = time.perf_counter()
    plan = make_plan(network, choices, target.vector, request.precision)
    staging = _stage(request, plan, target)
    built = time.perf_counter()

    store, key = EvidenceStore(records.path), _proof_key(staging, target)
    evidence = _earlier_evidence(request, key, store, missing)
    if not missing and (not evidence or "speed" not in evidence):
        evidence = verify(request, staging, network, choices, golden, evidence)
    evidence = evidence or {}
    complete = "speed" in evidence
    passed = all(evidence[part]["passed"] for part in EVIDENCE_PARTS if evidence.get(part))
    evidence = dict.fromkeys(EVIDENCE_PARTS) | evidence | {
        "verified": complete and passed,
        "precision": request.precision,
        "library_bytes": (staging / LIBRARY).stat().st_size,
        "arena_bytes": plan.arena_bytes,
        "multiply_adds": network.multiply_adds,
        "steps": [{"what": s.description, "multiply_adds": s.multiply_adds} for s in plan.steps],
        "tuning": {key: asdict(config) for key, config in sorted(choices.items())},
        "seconds": {
            "search": round(searched - began, 1),
            "build": round(built - searched, 1),
            "prove": round(time.perf_counter() - built, 1),
        },
    }  # fmt: skip
    (staging / EVIDENCE).write_text(json.dumps(evidence, indent=1) + "\n", encoding="utf-8")
    (staging / MANIFEST).unlink()
    describe(staging, network, target, request.precision, verified=complete and passed)
    if not passed:
        return Result(staging, "rejected", evidence)
    if not complete:
        request.log(f"not verified: {missing}")
        return Result(promote_unverified(staging, request.out), "unverified", evidence)
    out = promote(staging, request.out)
    if request.pictures and not request.photos and not target.is_host:
        store.save(key, evidence)
    return Result(out, "verified", evidence)


def _in_precision(request: Request, network: Network, target: Target) -> Network:
    """Return `network` quantized if the request asks for int8, else as it is."""
    if request.precision != "int8":
        if network.is_int8:
            raise CompileError(
                f"an int8 network cannot be compiled for {request.precision}",
                where=request.model,
                remedy="PRECISION=int8",
            )
        return network
    request.log(f"calibrating int8 on {CALIBRATION_VIEWS} views of photographs")
    size = network.model.input.size
    views = load_views(request.photos, size, CALIBRATION_VIEWS, seed=CALIBRATION_SEED)
    key = cache.digest("int8", target.vector, views, *network_parts(network))
    return cached_network(key, network, lambda: quantize(network, views, target.vector))


def _stage(request: Request, plan: Plan, target: Target) -> Path:
    """Build the bundle, still without evidence, in OUT.rejected; return that folder."""
    staging = request.out.with_name(request.out.name + ".rejected")
    shutil.rmtree(staging, ignore_errors=True)
    work = staging / "work"
    request.log(f"building {LIBRARY}: {len(plan.steps)} steps, {len(plan.kernels)} kernels")
    build_library(plan, target, work).replace(staging / LIBRARY)
    copy_model(request.model, staging)
    shutil.rmtree(work)
    describe(staging, plan.network, target, request.precision)
    return staging


def make_runner(name: str, target: Target) -> Runner:
    """Return the runner called `name`, or the default for `target` if the name is empty."""
    chosen = name or ("local" if target.is_host else "emulator")
    if chosen == "local" and target.is_host:
        return LocalRunner(target)
    if chosen == "emulator" and not target.is_host:
        return EmulatorRunner(target)
    if chosen.startswith("rpc:"):
        from compile.tuning.rpc_runner import RpcRunner

        return RpcRunner(target, chosen.removeprefix("rpc:"))
    raise CompileError(
        f"the runner {chosen} cannot run code for {target.name}",
        where="RUNNER",
        remedy="use local for TARGET=host, and emulator or rpc:HOST:PORT for the boards",
    )


def _choose(
    request: Request,
    network: Network,
    records: Records,
    golden: GoldenCodes,
    missing: str | None,
) -> dict[str, ScheduleConfig]:
    """Return a schedule for each workload, by its key: from the records, or found by a search."""
    runner = make_runner(request.runner, request.target.at(request.precision))
    choices: dict[str, ScheduleConfig] = {}
    wanted: dict[str, Workload] = {}
    for work in workloads(network, request.precision):
        record = records.get(work)
        if record is None or record.unit != runner.unit or request.trials is not None:
            wanted[work.key] = work
        if record is not None:
            choices[work.key] = record.config
    trials = TRIALS if request.trials is None else request.trials
    if wanted and missing and runner.name == "emulator":
        if request.trials:
            raise CompileError(missing, where="TRIALS", remedy="search on a board: RUNNER=rpc:...")
        untuned = [work for key, work in wanted.items() if key not in choices]
        request.log(f"{len(untuned)} workloads have no tuning record and are not tuned: {missing}")
        return choices | {work.key: untuned_config(work, runner.target.vector) for work in untuned}
    strategy = strategy_named(request.search)
    if wanted and trials:
        if runner.noisy:
            golden.wait()  # a busy core would distort the measurements
        request.log(f"searching {len(wanted)} workloads, {trials} trials each, on {runner.name}")
    for key, work in wanted.items():
        if trials or key not in choices:
            found = search(work, runner, records, max(trials, 1), request.on_trial, strategy)
            choices[key] = found.config
    if wanted and trials:
        cost = sum(records.best[key].cost for key in wanted)
        request.log(f"the schedules found cost {cost:.4g} {runner.unit} in total")
    return choices


def _proof_key(bundle: Path, target: Target) -> ProofKey:
    return ProofKey.of(read_manifest(bundle)["files"], target)


def _earlier_evidence(
    request: Request, key: ProofKey, store: EvidenceStore, missing: str | None
) -> Evidence | None:
    """Return earlier evidence for the same bytes, if it covers the requested number of pictures.

    It comes from the bundle at `request.out` or from the evidence store. Evidence from another CPU
    lacks the speed.
    """
    if request.photos:
        return None
    found = [_evidence_in_place(request, key), store.exact(key), store.same_library(key)]
    best = max((one for one in found if one), key=proved_pictures, default=None)
    if best and proved_pictures(best) >= picture_count(request):
        request.log(f"this library was verified before {Parity.read(best['parity']).summary}")
        return best
    if not missing and (others := store.pictures_for_other_library(key)):
        request.log(
            f"{store.path.name} covers another library, verified on {others:,} pictures; "
            f"verifying this one on {picture_count(request):,}"
        )
    return None


def _evidence_in_place(request: Request, key: ProofKey) -> Evidence | None:
    """Return the evidence of the bundle at `request.out` if it has the same bytes."""
    if not is_bundle(request.out):
        return None
    try:
        verify_files(request.out, read_manifest(request.out))
        evidence = json.loads((request.out / EVIDENCE).read_text(encoding="utf-8"))
        parts = {part: evidence[part] for part in EVIDENCE_PARTS}
        Parity.read(parts["parity"])
        return parts if _proof_key(request.out, request.target) == key else None
    except (AttributeError, EdgeRuntimeError, OSError, ValueError, KeyError, TypeError):
        return None  # damaged, unverified, or of an older format
