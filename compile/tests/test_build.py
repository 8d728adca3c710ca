"""Compiling as a user does: what comes out, what is refused, what survives."""

from __future__ import annotations

import contextlib
import ctypes
import json
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from compile import build as build_module
from compile import emulator, gate, library, toolchain
from compile.arena import At
from compile.build import Request, compile_bundle, make_runner
from compile.front import read_network
from compile.library import build_library, build_untuned
from compile.network import Network
from compile.pictures import pictures
from compile.plan import Knobs, make_plan, workloads
from compile.progress import Progress
from compile.records import Records
from compile.source import emit
from compile.space import space
from compile.target import DEVICES, Target, known_targets, read_target
from compile.tests.conftest import build, random_pictures, save_sample
from edge_runtime.bundle import MODEL, open_bundle, read_manifest
from edge_runtime.code import hamming
from edge_runtime.engine import open_engine
from edge_runtime.engine.compiled import CompiledEngine
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.errors import (
    CompileError,
    NetworkUnsupportedError,
    NoPhotosError,
    StorageError,
    TargetError,
    ToolchainError,
)

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
def test_any_mobile_network_gives_the_bits_of_onnx_runtime(
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
    result = build(model, host, tmp_path / "out")
    assert result.evidence["parity"]["passed"], result.evidence["parity"]
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
    """Each thread has its own; none disturbs another."""
    made = random_pictures(96, 8)
    expected = [int(CompiledEngine(small_bundle).hash(picture)[0]) for picture in made]
    wrong = []

    def run() -> None:
        engine = CompiledEngine(small_bundle, threads=2)
        for _ in range(20):
            found = [int(engine.hash(picture)[0]) for picture in made]
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
    command = [
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


def test_opening_with_no_sense(small_bundle: Path) -> None:
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
    told: list[str] = []
    request.tell = told.append
    result = compile_bundle(request)
    assert not any("searching" in line for line in told)
    first, second = (
        json.loads((folder / "manifest.json").read_text())["files"]["libedge.so"]
        for folder in (small_bundle, result.bundle)
    )
    assert first == second


def test_the_same_bytes_are_proved_only_once(
    small_model: Path, small_bundle: Path, host: Target, tmp_path: Path
) -> None:
    shutil.copytree(small_bundle, tmp_path / "out")
    told: list[str] = []
    request = Request(
        small_model, host, tmp_path / "out", records=small_bundle.parent / "records",
        pictures=40, tell=told.append,
    )  # fmt: skip
    result = compile_bundle(request)
    assert any(line.startswith("the same bytes were proved before on 40 pictures") for line in told)
    before = json.loads((small_bundle / "evidence.json").read_text())
    assert result.evidence["speed"] == before["speed"]
    request.pictures, told[:] = 41, []
    compile_bundle(request)
    assert "proving it equal, then measuring it" in told


def test_fp16_finds_what_fp32_finds(small_model: Path, host: Target, tmp_path: Path) -> None:
    """Its arithmetic as this machine rounds it; on the emulated board: device_tests."""
    network = read_network(small_model)
    choices = {w.key: space(w.shape, host.vector)[0] for w in workloads(network, "fp16")}
    plan = make_plan(network, choices, host.vector, "fp16")
    library = ctypes.CDLL(str(build_library(plan, host, tmp_path)))
    library.edge_open.restype = ctypes.c_void_p
    opened = ctypes.c_void_p(library.edge_open(1))
    reference = PortableEngine(small_model)
    code, different = np.zeros(1, np.uint64), 0
    made = pictures(None, 96, 100)
    for picture in made:
        library.edge_hash(
            opened, picture.ctypes.data_as(ctypes.c_void_p), code.ctypes.data_as(ctypes.c_void_p)
        )
        different += int(hamming(code, reference.hash(picture)[np.newaxis])[0])
    assert different / (64 * len(made)) < 0.03


def test_a_folder_may_be_named_from_where_one_stands(
    small_model: Path, host: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    build_untuned(read_network(small_model), host, "fp32", Path("build/here"))
    assert (tmp_path / "build" / "here" / "libedge.so").exists()


def test_fp16_needs_a_cpu_that_has_it() -> None:
    with pytest.raises(TargetError, match="no fp16 arithmetic"):
        read_target("rpi4").at("fp16")
    assert read_target("rpi5").at("fp16").vector.lanes == 8


def test_mean_average_precision_by_hand() -> None:
    codes = np.array([0b0000, 0b0001, 0b0111, 0b1111], np.uint64)[:, None]
    assert gate.mean_average_precision(codes, np.array([0, 0, 1, 1])) == 1
    # the only fellow of each is found third
    assert gate.mean_average_precision(codes, np.array([0, 1, 1, 0])) == pytest.approx(
        (1 / 3 + 1 / 2 + 1 / 2 + 1 / 3) / 4
    )


def test_the_bundle_and_its_archive_are_the_same(small_bundle: Path, tmp_path: Path) -> None:
    with tarfile.open(small_bundle.with_name("host.tar.gz")) as tar:
        tar.extractall(tmp_path, filter="data")
    unpacked = open_bundle(tmp_path / "host")
    assert unpacked.model.id == open_bundle(small_bundle).model.id
    manifest = read_manifest(small_bundle)
    assert set(manifest["files"]) == {"libedge.so", "model.onnx", "evidence.json"}
    assert manifest["target"]["name"] == "host"
    assert manifest["tools"]["apache-tvm"] == toolchain.TVM


def test_a_bundle_that_is_slower_or_unequal_is_not_promoted(
    small_model: Path,
    small_bundle: Path,
    host: Target,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    shutil.copytree(small_bundle, out)
    before = (out / "manifest.json").read_bytes()
    monkeypatch.setattr(gate, "speed_here", lambda *_: gate.Speed("ms of CPU", 2, 1, 2.0, False))
    result = build(small_model, host, out, pictures=41)  # not the bytes that were proved before
    assert not result.promoted
    assert result.bundle == tmp_path / "out.rejected"
    assert (out / "manifest.json").read_bytes() == before, "the earlier bundle stands"
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
    with pytest.raises(NetworkUnsupportedError, match='Softplus "strange"'):
        build(tmp_path / "odd.onnx", host, tmp_path / "out")
    engine = open_engine(tmp_path / "out")
    assert engine.name == "portable"
    assert "no compiled network" in engine.reason
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
def test_what_is_no_bundle_is_not_replaced(
    kind: str, small_model: Path, host: Target, tmp_path: Path
) -> None:
    file = tmp_path / "mine" / "photo.jpg" if kind == "folder" else tmp_path / "mine"
    file.parent.mkdir(exist_ok=True)
    file.write_text("precious")
    with pytest.raises(CompileError, match="it is there, and no bundle"):
        compile_bundle(Request(small_model, host, tmp_path / "mine"))
    assert file.read_text() == "precious"


def test_damaged_records_are_named(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text("{")
    with pytest.raises(CompileError, match="not a file of tuning records"):
        Records(tmp_path / "r.json")


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
    from compile import target

    monkeypatch.setattr(target, "DEVICES", tmp_path)
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(TargetError, match=r"mine\.toml"):
        read_target("mine")


def test_a_new_board_is_a_new_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from compile import target

    monkeypatch.setattr(target, "DEVICES", tmp_path)
    shutil.copy(DEVICES / "rpi4.toml", tmp_path / "mine.toml")
    assert read_target("mine").cpu == "cortex-a72"


def test_ziglang_where_there_is_no_cross_compiler(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is installed: 100 MB that nobody with a cross compiler needs."""
    pytest.importorskip("ziglang")
    find = shutil.which
    monkeypatch.setattr(
        "compile.toolchain.shutil.which", lambda name: None if "gcc" in name else find(name)
    )
    target = read_target("rpi4")
    assert toolchain.c_compiler(target.triple)[1:3] == ["-m", "ziglang"]
    network = read_network(small_model)
    build_untuned(network, target, "fp32", tmp_path)
    assert "clang" in read_manifest(tmp_path)["tools"]["compiler"]
    made, reference = random_pictures(96, 3), PortableEngine(small_model)
    expected = np.array([reference.hash(picture) for picture in made])
    library = tmp_path / "libedge.so"
    assert gate.parity_emulated(library, target, expected, 64, made, 0.99).passed


def test_without_a_cross_compiler_programs_find_a_c_library_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """That of the userland. ziglang links programs that need none with musl."""

    class Unpacked:
        root = tmp_path

        def make(self) -> None:
            pass

    monkeypatch.setattr(emulator, "SYSROOT", tmp_path / "nothing")
    monkeypatch.setattr(emulator, "Userland", Unpacked)
    monkeypatch.setattr(emulator, "_c_library", emulator._c_library.__wrapped__)
    assert emulator.emulator_command(read_target("rpi4"))[1:3] == ["-L", str(tmp_path)]
    monkeypatch.setattr("compile.toolchain.shutil.which", lambda name: None)
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


def test_runners_know_their_place(host: Target) -> None:
    with pytest.raises(CompileError, match="local is for TARGET=host"):
        make_runner("local", read_target("rpi4"))
    assert make_runner("", host).name == "local"
    assert make_runner("", read_target("rpi4")).name == "emulator"


def test_photos_that_are_not_there(small_model: Path, host: Target, tmp_path: Path) -> None:
    empty = tmp_path / "photos"
    empty.mkdir()
    request = Request(small_model, host, tmp_path / "out", photos=empty, trials=1, records=tmp_path)
    with pytest.raises(NoPhotosError):
        compile_bundle(request)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.rglob("*.json")), "it is said before the search"


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
        patched.setattr(build_module.shutil, "copyfile", full)
        for model in (small_model, tmp_path / "odd.onnx"):
            with pytest.raises(StorageError, match="the disk is full"):
                build(model, host, tmp_path / "out")
    # LLVM ends the process where it cannot write: so it is not asked to
    usage = shutil.disk_usage(tmp_path)._replace(free=1 << 20)
    monkeypatch.setattr(library.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(StorageError, match="the disk is full"):
        build(small_model, host, tmp_path / "out")
    open_bundle(tmp_path / "out")


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "compile", *map(str, arguments)]


def test_the_command_says_one_line_when_it_fails(tmp_path: Path) -> None:
    done = subprocess.run(command("rpi9"), cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (10, 1)
    assert "rpi9: no such device (known are host" in done.stderr
    done = subprocess.run(
        command("host", "--model", tmp_path / "no.onnx"), cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr.count("\n")) == (4, 1)


def test_ctrl_c_keeps_what_was_found(small_model: Path, tmp_path: Path) -> None:
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
    assert "what the search has found is kept" in complaint
    (records,) = tmp_path.glob("*/fp32.json")
    assert Records(records).best


def test_an_interrupt_that_is_lost_ends_the_search_at_the_next_trial(small_model: Path) -> None:
    work = workloads(read_network(small_model))[0]
    with Progress(2) as progress:
        progress.trial(work, 1, 1.0)
        with contextlib.suppress(KeyboardInterrupt):  # as Python does with one in a destructor
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            progress.trial(work, 2, 1.0)


def sevens(network: Network, target: Target, precision: str = "fp32") -> dict[str, Knobs]:
    """Choices that multiply in seven products wherever that can be."""
    choices = {}
    for work in workloads(network, precision):
        every = space(work.shape, target.vector)
        choices[work.key] = next((k for k in every if getattr(k, "strassen", False)), every[0])
    return choices


@pytest.mark.parametrize("way", ["first choice", "seven products"])
def test_the_plan_never_lets_living_tensors_overlap(small_model: Path, way: str) -> None:
    target, network = read_target("rpi4"), read_network(small_model)
    choices = {w.key: space(w.shape, target.vector)[0] for w in workloads(network)}
    if way == "seven products":
        choices = sevens(network, target)
        assert sum(getattr(knobs, "strassen", False) for knobs in choices.values()) > 3
    plan = make_plan(network, choices, target.vector)
    steps = [*plan.preparations, *plan.steps]
    outputs = list({id(step.output): step.output for step in steps if step.output}.values())
    for index, one in enumerate(outputs):
        assert one.offset % 64 == 0
        for other in outputs[index + 1 :]:
            if one.meets(other):
                ends = one.offset + one.bytes <= other.offset
                assert ends or other.offset + other.bytes <= one.offset
    for now, step in enumerate(plan.steps):
        read = [argument.tensor for argument in step.arguments if isinstance(argument, At)]
        assert all(tensor.lasting or tensor.born <= now <= tensor.dies for tensor in read)
    text, constants = emit(plan, target.code_for)
    assert "edge_plan_steps" in text
    assert len(constants) > 4 * 200_000


def test_seven_products_give_the_bits_of_onnx_runtime(
    small_model: Path, host: Target, tmp_path: Path
) -> None:
    network = read_network(small_model)
    plan = make_plan(network, sevens(network, host), host.vector)
    library = ctypes.CDLL(str(build_library(plan, host, tmp_path)))
    library.edge_open.restype = ctypes.c_void_p
    opened = ctypes.c_void_p(library.edge_open(2))
    reference, code = PortableEngine(small_model), np.zeros(1, np.uint64)
    for picture in random_pictures(96, 50):
        library.edge_hash(opened, *(ctypes.c_void_p(a.ctypes.data) for a in (picture, code)))
        assert (code == reference.hash(picture)).all()
    library.edge_close(opened)
