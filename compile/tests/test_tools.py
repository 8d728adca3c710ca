"""Devices to compile for, and the tools that it takes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from compile.codegen.link import build_library, build_untuned
from compile.codegen.plan import make_plan, workloads
from compile.emulation import qemu
from compile.frontend.onnx_importer import read_network
from compile.target import toolchain
from compile.target.description import DEVICES, known_targets, read_target
from compile.tests.conftest import random_pictures
from compile.tuning.database import Records
from compile.tuning.search_space import space
from compile.verify import criteria
from edge_runtime.bundle import read_manifest
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.errors import (
    TargetError,
    ToolchainError,
)


def test_every_device_is_readable_and_unknown_ones_are_refused() -> None:
    for name in known_targets():
        target = read_target(name)
        assert target.cores and target.features
        if not target.is_host:
            assert target.budgets["query_p99_ms"] <= 1000, "the papers' line: under one second"
    with pytest.raises(TargetError, match=r"known are host, phone-a53"):
        read_target("rpi9")


@pytest.mark.parametrize("name", [name for name in known_targets() if name != "host"])
def test_every_device_has_records_and_code(name: str, small_model: Path, tmp_path: Path) -> None:
    target, network = read_target(name), read_network(small_model)
    assert Records.of(target, "fp32").best, "its own or those of the device it is tuned like"
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


def test_ziglang_where_there_is_no_cross_compiler(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is installed: 100 MB that nobody with a cross compiler needs."""
    pytest.importorskip("ziglang")
    find = shutil.which
    monkeypatch.setattr(
        "compile.target.toolchain.shutil.which", lambda name: None if "gcc" in name else find(name)
    )
    target = read_target("rpi4")
    assert toolchain.c_compiler(target.triple)[1:3] == ["-m", "ziglang"]
    network = read_network(small_model)
    build_untuned(network, target, "fp32", tmp_path)
    assert "clang" in read_manifest(tmp_path)["tools"]["compiler"]
    made, reference = random_pictures(96, 3), PortableEngine(small_model)
    expected = np.array([reference.hash(picture) for picture in made])
    library = tmp_path / "libedge.so"
    assert criteria.parity_emulated(library, target, expected, 64, made, 0.99).passed


def test_without_a_cross_compiler_programs_find_a_c_library_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """That of the userland. ziglang links programs that need none with musl."""

    class Unpacked:
        root = tmp_path

        def make(self) -> None:
            pass

    monkeypatch.setattr(qemu, "SYSROOT", tmp_path / "nothing")
    monkeypatch.setattr(qemu, "Userland", Unpacked)
    monkeypatch.setattr(qemu, "_c_library", qemu._c_library.__wrapped__)
    assert qemu.emulator_command(read_target("rpi4"))[1:3] == ["-L", str(tmp_path)]
    monkeypatch.setattr("compile.target.toolchain.shutil.which", lambda name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    command = toolchain.c_compiler("aarch64-linux-gnu", static=True)
    assert command[-2:] == ["aarch64-linux-musl", "-static"]


def test_no_compiler_for_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ToolchainError, match=r"apt install gcc-aarch64-linux-gnu or pip install zig"
    ):
        toolchain.c_compiler("aarch64-linux-gnu")


def test_the_wrong_tvm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.1.15.post2")
    with pytest.raises(ToolchainError, match="make setup-compile"):
        toolchain.check_tvm()
