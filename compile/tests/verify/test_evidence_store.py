"""A verification of an hour: stored for other machines, and resumed after an interruption."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from compile import build as build_module
from compile.build import compile_bundle
from compile.emulation import qemu
from compile.emulation.counters import CLASSES, Counts
from compile.frontend.onnx_importer import read_network
from compile.target import toolchain
from compile.target.description import Target, read_target
from compile.tests.helpers import random_pictures
from compile.tuning.runner import Runner
from compile.tuning.untuned import build_untuned
from compile.verify import criteria, verification
from compile.verify.evidence_store import EvidenceStore, ProofKey
from compile.verify.request import Request, Result
from compile.verify.verification import picture_count
from edge_runtime.bundle import LIBRARY
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.errors import CompileError, ToolchainError


class FlatRunner(Runner):
    """Gives every schedule the same cost."""

    name, unit = "flat", "units"

    def cost(self, shape: object, config: object) -> float:
        return 1.0


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The pictures of each verification. Nothing is run; device_tests does it for real."""
    counts: list[int] = []

    def verify(request: Request, *rest: object) -> dict[str, Any]:
        speed = criteria.Speed("estimated Mcycles", 1, 2, 0.5, True)
        entries = {"speed": {**vars(speed), "passed": True}}
        if isinstance(before := rest[-1], dict):
            return before | entries
        counts.append(picture_count(request))
        where, at = "QEMU 7.2.22 as cortex-a72", "2026-11-22T15:00:00+00:00"
        parity = criteria.Parity(counts[-1], counts[-1] * 64, 0, 1.0, 0.9999, True, where, at)
        return entries | {"parity": {**vars(parity), "passed": True}, "accuracy": None}

    monkeypatch.setattr(build_module, "verify", verify)
    monkeypatch.setattr(build_module, "make_runner", lambda name, target: FlatRunner(target))
    return counts


def _compile(
    model: Path, folder: Path, machine: str, board: str = "rpi4", **options: Any
) -> tuple[Result, str]:
    """Compile on the machine `machine`. All machines share the records in `folder`."""
    messages: list[str] = []
    records = folder / "records"
    request = Request(
        model, read_target(board), folder / machine / board, records=records, log=messages.append,
        trials=None if records.exists() else 1, **options,
    )  # fmt: skip
    return compile_bundle(request), "\n".join(messages)


def test_evidence_applies_on_every_machine(
    small_model: Path, tmp_path: Path, verified: list[int]
) -> None:
    first, _ = _compile(small_model, tmp_path, "one", pictures=1000)
    second, messages = _compile(small_model, tmp_path, "two")
    assert verified == [1000]
    assert "verified before on 1,000 pictures, QEMU 7.2.22 as cortex-a72, 2026-11-22" in messages
    assert second.evidence["parity"] == first.evidence["parity"]
    assert json.loads((second.bundle / "evidence.json").read_text())["parity"]["pictures"] == 1000
    _compile(small_model, tmp_path, "three", pictures=1001)
    assert verified == [1000, 1001], "more pictures are requested"


def test_boards_with_the_same_code_share_evidence_except_the_speed(
    small_model: Path, tmp_path: Path, verified: list[int]
) -> None:
    first, _ = _compile(small_model, tmp_path, "one", pictures=1000)
    like, messages = _compile(small_model, tmp_path, "one", "rpi3", pictures=1000)
    assert verified == [1000]
    assert "verified before on 1,000 pictures, QEMU 7.2.22 as cortex-a72, 2026-11-22" in messages
    assert (like.bundle / LIBRARY).read_bytes() == (first.bundle / LIBRARY).read_bytes()
    assert like.evidence["parity"] == first.evidence["parity"]
    stored = json.loads((tmp_path / "records" / "rpi3" / "fp32.proof.json").read_text())
    assert [entry["cpu"].split(",")[0] for entry in stored["proofs"].values()] == ["cortex-a53"]
    other, _ = _compile(small_model, tmp_path, "one", "rpi5", pictures=1000)
    assert (other.bundle / LIBRARY).read_bytes() != (first.bundle / LIBRARY).read_bytes()
    assert verified == [1000, 1000], "rpi5 runs other code"


def test_for_another_cpu_only_the_speed_is_measured(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything is real but ONNX Runtime's counts, which need the userland."""
    monkeypatch.setattr(build_module, "make_runner", lambda name, target: FlatRunner(target))
    theirs = Counts(dict.fromkeys(CLASSES, 10**8), 10**6, 10**5, 10**8)
    monkeypatch.setattr(verification, "_onnxruntime_counts", lambda request: theirs)
    first, _ = _compile(small_model, tmp_path, "one", pictures=8)
    monkeypatch.setattr(criteria, "measure_emulated_parity", None)
    like, _ = _compile(small_model, tmp_path, "one", "rpi3", pictures=8)
    assert like.status == "verified"
    assert like.evidence["parity"] == first.evidence["parity"]
    ours, its = (result.evidence["speed"]["counts"]["ours"] for result in (first, like))
    assert ours["instructions"] == its["instructions"]
    assert like.evidence["speed"]["ours"] != first.evidence["speed"]["ours"]


def test_other_bytes_are_verified_again_with_a_message(
    small_model: Path, tmp_path: Path, verified: list[int]
) -> None:
    _compile(small_model, tmp_path, "one", pictures=1000)
    file = tmp_path / "records" / "rpi4" / "fp32.proof.json"
    content = json.loads(file.read_text())
    (entry,) = content["proofs"].values()

    def change(name: str, value: str) -> None:
        changed = {model: {**entry, name: value} for model in content["proofs"]}
        file.write_text(json.dumps({**content, "proofs": changed}))

    change("library", "0" * 64)
    result, messages = _compile(small_model, tmp_path, "with another library")
    assert "fp32.proof.json covers another library, verified on 1,000 pictures" in messages
    assert result.evidence["parity"]["pictures"] == 8
    change("cpu", "with larger caches")
    result, messages = _compile(small_model, tmp_path, "with another CPU")
    assert "verified before on 1,000 pictures" in messages
    assert result.evidence["parity"]["pictures"] == 1000
    assert verified == [1000, 8], "for another CPU only the speed is measured"


def test_evidence_on_few_pictures_or_own_photos_is_not_stored(
    small_model: Path, tmp_path: Path, verified: list[int]
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    cv2.imwrite(str(photos / "own.png"), random_pictures(96, 1)[0])
    _compile(small_model, tmp_path, "one")
    _compile(small_model, tmp_path, "two", pictures=1000, photos=photos)
    assert not list((tmp_path / "records").rglob("*.proof.json"))
    assert verified == [8, 1000]


def test_each_model_has_its_own_evidence(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path / "rpi4" / "fp32.json")
    evidence = {"parity": {"pictures": 1000}, "speed": {}, "accuracy": None}
    one, two = ProofKey("a", "model", "cpu"), ProofKey("b", "another model", "cpu")
    for key in (one, two):
        store.save(key, evidence)
    again = EvidenceStore(tmp_path / "rpi4" / "fp32.json")
    assert again.exact(one) == again.exact(two) == evidence
    assert again.exact(ProofKey("c", "model", "cpu")) is None
    assert again.pictures_for_other_library(ProofKey("c", "model", "cpu")) == 1000
    assert again.pictures_for_other_library(ProofKey("c", "a third model", "cpu")) == 0


def test_damaged_evidence_of_another_board_is_ignored(tmp_path: Path) -> None:
    store, key = EvidenceStore(tmp_path / "rpi4" / "fp32.json"), ProofKey("a", "model", "cpu")
    store.save(key, {"parity": {"pictures": 1000}, "speed": {}, "accuracy": None})
    (tmp_path / "rpi3").mkdir()
    (tmp_path / "rpi3" / "fp32.proof.json").write_text("{")
    shared = store.same_library(ProofKey("a", "model", "another cpu"))
    assert shared == {"parity": {"pictures": 1000}, "accuracy": None}
    assert store.same_library(ProofKey("b", "model", "cpu")) is None


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2}', '{"format": 1, "proofs": {"a": {}}}'])
def test_damaged_evidence_is_reported(text: str, tmp_path: Path) -> None:
    (tmp_path / "fp32.proof.json").write_text(text)
    with pytest.raises(
        CompileError, match=r"fp32\.proof\.json: not a file of stored evidence.*delete it"
    ):
        EvidenceStore(tmp_path / "fp32.json")


@pytest.fixture(scope="module")
def rpi4() -> Target:
    return read_target("rpi4")


@pytest.fixture(scope="module")
def library(
    small_model: Path, rpi4: Target, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """The small network for a Cortex-A72."""
    folder = tmp_path_factory.mktemp("rpi4")
    build_untuned(read_network(small_model), rpi4, "fp32", folder)
    yield folder / "libedge.so"
    shutil.rmtree(folder)


def test_an_interrupted_verification_continues(
    library: Path, small_model: Path, rpi4: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures, left = random_pictures(96, 47), [2]
    done: list[str] = []

    def stopped(command: list[str], *arguments: Any, **options: Any) -> str:
        part = Path(command[-3]).name
        if part.endswith(".bgr") and len(done) == left[0]:
            raise ToolchainError("killed")
        output = toolchain.run(command, *arguments, **options)
        if part.endswith(".bgr"):
            done.append(part)
        return output

    monkeypatch.setattr(qemu, "run", stopped)
    with pytest.raises(ToolchainError, match="killed"):
        qemu.emulated_codes(library, pictures, rpi4)
    assert done
    left[0] = -1
    codes = qemu.emulated_codes(library, pictures, rpi4)
    assert len(done) == len(set(done)), "finished parts are not computed again"
    reference = PortableEngine(small_model)
    expected = np.stack([reference.hash(picture) for picture in pictures])
    assert [int(code, 16) for code in codes] == [int(code[0]) for code in expected]
    parity = criteria.measure_emulated_parity(library, rpi4, expected, 64, pictures, 0.9999)
    assert parity.passed and parity.emulated
    assert len(done) == len(set(done))
    assert parity.summary.startswith("on 47 pictures, QEMU ")
