"""The path on the device: the same answers as here, and no way to crash it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from compile.build import Request, compile_bundle
from compile.sample import Sample
from compile.target import Target
from compile.toolchain import c_compiler
from compile.userland import ROOT
from device_tests.device import Device
from edge_runtime.bundle import LIBRARY, MODEL, read_manifest, write_manifest
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.fit import Image, fit

CODES = """
import sys
import numpy as np
from edge_runtime.engine import open_engine
engine = open_engine(sys.argv[1], threads=int(sys.argv[3]))
print(engine.name)
for picture in np.load(sys.argv[2]):
    print(int(engine.hash(picture)[0]))
"""
FIT = """
import hashlib, sys
import numpy as np
from edge_runtime.fit import fit
for picture in np.load(sys.argv[1]):
    print(hashlib.sha256(fit(picture, 61).tobytes()).hexdigest())
"""
UNCHECKED = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
library.edge_open.restype = ctypes.c_void_p
library.edge_open(1)
print("still alive")
"""
NEWER = """
#include <arm_neon.h>
#include <stdint.h>
static volatile int8_t one = 1;
void *edge_open(int32_t threads)
{
    int8x16_t a = vdupq_n_s8(one);
    return (void *)(intptr_t)vgetq_lane_s32(vdotq_s32(vdupq_n_s32(threads), a, a), 0);
}
"""


def codes(device: Device, bundle: Path, pictures: Path, threads: int = 1) -> tuple[str, list[int]]:
    done = device.python("-c", CODES, device.put(bundle), device.put(pictures), str(threads))
    assert done.returncode == 0, done.stderr
    name, *lines = done.stdout.split()
    return name, [int(line) for line in lines]


@pytest.mark.parametrize("threads", [1, 4])
def test_the_compiled_engine_gives_the_codes_of_onnx_runtime_here(
    device: Device, bundle: Path, pictures: tuple[Path, Image], threads: int
) -> None:
    path, made = pictures
    reference = PortableEngine(bundle / MODEL)
    expected = [int(reference.hash(picture)[0]) for picture in made]
    assert codes(device, bundle, path, threads) == ("compiled", expected)


def test_a_network_of_integers_has_the_bits_that_it_has_here(
    device: Device, target: Target, pictures: tuple[Path, Image], tmp_path: Path
) -> None:
    """int8, of a small network with random weights: what it finds means nothing."""
    path, made = pictures
    sample = Sample(made.shape[1], 0.25, 64)
    sample.v1()
    sample.finish(tmp_path / MODEL)
    request = Request(
        tmp_path / MODEL, target, tmp_path / "bundle", "int8", trials=1, records=tmp_path,
        pictures=len(made),
    )  # fmt: skip
    result = compile_bundle(request)
    parity = result.evidence["parity"]
    assert parity["emulated"] and parity["different_bits"] == 0, parity
    name, found = codes(device, result.bundle, path, threads=2)
    assert name == "compiled"
    reference = PortableEngine(tmp_path / MODEL)
    for code, picture in zip(found, made, strict=True):
        assert (code ^ int(reference.hash(picture)[0])).bit_count() <= 8


def test_preprocessing_is_the_same_to_the_bit(device: Device, pictures: tuple[Path, Image]) -> None:
    import hashlib

    path, made = pictures
    done = device.python("-c", FIT, device.put(path))
    here = [hashlib.sha256(fit(picture, 61).tobytes()).hexdigest() for picture in made]
    assert done.stdout.split() == here, done.stderr


def test_enroll_query_and_doctor_on_the_device(
    device: Device, bundle: Path, pictures: tuple[Path, Image], tmp_path: Path
) -> None:
    _, made = pictures
    for label, picture in zip(("hall", "stairs"), made, strict=False):
        (tmp_path / "photos" / label).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "photos" / label / "1.png"), picture)
    photos, model = device.put(tmp_path / "photos"), device.put(bundle)
    gallery = f"{photos}/gallery.sqlite"
    run = ("-m", "edge_runtime")
    done = device.python(*run, "enroll", "--gallery", gallery, "--model", model, photos)
    assert done.returncode == 0, done.stderr
    done = device.python(
        *run, "query", "--json", "--gallery", gallery, "--model", model, f"{photos}/stairs/1.png"
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    text = json.dumps(answer)
    assert "stairs" in text and '"distance": 0' in text, text
    done = device.python(*run, "doctor", "--model", model)
    assert "compiled" in done.stdout, done.stdout + done.stderr


def test_the_example_program_on_the_device(
    device: Device, target: Target, bundle: Path, pictures: tuple[Path, Image], tmp_path: Path
) -> None:
    _, made = pictures
    picture, side = made[0], made[0].shape[0]
    (tmp_path / "p.ppm").write_bytes(
        b"P6\n%d %d\n255\n" % (side, side) + picture[..., ::-1].tobytes()
    )
    place = device.put(bundle)
    compiler = c_compiler(target.triple)
    subprocess.run(
        [
            *compiler, f"-I{ROOT / 'compile' / 'native'}", ROOT / "compile" / "example" / "hash.c",
            bundle / LIBRARY, f"-Wl,-rpath,{place}", "-o", tmp_path / "hash",
        ],
        check=True,
    )  # fmt: skip
    done = device.program(device.put(tmp_path / "hash"), device.put(tmp_path / "p.ppm"))
    assert done.returncode == 0, done.stderr
    assert int(done.stdout, 16) == int(PortableEngine(bundle / MODEL).hash(picture)[0])


def test_a_bundle_for_a_newer_cpu_is_refused_where_running_it_would_kill(
    device: Device, target: Target, bundle: Path, pictures: tuple[Path, Image], tmp_path: Path
) -> None:
    if "asimddp" in target.features:
        pytest.skip("this CPU has the dot product")
    newer = tmp_path / "newer"
    shutil.copytree(bundle, newer)
    (tmp_path / "newer.c").write_text(NEWER)
    subprocess.run(
        [
            *c_compiler(target.triple), "-O1", "-march=armv8.2-a+dotprod", "-shared", "-fPIC",
            tmp_path / "newer.c", "-o", newer / LIBRARY,
        ],
        check=True,
    )  # fmt: skip
    manifest = read_manifest(newer)
    (newer / "manifest.json").unlink()
    write_manifest(
        newer,
        PortableEngine(bundle / MODEL).model,
        target={**manifest["target"], "name": "rpi5", "cpu": "cortex-a76", "features": ["asimddp"]},
        precision="fp32",
        budgets={},
        tools={},
    )
    place, photos = device.put(newer), device.put(pictures[0])
    # Without the check the process dies of an illegal instruction ...
    done = device.python("-c", UNCHECKED, f"{place}/{LIBRARY}")
    assert done.returncode in (-4, 132), (done.returncode, done.stdout)
    # ... with it, the portable engine answers, and says why,
    done = device.python("-c", CODES, place, photos, "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "portable"
    assert "this CPU lacks asimddp" in done.stderr
    # and where there is no portable model either, one line says what to do.
    (newer / MODEL).unlink()
    place = device.put(newer)
    done = device.python("-m", "edge_runtime", "query", "--model", place, f"{photos}.png")
    assert done.returncode == 4
    assert done.stderr.count("\n") == 1
    assert "lacks asimddp" in done.stderr and "use a bundle for this board" in done.stderr


def test_a_damaged_bundle_is_found_out(
    device: Device, bundle: Path, pictures: tuple[Path, Image], tmp_path: Path
) -> None:
    bad = tmp_path / "bad"
    shutil.copytree(bundle, bad)
    content = bytearray((bad / LIBRARY).read_bytes())
    content[len(content) // 2] ^= 1
    (bad / LIBRARY).write_bytes(content)
    done = device.python("-c", CODES, device.put(bad), device.put(pictures[0]), "1")
    assert done.stdout.split()[0] == "portable"
    assert "damaged" in done.stderr


LOOKUP = """
import hashlib
import numpy as np
from edge_runtime.lookup import ALL, Lookup, among, kernels
from edge_runtime.lookup.planner import Planner
generator = np.random.default_rng(2)
for bits in (13, 16, 32, 48, 64, 128, 256):
    words = -(-bits // 64)
    codes = generator.integers(0, 2**64, (3005, words), dtype=np.uint64)
    codes[:, -1] >>= np.uint64(64 * words - bits)
    codes[1000:2000] = codes[:1000]  # ties
    codes, queries = codes[:-5], codes[-5:]
    half = among(generator.random(3000) < 0.5)
    digest = hashlib.sha256()
    lookup = Lookup(codes, bits)
    planner = Planner(bits, lookup.kernel)
    if lookup.kernel == "numpy":  # the machine that is compared with may have no compiler
        indexed = lookup.nearest
    else:
        planner.build(lookup.rows)
        def indexed(query, k, there):
            return planner.nearest(lookup.rows, lookup._tight(query), k, there)
    def take(answer):
        for part in answer:
            digest.update(np.ascontiguousarray(part, "<i8").tobytes())
    for query in queries:
        for there in (ALL, half):
            for k in (1, 10, 3000):
                take(lookup.nearest(query, k, there))
                take(indexed(query, k, there))
            take(lookup.within(query, bits // 3, there))
    take(lookup.nearest_batch(queries, 10))
    take([lookup.ranking(queries)])
    print(bits, digest.hexdigest()[:16])
print(*kernels())
"""


def test_the_lookup_gives_the_same_answers(device: Device) -> None:
    """Every width, every kind of search, with ties: the device's kernel and this machine's."""
    done = device.python("-c", LOOKUP)
    here = subprocess.run(
        [sys.executable, "-c", LOOKUP], capture_output=True, text=True, check=True, cwd=ROOT
    )
    *answers, names = done.stdout.strip().splitlines()
    assert answers == here.stdout.strip().splitlines()[:-1], done.stderr
    assert names.split()[0] == "neon"
