"""A proof of an hour: kept for other machines, and gone on with where it was stopped."""

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
from compile.target.description import Target, read_target
from compile.tests.helpers import random_pictures
from compile.tuning.runner import Runner
from compile.tuning.untuned import build_untuned
from compile.verify import criteria, verification
from compile.verify.evidence_store import Proven, Subject
from compile.verify.request import Request, Result
from compile.verify.verification import picture_count
from edge_runtime.bundle import LIBRARY
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.errors import CompileError, ToolchainError


class Guess(Runner):
    """Takes the rule of thumb."""

    name, unit = "guess", "guesses"

    def cost(self, shape: object, knobs: object) -> float:
        return 1.0


@pytest.fixture
def proved(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What each proof was made on; nothing is run. See device_tests for the real thing."""
    made: list[int] = []

    def prove(request: Request, *rest: object) -> dict[str, Any]:
        speed = criteria.Speed("estimated Mcycles", 1, 2, 0.5, True)
        entries = {"speed": {**vars(speed), "passed": True}}
        if isinstance(before := rest[-1], dict):
            return before | entries
        made.append(picture_count(request))
        where, at = "QEMU 7.2.22 as cortex-a72", "2026-11-22T15:00:00+00:00"
        parity = criteria.Parity(made[-1], made[-1] * 64, 0, 1.0, 0.9999, True, where, at)
        return entries | {"parity": {**vars(parity), "passed": True}, "accuracy": None}

    monkeypatch.setattr(build_module, "prove", prove)
    monkeypatch.setattr(build_module, "make_runner", lambda name, target: Guess(target))
    return made


def _compile(
    model: Path, folder: Path, machine: str, board: str = "rpi4", **options: Any
) -> tuple[Result, str]:
    """On a machine of its own, with the same records."""
    told: list[str] = []
    records = folder / "records"
    request = Request(
        model, read_target(board), folder / machine / board, records=records, tell=told.append,
        trials=None if records.exists() else 1, **options,
    )  # fmt: skip
    return compile_bundle(request), "\n".join(told)


def test_what_was_proved_at_length_is_known_on_every_machine(
    small_model: Path, tmp_path: Path, proved: list[int]
) -> None:
    first, _ = _compile(small_model, tmp_path, "one", pictures=1000)
    second, told = _compile(small_model, tmp_path, "two")
    assert proved == [1000]
    assert "proved before on 1,000 pictures, QEMU 7.2.22 as cortex-a72, 2026-11-22" in told
    assert second.evidence["parity"] == first.evidence["parity"]
    assert json.loads((second.bundle / "evidence.json").read_text())["parity"]["pictures"] == 1000
    _compile(small_model, tmp_path, "three", pictures=1001)
    assert proved == [1000, 1001], "more are asked for"


def test_boards_that_take_the_same_code_share_its_proof_but_for_the_speed(
    small_model: Path, tmp_path: Path, proved: list[int]
) -> None:
    first, _ = _compile(small_model, tmp_path, "one", pictures=1000)
    like, told = _compile(small_model, tmp_path, "one", "rpi3", pictures=1000)
    assert proved == [1000]
    assert "proved before on 1,000 pictures, QEMU 7.2.22 as cortex-a72, 2026-11-22" in told
    assert (like.bundle / LIBRARY).read_bytes() == (first.bundle / LIBRARY).read_bytes()
    assert like.evidence["parity"] == first.evidence["parity"]
    kept = json.loads((tmp_path / "records" / "rpi3" / "fp32.proof.json").read_text())
    assert [entry["cpu"].split(",")[0] for entry in kept["proofs"].values()] == ["cortex-a53"]
    other, _ = _compile(small_model, tmp_path, "one", "rpi5", pictures=1000)
    assert (other.bundle / LIBRARY).read_bytes() != (first.bundle / LIBRARY).read_bytes()
    assert proved == [1000, 1000], "rpi5 takes other code"


def test_of_the_same_bytes_only_the_speed_is_measured_again(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is faked but ONNX Runtime's counts, which need the userland."""
    monkeypatch.setattr(build_module, "make_runner", lambda name, target: Guess(target))
    theirs = Counts(dict.fromkeys(CLASSES, 10**8), 10**6, 10**5, 10**8)
    monkeypatch.setattr(verification, "_onnxruntime_counts", lambda request: theirs)
    first, _ = _compile(small_model, tmp_path, "one", pictures=8)
    monkeypatch.setattr(criteria, "parity_emulated", None)
    like, _ = _compile(small_model, tmp_path, "one", "rpi3", pictures=8)
    assert like.promoted
    assert like.evidence["parity"] == first.evidence["parity"]
    ours, its = (result.evidence["speed"]["counts"]["ours"] for result in (first, like))
    assert ours["instructions"] == its["instructions"]
    assert like.evidence["speed"]["ours"] != first.evidence["speed"]["ours"]


def test_other_bytes_are_proved_anew_and_that_is_told(
    small_model: Path, tmp_path: Path, proved: list[int]
) -> None:
    _compile(small_model, tmp_path, "one", pictures=1000)
    file = tmp_path / "records" / "rpi4" / "fp32.proof.json"
    content = json.loads(file.read_text())
    (entry,) = content["proofs"].values()

    def spoil(name: str, value: str) -> None:
        spoiled = {model: {**entry, name: value} for model in content["proofs"]}
        file.write_text(json.dumps({**content, "proofs": spoiled}))

    spoil("library", "0" * 64)
    result, told = _compile(small_model, tmp_path, "with another library")
    assert "fp32.proof.json is of other bytes, which were proved on 1,000 pictures" in told
    assert result.evidence["parity"]["pictures"] == 8
    spoil("cpu", "with larger caches")
    result, told = _compile(small_model, tmp_path, "with another CPU")
    assert "proved before on 1,000 pictures" in told
    assert result.evidence["parity"]["pictures"] == 1000
    assert proved == [1000, 8], "of another CPU only the speed is"


def test_few_pictures_and_photos_of_ones_own_are_no_proof_for_others(
    small_model: Path, tmp_path: Path, proved: list[int]
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    cv2.imwrite(str(photos / "own.png"), random_pictures(96, 1)[0])
    _compile(small_model, tmp_path, "one")
    _compile(small_model, tmp_path, "two", pictures=1000, photos=photos)
    assert not list((tmp_path / "records").rglob("*.proof.json"))
    assert proved == [8, 1000]


def test_each_model_has_its_own_proof(tmp_path: Path) -> None:
    proofs = Proven(tmp_path / "rpi4" / "fp32.json")
    evidence = {"parity": {"pictures": 1000}, "speed": {}, "accuracy": None}
    one, two = Subject("a", "model", "cpu"), Subject("b", "another model", "cpu")
    for subject in (one, two):
        proofs.keep(subject, evidence)
    again = Proven(tmp_path / "rpi4" / "fp32.json")
    assert again.of(one) == again.of(two) == evidence
    assert again.of(Subject("c", "model", "cpu")) is None
    assert again.of_other_bytes(Subject("c", "model", "cpu")) == 1000
    assert again.of_other_bytes(Subject("c", "a third model", "cpu")) == 0


def test_a_damaged_proof_of_another_board_is_that_boards_matter(tmp_path: Path) -> None:
    proofs, subject = Proven(tmp_path / "rpi4" / "fp32.json"), Subject("a", "model", "cpu")
    proofs.keep(subject, {"parity": {"pictures": 1000}, "speed": {}, "accuracy": None})
    (tmp_path / "rpi3").mkdir()
    (tmp_path / "rpi3" / "fp32.proof.json").write_text("{")
    shared = proofs.of_same_bytes(Subject("a", "model", "another cpu"))
    assert shared == {"parity": {"pictures": 1000}, "accuracy": None}
    assert proofs.of_same_bytes(Subject("b", "model", "cpu")) is None


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2}', '{"format": 1, "proofs": {"a": {}}}'])
def test_a_damaged_proof_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "fp32.proof.json").write_text(text)
    with pytest.raises(CompileError, match=r"fp32\.proof\.json: not a file of proofs.*delete it"):
        Proven(tmp_path / "fp32.json")


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


def test_a_proof_that_was_stopped_goes_on_where_it_was(
    library: Path, small_model: Path, rpi4: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, done, left, run = random_pictures(96, 47), [], [2], qemu.run

    def stopped(command: list[str], *arguments: Any, **options: Any) -> str:
        part = Path(command[-3]).name
        if part.endswith(".bgr") and len(done) == left[0]:
            raise ToolchainError("killed")
        said = run(command, *arguments, **options)
        if part.endswith(".bgr"):
            done.append(part)
        return said

    monkeypatch.setattr(qemu, "run", stopped)
    with pytest.raises(ToolchainError, match="killed"):
        qemu.emulated_codes(library, made, rpi4)
    assert done
    left[0] = -1
    codes = qemu.emulated_codes(library, made, rpi4)
    assert len(done) == len(set(done)), "what was done is not done again"
    reference = PortableEngine(small_model)
    expected = np.stack([reference.hash(picture) for picture in made])
    assert [int(code, 16) for code in codes] == [int(code[0]) for code in expected]
    parity = criteria.parity_emulated(library, rpi4, expected, 64, made, 0.9999)
    assert parity.passed and parity.emulated
    assert len(done) == len(set(done))
    assert parity.told.startswith("on 47 pictures, QEMU ")
