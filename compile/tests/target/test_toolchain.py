"""The tools that a compile needs."""

from __future__ import annotations

import inspect
import shutil
from pathlib import Path

import numpy as np
import pytest

from compile.emulation import qemu
from compile.frontend.onnx_importer import read_network
from compile.target import toolchain
from compile.target.description import read_target
from compile.tests.helpers import random_pictures
from compile.tuning.untuned import build_untuned
from compile.verify import criteria
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.errors import (
    ToolchainError,
)
from edge_runtime.trust.manifest import read_manifest


def test_ziglang_without_a_cross_compiler(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = shutil.which
    monkeypatch.setattr(
        "compile.target.toolchain.shutil.which", lambda name: None if "gcc" in name else find(name)
    )
    target = read_target("rpi4")
    assert toolchain.c_compiler(target.triple)[1:3] == ["-m", "ziglang"]
    network = read_network(small_model)
    build_untuned(network, target, "fp32", tmp_path)
    assert "clang" in read_manifest(tmp_path)["tools"]["compiler"]
    pictures, reference = random_pictures(96, 3), PortableEngine(small_model)
    expected = np.array([reference.hash(picture) for picture in pictures])
    library = tmp_path / "libedge.so"
    assert criteria.measure_emulated_parity(library, target, expected, 64, pictures, 0.99).passed


def test_emulated_programs_find_a_c_library_without_a_cross_compiler(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is the userland's. ziglang links static programs with musl."""

    class FakeUserland:
        root = tmp_path

        def make(self) -> None:
            pass

    monkeypatch.setattr(qemu, "SYSROOT", tmp_path / "nothing")
    monkeypatch.setattr(qemu, "Userland", FakeUserland)
    monkeypatch.setattr(qemu, "_c_library", inspect.unwrap(qemu._c_library))
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
