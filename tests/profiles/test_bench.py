"""The benchmarks beside the peers: which peers are left out, and how the page reports it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from numpy.typing import NDArray

from compile.emulation.counters import Counts
from compile.emulation.userland import Userland
from compile.target.description import read_target
from edge_runtime.errors import ToolchainError
from profiles.bench.peers import emulated as emulated_peers
from profiles.bench.peers.emulated import PEERS, Case, Peer, outcome, pinned
from profiles.bench.support.interleaved_timing import (
    Contender,
    check_answers,
    first_answers,
    time_interleaved,
)
from profiles.pages.network import emulated

ANSWER = np.array([0.1, 0.9, 0.8, 0.2], np.float32)
COUNTS = Counts({"int": 2, "fma": 1}, 2, 3)


def _outcome(
    tmp_path: Path, result: str | Exception, precision: str = "fp32", target: str = "rpi4"
) -> Counts | str:
    """Return the outcome of a peer that prints `result`, or raises it."""

    def count(*arguments: str) -> tuple[list[Counts], str]:
        if isinstance(result, Exception):
            raise result
        return [COUNTS], result

    peer = Peer("it", "ncnn", precision, lambda model, precision, work: [model], "")
    case = Case(Path("model.onnx"), np.zeros((3, 8, 8), np.float32), ANSWER, 1e-3)
    return outcome(peer, case, read_target(target), Userland(tmp_path), count, tmp_path)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulated_peers, "install", lambda userland, package: None)


@pytest.mark.usefixtures("installed")
def test_a_peer_that_gives_the_right_answer_is_counted(tmp_path: Path) -> None:
    assert _outcome(tmp_path, "hello\n[0.1, 0.9004, 0.8, 0.2]\n") == COUNTS
    assert _outcome(tmp_path, "[0.3, 0.6, 0.4, 0.2]", "int8") == COUNTS


@pytest.mark.usefixtures("installed")
def test_a_peer_that_does_not_run_is_left_out_with_the_reason(tmp_path: Path) -> None:
    died = ToolchainError("failed there: Illegal\ninstruction", where="rpi4")
    assert _outcome(tmp_path, died) == "rpi4: failed there: Illegal instruction"
    assert "not installed" in str(_outcome(tmp_path, ImportError("no module named MNN")))
    assert _outcome(tmp_path, "[0.1, 0.7, 0.8, 0.2]") == "its activations differ by up to 0.200"
    assert _outcome(tmp_path, "[0.9, 0.1, 0.8, 0.2]", "int8") == "only 50% of its bits are correct"
    assert _outcome(tmp_path, "", "fp16") == "a cortex-a72 has no fp16 arithmetic"
    assert _outcome(tmp_path, "[0.1, 0.9, 0.8, 0.2]", "fp16", "rpi5") == COUNTS


def test_a_peer_without_a_wheel_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emulated_peers, "PLATFORMS", ["manylinux_2_17_riscv64"])
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert "no wheel for aarch64 and Python 3.11" in str(_outcome(tmp_path, ""))


def test_every_peer_is_pinned() -> None:
    assert all(pinned(peer.package) for peer in PEERS)


def test_the_page_states_the_limit_and_the_peers_left_out() -> None:
    row = {"instructions": 2e6, "l1_misses": 1, "l2_misses": 1, "multiply_add_instructions": 80e6}
    report: dict[str, Any] = {
        "cpu": "cortex-a72",
        "target": "rpi4",
        "board": "Raspberry Pi 4",
        "multiply_adds": 400e6,
        "counts": {
            "edge-runtime fp32": row,
            "edge-runtime int8": {**row, "multiply_add_instructions": 0},
            "ncnn fp32": {**row, "multiply_add_instructions": 100e6},
        },
        "left_out": {"ncnn fp16": "it is slow", "MNN fp32": "it died", "MNN fp16": "it is slow"},
    }
    *_, limit, left = emulated(report, Path("emulated-rpi4.json"))
    assert (
        "need 100 M multiply-add instructions. Below it, edge-runtime (80.00 M) multiplies" in limit
    )
    assert left == "Left out: ncnn fp16 and MNN fp16 (it is slow); MNN fp32 (it died)."
    report["left_out"] = {}
    assert "Left out" not in emulated(report, Path("emulated-rpi4.json"))[-1]


PICTURE = np.array([0.1, 0.9, 0.8], np.float32)


def _keeps_its_input(*, filled: bool) -> Contender:
    """A contender that reuses the memory of its input during a run, as MNN does."""
    memory = PICTURE.copy()

    def fill() -> None:
        memory[:] = PICTURE

    def run() -> NDArray[np.float32]:
        answer = memory.copy()
        memory[:] = 0
        return answer

    return Contender(run, fill) if filled else Contender(run)


def test_a_contender_that_overwrites_its_input_gets_it_again() -> None:
    contenders = {
        "ONNX Runtime": Contender(lambda: PICTURE),
        "it": _keeps_its_input(filled=True),
    }
    check_answers(first_answers(contenders))
    for threads in (1, 2):
        assert set(time_interleaved(contenders, 20, threads=threads)) == set(contenders)


def test_a_contender_that_becomes_wrong_after_its_first_call_is_detected() -> None:
    contenders = {
        "ONNX Runtime": Contender(lambda: PICTURE),
        "it": _keeps_its_input(filled=False),
    }
    check_answers(first_answers(contenders))
    with pytest.raises(click.ClickException, match=r"activations of it differ by up to 0\.9"):
        time_interleaved(contenders, 3)


def test_nan_is_not_accepted_as_an_answer() -> None:
    answers = {"ONNX Runtime": PICTURE, "it": np.full(3, math.nan, np.float32)}
    with pytest.raises(click.ClickException, match="activations of it differ"):
        check_answers(answers)
