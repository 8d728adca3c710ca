"""Compile a network as a user does, and use the result."""

from __future__ import annotations

import ctypes
import json
import shutil
import subprocess
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest

from compile.build import compile_bundle
from compile.codegen.link import build_library
from compile.codegen.plan import make_plan
from compile.codegen.workloads import workloads
from compile.frontend.onnx_importer import read_network
from compile.target import toolchain
from compile.target.description import Target, read_target
from compile.tests.helpers import build, random_pictures, save_sample
from compile.tuning.search_space import space
from compile.tuning.untuned import build_untuned
from compile.verify.images import load_views
from compile.verify.request import Request
from edge_runtime.bundle import open_bundle
from edge_runtime.code import hamming
from edge_runtime.engine.compiled import CompiledEngine
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.errors import (
    TargetError,
)
from edge_runtime.model import PRIOR_FILE
from edge_runtime.trust.manifest import read_manifest

ROOT = Path(__file__).resolve().parents[2]


def logit(activations: np.ndarray) -> np.ndarray:
    clipped = np.clip(activations.astype(np.float64), 1e-7, 1 - 1e-7)
    return np.log(clipped / (1 - clipped))


@pytest.mark.parametrize(
    ("kind", "size", "width", "bits", "norm", "classes"),
    [
        ("v1", 96, 0.25, 64, False, 0),
        ("v1", 128, 0.5, 32, True, 10),
        ("v1", 160, 0.25, 128, False, 0),
        ("v2", 96, 0.5, 48, True, 0),
        ("v2", 64, 0.25, 16, False, 7),
    ],
)
def test_mobile_networks_give_the_bits_of_onnx_runtime(
    kind: str, size: int, width: float, bits: int, norm: bool, classes: int,
    host: Target, tmp_path: Path,
) -> None:  # fmt: skip
    model = save_sample(
        tmp_path / "m.onnx",
        kind,
        size=size,
        width=width,
        bits=bits,
        batch_norm=norm,
        classes=classes,
    )
    (tmp_path / "m.prior.npz").write_bytes(b"prior")
    result = build(model, host, tmp_path / "out")
    assert result.evidence["parity"]["passed"], result.evidence["parity"]
    assert (result.bundle / PRIOR_FILE).read_bytes() == b"prior"
    assert PRIOR_FILE in read_manifest(result.bundle)["files"]
    engine, reference = CompiledEngine(tmp_path / result.bundle), PortableEngine(model)
    for picture in random_pictures(size, 5):
        expected = reference.activations(picture)
        found = 1 / (1 + np.exp(-engine.logits(picture).astype(np.float64)))
        assert np.abs(found - expected).max() < 1e-4
        assert (engine.hash(picture) == reference.hash(picture)).all()


def test_more_threads_give_the_same_bits(small_bundle: Path) -> None:
    one = CompiledEngine(small_bundle)
    for threads in (2, 3, 8):
        many = CompiledEngine(small_bundle, threads=threads)
        for picture in random_pictures(96, 30):
            assert (many.logits(picture) == one.logits(picture)).all()
        many.close()


def test_many_networks_at_once(small_bundle: Path) -> None:
    """Each thread opens its own network; they do not interfere."""
    pictures = random_pictures(96, 8)
    expected = [int(CompiledEngine(small_bundle).hash(picture)[0]) for picture in pictures]
    wrong = []

    def run() -> None:
        engine = CompiledEngine(small_bundle, threads=2)
        for _ in range(20):
            found = [int(engine.hash(picture)[0]) for picture in pictures]
            if found != expected:
                wrong.append(found)
        engine.close()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_library_needs_nothing_but_libc(small_bundle: Path) -> None:
    shown = subprocess.run(
        ["readelf", "-d", "-W", small_bundle / "libedge.so"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    needed = [line.split("[")[1].rstrip("]") for line in shown.splitlines() if "(NEEDED)" in line]
    assert set(needed) <= {"libc.so.6", "libpthread.so.0", "ld-linux-x86-64.so.2", "libm.so.6"}
    symbols = subprocess.run(
        ["nm", "-D", "--defined-only", small_bundle / "libedge.so"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    exported = {line.split()[-1] for line in symbols.splitlines()}
    assert {"edge_open", "edge_hash", "edge_close", "edge_version", "edge_error"} <= exported
    assert all(name.startswith("edge_") for name in exported), exported


def test_the_example_program(small_bundle: Path, tmp_path: Path) -> None:
    native = ROOT / "compile" / "native"
    command: list[str | Path] = [
        "cc", "-Wall", "-Wextra", "-Werror", f"-I{native}", ROOT / "compile" / "example" / "hash.c",
        small_bundle / "libedge.so", f"-Wl,-rpath,{small_bundle}", "-o", tmp_path / "hash",
    ]  # fmt: skip
    subprocess.run(command, check=True)
    (picture,) = random_pictures(96, 1)
    header = b"P6\n96 96\n255\n"
    (tmp_path / "p.ppm").write_bytes(header + picture[..., ::-1].tobytes())
    done = subprocess.run(
        [tmp_path / "hash", tmp_path / "p.ppm"], capture_output=True, text=True, check=True
    )
    assert int(done.stdout, 16) == int(CompiledEngine(small_bundle).hash(picture)[0])
    (tmp_path / "p.ppm").write_bytes(b"P6\n32 32\n255\n" + bytes(32 * 32 * 3))
    done = subprocess.run([tmp_path / "hash", tmp_path / "p.ppm"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "96 x 96" in done.stderr


def test_invalid_arguments_are_rejected(small_bundle: Path) -> None:
    library = ctypes.CDLL(str(small_bundle / "libedge.so"))
    library.edge_open.restype = ctypes.c_void_p
    library.edge_error.restype = ctypes.c_char_p
    assert library.edge_open(0) is None
    assert library.edge_error() == b"threads must be 1 to 64"
    library.edge_close(None)
    assert library.edge_hash(None, None, None) == -1


def test_the_same_records_give_the_same_bytes(
    small_model: Path, small_bundle: Path, host: Target, tmp_path: Path
) -> None:
    shutil.copytree(small_bundle.parent / "records", tmp_path / "records")
    request = Request(
        small_model, host, tmp_path / "again", records=tmp_path / "records", pictures=5
    )
    messages: list[str] = []
    request.log = messages.append
    result = compile_bundle(request)
    assert not any("searching" in line for line in messages)
    first, second = (
        json.loads((folder / "manifest.json").read_text())["files"]["libedge.so"]
        for folder in (small_bundle, result.bundle)
    )
    assert first == second


def test_the_same_bytes_are_verified_only_once(
    small_model: Path, small_bundle: Path, host: Target, tmp_path: Path
) -> None:
    shutil.copytree(small_bundle, tmp_path / "out")
    messages: list[str] = []
    request = Request(
        small_model, host, tmp_path / "out", records=small_bundle.parent / "records",
        pictures=40, log=messages.append,
    )  # fmt: skip
    result = compile_bundle(request)
    assert any("verified before on 40 pictures" in line for line in messages)
    before = json.loads((small_bundle / "evidence.json").read_text())
    assert result.evidence["speed"] == before["speed"]
    request.pictures, messages[:] = 41, []
    compile_bundle(request)
    assert "verifying that it is equal, and its speed" in messages


def test_fp16_codes_are_close_to_fp32(small_model: Path, host: Target, tmp_path: Path) -> None:
    """Uses this machine's rounding. device_tests runs it on the emulated board."""
    network = read_network(small_model)
    choices = {w.key: space(w.shape, host.vector)[0] for w in workloads(network, "fp16")}
    plan = make_plan(network, choices, host.vector, "fp16")
    library = ctypes.CDLL(str(build_library(plan, host, tmp_path)))
    library.edge_open.restype = ctypes.c_void_p
    opened = ctypes.c_void_p(library.edge_open(1))
    reference = PortableEngine(small_model)
    code, different = np.zeros(1, np.uint64), 0
    views = load_views(None, 96, 100)
    for picture in views:
        library.edge_hash(
            opened, picture.ctypes.data_as(ctypes.c_void_p), code.ctypes.data_as(ctypes.c_void_p)
        )
        different += int(hamming(code, reference.hash(picture)[np.newaxis])[0])
    assert different / (64 * len(views)) < 0.03


def test_a_relative_folder(
    small_model: Path, host: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    build_untuned(read_network(small_model), host, "fp32", Path("build/here"))
    assert (tmp_path / "build" / "here" / "libedge.so").exists()


def test_fp16_needs_a_cpu_with_fp16() -> None:
    with pytest.raises(TargetError, match="does not support fp16"):
        read_target("rpi4").at("fp16")
    assert read_target("rpi5").at("fp16").vector.lanes == 8


def test_the_bundle_and_its_archive_are_the_same(small_bundle: Path, tmp_path: Path) -> None:
    with tarfile.open(small_bundle.with_name("host.tar.gz")) as tar:
        tar.extractall(tmp_path, filter="data")
    unpacked = open_bundle(tmp_path / "host")
    assert unpacked.model.id == open_bundle(small_bundle).model.id
    manifest = read_manifest(small_bundle)
    assert set(manifest["files"]) == {"libedge.so", "model.onnx", "evidence.json"}
    assert manifest["target"]["name"] == "host"
    assert manifest["tools"]["apache-tvm"] == toolchain.TVM
