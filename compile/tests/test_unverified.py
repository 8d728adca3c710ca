"""Compiling for another CPU without a cross compiler and without an emulator."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from compile.build import compile_bundle
from compile.target.description import read_target
from compile.tests.helpers import build
from compile.verify.request import Request
from edge_runtime.bundle import ALLOW_UNVERIFIED, is_verified, open_bundle
from edge_runtime.errors import BundleMismatchError, BundleUnverifiedError, CompileError
from edge_runtime.trust.manifest import read_manifest


@pytest.fixture
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PATH with the usual tools, but without compilers and emulators."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "env", "uname"):
        (folder / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(folder))


def test_ziglang_links_and_the_bundle_is_marked_unverified(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bare_machine: None
) -> None:
    messages: list[str] = []
    out = tmp_path / "rpi4"
    request = Request(
        small_model, read_target("rpi4"), out, records=tmp_path / "records", log=messages.append
    )
    result = compile_bundle(request)
    assert (result.status, result.bundle) == ("unverified", out)
    assert any("not verified: there is no emulator" in line for line in messages)
    assert any("no tuning record" in line for line in messages)
    manifest = read_manifest(out)
    assert manifest["verified"] is False and not is_verified(out)
    assert "clang" in manifest["tools"]["compiler"]
    evidence = json.loads((out / "evidence.json").read_text())
    assert evidence["verified"] is False and evidence["parity"] is None
    assert (tmp_path / "rpi4.tar.gz").exists()
    with pytest.raises(BundleUnverifiedError):
        open_bundle(out)
    monkeypatch.setenv(ALLOW_UNVERIFIED, "1")
    with pytest.raises(BundleMismatchError):  # allowed, but for another CPU
        open_bundle(out)


def test_a_verified_bundle_is_not_replaced(
    small_model: Path, small_bundle: Path, tmp_path: Path, bare_machine: None
) -> None:
    out = shutil.copytree(small_bundle, tmp_path / "out")
    before = (out / "manifest.json").read_bytes()
    request = Request(small_model, read_target("rpi4"), out, records=tmp_path / "records")
    result = compile_bundle(request)
    assert (result.status, result.bundle) == ("unverified", tmp_path / "out.unverified")
    assert (out / "manifest.json").read_bytes() == before


def test_a_search_needs_the_emulator(small_model: Path, tmp_path: Path, bare_machine: None) -> None:
    with pytest.raises(CompileError, match="no emulator"):
        build(small_model, read_target("rpi4"), tmp_path / "out")
