"""One compile: from an ONNX hash network to a promoted bundle, or to the reason why not."""

from __future__ import annotations

import json
import shutil
import tarfile
import time
from dataclasses import asdict
from pathlib import Path

from compile import cache
from compile.codegen.link import build_library, describe
from compile.codegen.plan import ScheduleConfig, Workload, make_plan, workloads
from compile.frontend.ir import Network
from compile.frontend.onnx_importer import read_network
from compile.quantization.cached import integers, parts_of
from compile.quantization.calibrate import quantise
from compile.target.description import Target
from compile.tuning.database import Records
from compile.tuning.qemu_runner import EmulatorRunner
from compile.tuning.runner import LocalRunner, Runner
from compile.tuning.search import search, strategy_of
from compile.verify.criteria import Parity
from compile.verify.evidence_store import PROOFS, Evidence, Proven, Subject, pictures_of
from compile.verify.golden import GoldenCodes
from compile.verify.images import photo_files, pictures
from compile.verify.request import Request, Result
from compile.verify.verification import picture_count, prove, views_needed
from edge_runtime.bundle import (
    EVIDENCE,
    LIBRARY,
    MANIFEST,
    MODEL,
    is_bundle,
    read_manifest,
    verify_files,
    write_manifest,
)
from edge_runtime.errors import (
    CompileError,
    EdgeRuntimeError,
    NetworkUnsupportedError,
    storage_error,
)
from edge_runtime.model import identify, parse_metadata

CALIBRATION, CALIBRATION_SEED = 16, 11
"""Views that int8 is calibrated on, disturbed otherwise than those that it is judged by."""
TRIALS = 40
"""Choices tried for each workload that has no record."""


def compile_bundle(request: Request) -> Result:
    """Search, build, prove, promote.

    A bundle that was promoted before is replaced only by one that passes its gate; the one that
    does not is left beside it, as OUT.rejected, with its evidence. Raises errors of the families
    `ModelError`, `CompileError` and `StorageError`.
    """
    began = time.perf_counter()
    _check_place(request.out)
    photo_files(request.photos)  # none: better said before a search than after it
    try:
        try:
            network = read_network(request.model)
        except NetworkUnsupportedError:
            _portable_bundle(request)
            raise
        with GoldenCodes(request.model, request.photos) as truth:
            return _compile(request, network, truth, began)
    except OSError as error:
        raise storage_error(error, request.out) or error from error


def _check_place(out: Path) -> None:
    """Raise `CompileError` if `out` is a file or folder of others: what is replaced is gone."""
    if out.exists() and not is_bundle(out) and not (out.is_dir() and not any(out.iterdir())):
        raise CompileError(
            "it is there, and no bundle", where=out, remedy="name another folder with OUT"
        )


def _compile(request: Request, network: Network, truth: GoldenCodes, began: float) -> Result:
    target, precision = request.target.at(request.precision), request.precision
    for count in views_needed(request):
        truth.begin(count)
    if precision == "int8":
        network = _in_integers(request, network, target)
    elif network.in_bytes:
        raise CompileError(
            f"a network of int8 cannot be compiled for {precision}",
            where=request.model,
            remedy="PRECISION=int8",
        )
    runner = make_runner(request.runner, target)
    records = Records.of(target, precision, *([request.records] if request.records else []))
    choices = _choose(request, network, runner, records, truth)
    searched = time.perf_counter()
    plan = make_plan(network, choices, target.vector, precision)
    staging = request.out.with_name(request.out.name + ".rejected")
    shutil.rmtree(staging, ignore_errors=True)
    work = staging / "work"
    request.tell(f"building {LIBRARY}: {len(plan.steps)} steps, {len(plan.kernels)} kernels")
    library = build_library(plan, target, work)
    built = time.perf_counter()
    library.replace(staging / LIBRARY)
    shutil.copyfile(request.model, staging / MODEL)
    shutil.rmtree(work)
    describe(staging, network, target, precision)
    proofs, subject = Proven(records.path), _subject(staging, target)
    proved = _proved_before(request, subject, proofs)
    if not proved or "speed" not in proved:
        proved = prove(request, staging, network, choices, truth, proved)
    evidence = proved | {
        "precision": precision,
        "library_bytes": (staging / LIBRARY).stat().st_size,
        "arena_bytes": plan.arena_bytes,
        "multiply_adds": network.multiply_adds,
        "steps": [{"what": s.what, "multiply_adds": s.multiply_adds} for s in plan.steps],
        "tuning": {key: asdict(knobs) for key, knobs in sorted(choices.items())},
        "seconds": {
            "search": round(searched - began, 1),
            "build": round(built - searched, 1),
            "prove": round(time.perf_counter() - built, 1),
        },
    }
    (staging / EVIDENCE).write_text(json.dumps(evidence, indent=1) + "\n", encoding="utf-8")
    (staging / MANIFEST).unlink()
    describe(staging, network, target, precision)
    promoted = all(evidence[part]["passed"] for part in PROOFS if evidence[part])
    if promoted:
        _promote(staging, request.out)
        if request.pictures and not request.photos and not target.is_host:
            proofs.keep(subject, evidence)
    return Result(request.out if promoted else staging, promoted, evidence)


def _in_integers(request: Request, network: Network, target: Target) -> Network:
    request.tell(f"calibrating int8 on {CALIBRATION} views of photographs")
    made = pictures(request.photos, network.model.input.size, CALIBRATION, seed=CALIBRATION_SEED)
    key = cache.digest("int8", target.vector, made, *parts_of(network))
    return integers(key, network, lambda: quantise(network, made, target.vector))


def make_runner(name: str, target: Target) -> Runner:
    """The runner called `name`, or the one that fits `target`."""
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
        remedy="local is for TARGET=host, emulator and rpc:HOST:PORT for the boards",
    )


def _choose(
    request: Request, network: Network, runner: Runner, records: Records, truth: GoldenCodes
) -> dict[str, ScheduleConfig]:
    choices: dict[str, ScheduleConfig] = {}
    wanted: list[Workload] = []
    for work in workloads(network, request.precision):
        record = records.get(work)
        if record is None or record.unit != runner.unit or request.trials is not None:
            wanted.append(work)
        if record is not None:
            choices[work.key] = record.knobs
    unique = list({work.key: work for work in wanted}.values())
    trials = TRIALS if request.trials is None else request.trials
    strategy = strategy_of(request.search)
    if unique and trials:
        if runner.noisy:
            truth.wait()  # it measures
        request.tell(f"searching {len(unique)} workloads, {trials} trials each, on {runner.name}")
    for work in unique:
        if trials or work.key not in choices:
            found = search(work, runner, records, max(trials, 1), request.progress, strategy)
            choices[work.key] = found.knobs
    if unique and trials:
        cost = sum(records.best[work.key].cost for work in unique)
        request.tell(f"found choices that cost {cost:.4g} {runner.unit} together")
    return choices


def _subject(bundle: Path, target: Target) -> Subject:
    return Subject.of(read_manifest(bundle)["files"], target)


def _proved_before(request: Request, subject: Subject, proofs: Proven) -> Evidence | None:
    """The evidence of the same bytes, if they were proved on as many pictures as are asked for: as
    the bundle that stands, or at length and kept beside the records; without their speed, if it was
    for another CPU."""
    if request.photos:
        return None
    found = [_standing(request, subject), proofs.of(subject), proofs.of_same_bytes(subject)]
    best = max((one for one in found if one), key=pictures_of, default=None)
    if best and pictures_of(best) >= picture_count(request):
        request.tell(f"the same bytes were proved before {Parity.read(best['parity']).told}")
        return best
    if others := proofs.of_other_bytes(subject):
        request.tell(
            f"{proofs.path.name} is of other bytes, which were proved on {others:,} pictures; "
            f"these are proved on {picture_count(request):,}"
        )
    return None


def _standing(request: Request, subject: Subject) -> Evidence | None:
    """The evidence of the bundle that stands, if it is of the same bytes."""
    if not is_bundle(request.out):
        return None
    try:
        verify_files(request.out, read_manifest(request.out))
        evidence = json.loads((request.out / EVIDENCE).read_text(encoding="utf-8"))
        whole = {part: evidence[part] for part in PROOFS}
        Parity.read(whole["parity"])
        return whole if _subject(request.out, request.target) == subject else None
    except (EdgeRuntimeError, OSError, ValueError, KeyError, TypeError):
        return None  # an older format, too


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
    """The network as it is, for the portable engine, where it cannot be compiled. It replaces no
    compiled one, which is of another network."""
    import onnx

    model_id, size_bytes = identify(request.model)
    metadata = {entry.key: entry.value for entry in onnx.load(request.model).metadata_props}
    info = parse_metadata(metadata, path=request.model, model_id=model_id, size_bytes=size_bytes)
    out = request.out
    if (out / LIBRARY).exists():
        out = out.with_name(out.name + ".portable")
    staging = out.with_name(out.name + ".new")
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
    _promote(staging, out)
    request.tell(f"{out} holds the network as it is, for the portable engine")
