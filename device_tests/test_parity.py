"""The device computes what this machine computes, bit for bit."""

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
from device_tests.scripts.answers import THREADS, fitted, lookups
from edge_runtime.bundle import LIBRARY, MODEL
from edge_runtime.engine.compiled import CompiledEngine
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.image import Image

Integers = tuple[Path, Path, Image]


@pytest.fixture(scope="module")
def answers(
    device: Device,
    placed: str,
    pictures: Image,
    integers: Integers,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """All in one process there: under emulation, starting one takes seconds."""
    folder = tmp_path_factory.mktemp("pictures") / "pictures"
    folder.mkdir()
    np.save(folder / "pictures.npy", pictures)
    np.save(folder / "small.npy", integers[2])
    place = device.put(folder)
    found = device.ask(
        "answers", f"{place}/pictures.npy", placed, f"{place}/small.npy", device.put(integers[0])
    )
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("threads", THREADS)
def test_the_compiled_engine_gives_the_codes_of_onnx_runtime_here(
    answers: dict[str, Any], bundle: Path, pictures: Image, threads: int
) -> None:
    reference = PortableEngine(bundle / MODEL)
    assert answers["fp32"]["engine"] == "compiled"
    assert answers["fp32"][f"codes{threads}"] == [int(reference.hash(p)[0]) for p in pictures]


def test_a_network_of_integers_has_the_bits_that_it_has_here(
    answers: dict[str, Any], integers: Integers
) -> None:
    """Integers have the same sums on every CPU."""
    _, here, made = integers
    twin, reference = CompiledEngine(here), PortableEngine(here / MODEL)
    expected = [int(twin.hash(picture)[0]) for picture in made]
    assert answers["int8"]["engine"] == "compiled"
    for threads in THREADS:
        assert answers["int8"][f"codes{threads}"] == expected
    for code, picture in zip(expected, made, strict=True):
        assert (code ^ int(reference.hash(picture)[0])).bit_count() <= 8


def test_preprocessing_is_the_same_to_the_bit(answers: dict[str, Any], pictures: Image) -> None:
    assert answers["fit"] == fitted(pictures)


def test_the_lookup_gives_the_same_answers(
    answers: dict[str, Any], device: Device, target: Target
) -> None:
    """Every width, every kind of search, with ties: the device's kernel and this machine's."""
    assert answers["lookup"] == lookups()
    if isinstance(device, EmulatedDevice):  # its runtime was compiled here
        assert answers["kernels"][0] == "neon"
    if answers["kernels"][0] == "numpy":
        pytest.skip("the answers are the same, but by numpy: no C compiler there")


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
    place = device.put(folder)
    done = device.program(f"{place}/hash", f"{place}/p.ppm")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout, 16) == int(PortableEngine(bundle / MODEL).hash(picture)[0])
