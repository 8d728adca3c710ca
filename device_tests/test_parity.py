"""The device computes the same results as this machine, bit for bit."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compile.target.description import Target
from compile.target.toolchain import c_compiler
from device_tests.devices.base import ROOT, Device
from device_tests.devices.emulated import EmulatedDevice
from device_tests.scripts.answers import THREADS, lookups, preprocessed
from edge_runtime.bundle import LIBRARY, MODEL
from edge_runtime.engine.compiled import CompiledEngine
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.image import Image

Int8Case = tuple[Path, Path, Image]


@pytest.fixture(scope="module")
def answers(
    device: Device,
    remote_bundle: str,
    pictures: Image,
    int8_case: Int8Case,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """Answers from a single process, because starting one takes seconds under emulation."""
    folder = tmp_path_factory.mktemp("pictures") / "pictures"
    folder.mkdir()
    np.save(folder / "pictures.npy", pictures)
    np.save(folder / "small.npy", int8_case[2])
    remote = device.put(folder)
    answer = device.run_script(
        "answers",
        f"{remote}/pictures.npy",
        remote_bundle,
        f"{remote}/small.npy",
        device.put(int8_case[0]),
    )
    assert isinstance(answer, dict)
    return answer


@pytest.mark.parametrize("threads", THREADS)
def test_the_compiled_engine_gives_the_codes_of_onnx_runtime_here(
    answers: dict[str, Any], bundle: Path, pictures: Image, threads: int
) -> None:
    reference = PortableEngine(bundle / MODEL)
    assert answers["fp32"]["engine"] == "compiled"
    assert answers["fp32"][f"codes{threads}"] == [int(reference.hash(p)[0]) for p in pictures]


def test_an_int8_network_gives_the_codes_of_this_machine(
    answers: dict[str, Any], int8_case: Int8Case
) -> None:
    """Integer sums are the same on every CPU."""
    _, local_bundle, images = int8_case
    compiled, reference = CompiledEngine(local_bundle), PortableEngine(local_bundle / MODEL)
    expected = [int(compiled.hash(picture)[0]) for picture in images]
    assert answers["int8"]["engine"] == "compiled"
    for threads in THREADS:
        assert answers["int8"][f"codes{threads}"] == expected
    for code, picture in zip(expected, images, strict=True):
        assert (code ^ int(reference.hash(picture)[0])).bit_count() <= 8


def test_preprocessing_is_the_same_to_the_bit(answers: dict[str, Any], pictures: Image) -> None:
    assert answers["preprocess"] == preprocessed(pictures)


def test_the_lookup_gives_the_same_answers(
    answers: dict[str, Any], device: Device, target: Target
) -> None:
    """Compare every code length and every kind of search, with ties, between the two kernels."""
    assert answers["lookup"] == lookups()
    if isinstance(device, EmulatedDevice):  # cross-compiled on this machine
        assert answers["kernels"][0] == "neon"
    if answers["kernels"][0] == "numpy":
        pytest.skip("the answers are equal but come from numpy: the device has no C compiler")


def test_the_example_program_on_the_device(
    device: Device, target: Target, bundle: Path, pictures: Image, tmp_path: Path
) -> None:
    picture, side = pictures[0], pictures.shape[1]
    folder = tmp_path / "example"
    folder.mkdir()
    header = b"P6\n%d %d\n255\n" % (side, side)
    (folder / "p.ppm").write_bytes(header + picture[..., ::-1].tobytes())
    source = ROOT / "compile" / "example" / "hash.c"
    (folder / LIBRARY).write_bytes((bundle / LIBRARY).read_bytes())
    subprocess.run(
        [
            *c_compiler(target.triple), f"-I{ROOT / 'compile' / 'native'}", source,
            folder / LIBRARY, "-Wl,-rpath,$ORIGIN", "-o", folder / "hash",
        ],
        check=True,
    )  # fmt: skip
    remote = device.put(folder)
    done = device.program(f"{remote}/hash", f"{remote}/p.ppm")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout, 16) == int(PortableEngine(bundle / MODEL).hash(picture)[0])
