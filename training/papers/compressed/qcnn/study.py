"""Every contender on a network: fp32, int8, and the Quantized CNN with and without correction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.cli import log
from training.files import write_bytes
from training.papers.compressed.qcnn.codebooks import Setting
from training.papers.compressed.qcnn.fitting import (
    Quantized,
    coded_share,
    quantize,
    quantize_corrected,
)
from training.papers.compressed.qcnn.judging import Photos, cpu_ms_of, map_of
from training.papers.compressed.qcnn.layers import Floats, Network
from training.papers.compressed.qcnn.onnx_copy import to_int8, to_onnx
from training.papers.compressed.qcnn.program import build, measure, to_program
from training.papers.files import FinishedRuns, Key

FP32, INT8, PLAIN, CORRECTED = "fp32", "int8", "codewords", "corrected codewords"
Result = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A network and what its contenders need."""

    name: str
    network: Network
    identity: str
    """What the results depend on besides the settings: a digest of the weights."""
    pictures: Floats
    """Training photos for the correction and for the ranges of int8, [N, channels, size, size]."""
    photos: Photos | None = None
    """None: it is not judged (random weights)."""
    int8: Path | None = None
    """A finished int8 version; None: one is made."""
    make: Callable[[Setting, int], Quantized] | None = None
    """Codewords of a network with random weights, which need no fit."""


@dataclass(frozen=True)
class Contender:
    """One way to run a network."""

    kind: str
    setting: Setting | None = None
    seed: int = 0

    @property
    def file(self) -> str:
        """Return a name for files: codewords-8x128."""
        one = self.setting
        shape = f"-{one.sub}x{one.words}" if one else ""
        return f"{self.kind.replace(' ', '-')}{shape}"


def contenders(case: Case, settings: tuple[Setting, ...], seeds: int) -> Iterator[Contender]:
    """Yield all contenders of a case, those with several seeds last seeds last."""
    yield Contender(FP32)
    yield Contender(INT8)
    kinds = (PLAIN,) if case.photos is None else (CORRECTED, PLAIN)
    for seed in range(1 if case.photos is None else seeds):
        for kind in kinds:
            for setting in settings:
                yield Contender(kind, setting, seed)


def run_all(
    cases: list[Case],
    settings: tuple[Setting, ...],
    seeds: int,
    runs: int,
    out: Path,
    only_finished: bool = False,
) -> list[tuple[Case, Contender, Result]]:
    """Judge and measure every contender that is not finished, or leave it out; return results."""
    finished = FinishedRuns(out / "runs.jsonl")
    results = []
    for case in cases:
        for contender in contenders(case, settings, seeds):
            key = key_of(case, contender)
            result = finished.find(key)
            if result is None and only_finished:
                continue
            if result is None:
                log(f"{case.name}: {contender.file}, seed {contender.seed}")
                result = run_one(case, contender, runs, out) | {"runs": runs}
                finished.add(key, result)
            results.append((case, contender, result))
    return results


def key_of(case: Case, contender: Contender) -> Key:
    """Return what identifies a run."""
    return {
        "network": case.identity,
        "split": case.photos.split if case.photos else "",
        "pictures": len(case.pictures),
        "kind": contender.kind,
        "setting": asdict(contender.setting) if contender.setting else {},
        "seed": contender.seed,
    }


def run_one(case: Case, contender: Contender, runs: int, out: Path) -> Result:
    """Judge and measure one contender."""
    folder = out / case.name
    folder.mkdir(parents=True, exist_ok=True)
    if contender.kind == FP32:
        result = _onnx(case, folder / "fp32.onnx", to_onnx(case.network).SerializeToString(), runs)
        path = folder / "fp32.qcnn"
        write_bytes(path, to_program(case.network, {}))
        return result | _run_program(case, path, runs)
    if contender.kind == INT8:
        made = folder / "int8.onnx"
        if case.int8 is None:
            to_int8(case.network, case.pictures, made)
        return _onnx(case, made, (case.int8 or made).read_bytes(), runs)
    return _coded(case, contender, runs, folder)


def _onnx(case: Case, path: Path, model: bytes, runs: int) -> Result:
    write_bytes(path, model)
    result: Result = {"stored_bytes": len(model)}
    if case.photos:
        result["map100"] = map_of(model, case.photos, case.network.size)
    result["onnxruntime_cpu_ms"] = cpu_ms_of(model, case.pictures[0], runs)
    return result


def _coded(case: Case, contender: Contender, runs: int, folder: Path) -> Result:
    assert contender.setting is not None
    setting, seed = contender.setting, contender.seed
    if case.make:
        coded = case.make(setting, seed)
    elif contender.kind == CORRECTED:
        coded = quantize_corrected(case.network, setting, case.pictures, seed, log=log)
    else:
        coded = quantize(case.network, setting, seed)
    result: Result = {
        "stored_bytes": coded.stored_bytes,
        "coded_share": coded_share(case.network, coded.books),
    }
    if coded.errors:
        first, last = np.array(list(coded.errors.values())).mean(0)
        result |= {"response_error": float(first), "response_error_corrected": float(last)}
    if case.photos:
        model = to_onnx(coded.network).SerializeToString()
        result["map100"] = map_of(model, case.photos, case.network.size)
    if seed == 0:  # the indices of another seed take the same time
        path = folder / f"{contender.file}.qcnn"
        write_bytes(path, to_program(coded.network, coded.books))
        result |= _run_program(case, path, runs)
    return result


def _run_program(case: Case, path: Path, runs: int) -> Result:
    """Measure the C program, which is built for this machine's CPU."""
    program = build(path.parent, "gcc", "-march=native")
    found = measure([str(program)], path, case.pictures[:1], path.parent, runs)
    return {"program_cpu_ms": found.cpu_p50_ms, "program_peak_bytes": found.peak_bytes}
