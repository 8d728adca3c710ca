"""The devices to compile for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from compile.codegen.link import build_library
from compile.codegen.plan import make_plan
from compile.codegen.workloads import workloads
from compile.frontend.onnx_importer import read_network
from compile.target.description import DEVICES, known_targets, read_target
from compile.tuning.database import Records
from compile.tuning.search_space import space
from edge_runtime.errors import (
    TargetError,
)


def test_devices_are_readable_and_unknown_ones_rejected() -> None:
    for name in known_targets():
        target = read_target(name)
        assert target.cores and target.features
        if not target.is_host:
            assert target.budgets["query_p99_ms"] <= 1000, "the limit in the papers: one second"
    with pytest.raises(TargetError, match=r"known are host, phone-a53"):
        read_target("rpi9")


@pytest.mark.parametrize("name", [name for name in known_targets() if name != "host"])
def test_every_device_has_records_and_code(name: str, small_model: Path, tmp_path: Path) -> None:
    target, network = read_target(name), read_network(small_model)
    assert Records.for_target(target, "fp32").best, "its own, or those of tuned_like"
    for precision in ("fp32", "fp16") if "asimdhp" in target.features else ("fp32",):
        at = target.at(precision)
        choices = {
            work.key: space(work.shape, at.vector)[0] for work in workloads(network, precision)
        }
        plan = make_plan(network, choices, at.vector, precision)
        assert build_library(plan, at, tmp_path / precision).stat().st_size > 100_000


@pytest.mark.parametrize("text", ["board = 3 =", 'board = "x"\n'])
def test_a_malformed_device(text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from compile.target import description

    monkeypatch.setattr(description, "DEVICES", tmp_path)
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(TargetError, match=r"mine\.toml"):
        read_target("mine")


def test_a_new_board_is_a_new_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from compile.target import description

    monkeypatch.setattr(description, "DEVICES", tmp_path)
    shutil.copy(DEVICES / "rpi4.toml", tmp_path / "mine.toml")
    assert read_target("mine").cpu == "cortex-a72"
