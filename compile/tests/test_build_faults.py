"""Failing compiles: one line, in time, and no earlier result is lost."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest
from onnx import helper

from compile import promote
from compile.build import compile_bundle, make_runner
from compile.codegen.workloads import workloads
from compile.frontend.onnx_importer import read_network
from compile.target.description import Target, read_target
from compile.tests.helpers import build, random_pictures
from compile.tuning.database import Records
from compile.tuning.progress import Progress
from compile.verify import criteria
from compile.verify.request import Request
from edge_runtime.bundle import MODEL, is_verified, open_bundle
from edge_runtime.engine import open_engine
from edge_runtime.errors import (
    CompileError,
    NetworkUnsupportedError,
    NoPhotosError,
    StorageError,
)
from edge_runtime.model import PRIOR_FILE
from edge_runtime.trust.manifest import read_manifest

ROOT = Path(__file__).resolve().parents[2]


def test_a_slower_bundle_is_rejected(
    small_model: Path,
    small_bundle: Path,
    host: Target,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    shutil.copytree(small_bundle, out)
    before = (out / "manifest.json").read_bytes()
    monkeypatch.setattr(
        criteria, "measure_speed", lambda *_: criteria.Speed("ms of CPU", 2, 1, 2.0, False)
    )
    result = build(small_model, host, out, pictures=41)  # more pictures than were verified before
    assert result.status == "rejected"
    assert not is_verified(result.bundle)
    assert result.bundle == tmp_path / "out.rejected"
    assert (out / "manifest.json").read_bytes() == before, "the earlier bundle is unchanged"
    assert json.loads((result.bundle / "evidence.json").read_text())["speed"]["passed"] is False


def test_an_unsupported_network_still_gets_a_portable_bundle(
    small_model: Path, host: Target, tmp_path: Path
) -> None:
    model = onnx.load(small_model)
    at = next(i for i, node in enumerate(model.graph.node) if node.op_type == "Flatten")
    odd = helper.make_node("Softplus", [model.graph.node[at].input[0]], ["odd"], "strange")
    model.graph.node[at].input[0] = "odd"
    model.graph.node.insert(at, odd)
    onnx.save(model, tmp_path / "odd.onnx")
    (tmp_path / "odd.prior.npz").write_bytes(b"prior")
    with pytest.raises(NetworkUnsupportedError, match='Softplus "strange"'):
        build(tmp_path / "odd.onnx", host, tmp_path / "out")
    engine = open_engine(tmp_path / "out")
    assert engine.name == "portable"
    assert "no compiled network" in engine.reason
    assert set(read_manifest(tmp_path / "out")["files"]) == {MODEL, PRIOR_FILE}
    assert (tmp_path / "out" / PRIOR_FILE).read_bytes() == b"prior"
    engine.hash(random_pictures(96, 1)[0])


def test_an_unsupported_network_leaves_a_compiled_bundle_alone(
    small_bundle: Path, host: Target, tmp_path: Path
) -> None:
    out = shutil.copytree(small_bundle, tmp_path / "host")
    model = onnx.load(small_bundle / MODEL)
    model.graph.node[0].attribute.append(helper.make_attribute("dilations", [2, 2]))
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(NetworkUnsupportedError, match="dilation"):
        compile_bundle(Request(tmp_path / "odd.onnx", host, out))
    assert open_bundle(out).library
    assert open_bundle(tmp_path / "host.portable").library is None


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_other_files_and_folders_are_not_replaced(
    kind: str, small_model: Path, host: Target, tmp_path: Path
) -> None:
    file = tmp_path / "mine" / "photo.jpg" if kind == "folder" else tmp_path / "mine"
    file.parent.mkdir(exist_ok=True)
    file.write_text("precious")
    with pytest.raises(CompileError, match="exists and is not a bundle"):
        compile_bundle(Request(small_model, host, tmp_path / "mine"))
    assert file.read_text() == "precious"


def test_damaged_records_are_named(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text("{")
    with pytest.raises(CompileError, match="not a file of tuning records"):
        Records(tmp_path / "r.json")


def test_a_runner_must_fit_the_target(host: Target) -> None:
    with pytest.raises(CompileError, match="use local for TARGET=host"):
        make_runner("local", read_target("rpi4"))
    assert make_runner("", host).name == "local"
    assert make_runner("", read_target("rpi4")).name == "emulator"


def test_a_missing_photo_folder(small_model: Path, host: Target, tmp_path: Path) -> None:
    empty = tmp_path / "photos"
    empty.mkdir()
    request = Request(small_model, host, tmp_path / "out", photos=empty, trials=1, records=tmp_path)
    with pytest.raises(NoPhotosError):
        compile_bundle(request)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.rglob("*.json")), "it is reported before the search"


def test_a_full_disk(
    small_model: Path,
    small_bundle: Path,
    host: Target,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(small_bundle, tmp_path / "out")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    odd = onnx.load(small_model)
    odd.graph.node[0].attribute.append(helper.make_attribute("dilations", [2, 2]))
    onnx.save(odd, tmp_path / "odd.onnx")
    with monkeypatch.context() as patched:
        patched.setattr(promote, "copy_whole_model", full)
        for model in (small_model, tmp_path / "odd.onnx"):
            with pytest.raises(StorageError, match="the disk is full"):
                build(model, host, tmp_path / "out")
    # LLVM would end the process, so free space is checked before.
    usage = shutil.disk_usage(tmp_path)._replace(free=1 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(StorageError, match="the disk is full"):
        build(small_model, host, tmp_path / "out")
    open_bundle(tmp_path / "out")


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "compile", *map(str, arguments)]


def test_the_command_fails_with_one_line(tmp_path: Path) -> None:
    done = subprocess.run(command("rpi9"), cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (10, 1)
    assert "rpi9: unknown device (known are host" in done.stderr
    done = subprocess.run(
        command("host", "--model", tmp_path / "no.onnx"), cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr.count("\n")) == (4, 1)


def test_ctrl_c_keeps_the_search_results(small_model: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(
            "host", "--model", small_model, "--out", tmp_path / "out", "--records", tmp_path,
            "--trials", 500,
        ),
        cwd=ROOT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not list(tmp_path.glob("*/fp32.json")):
        assert process.poll() is None, process.stderr
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "the search results so far are saved" in complaint
    (records,) = tmp_path.glob("*/fp32.json")
    assert Records(records).best


def test_a_lost_interrupt_ends_the_search_at_the_next_trial(small_model: Path) -> None:
    work = workloads(read_network(small_model))[0]
    with Progress(2) as progress:
        progress.trial(work, 1, 1.0)
        with contextlib.suppress(KeyboardInterrupt):  # as Python does in a destructor
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            progress.trial(work, 2, 1.0)
