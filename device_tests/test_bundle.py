"""A bundle that does not fit the device is refused instead of crashing it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from compile.target.description import Target
from compile.target.toolchain import c_compiler
from device_tests.devices.base import Device
from edge_runtime.bundle import LIBRARY, MODEL, write_manifest
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.trust.manifest import read_manifest

LOAD_WITHOUT_CHECK = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
library.edge_open.restype = ctypes.c_void_p
library.edge_open(1)
print("no crash")
"""
DOT_PRODUCT_CODE = """
#include <arm_neon.h>
#include <stdint.h>
static volatile int8_t one = 1;
void *edge_open(int32_t threads)
{
    int8x16_t a = vdupq_n_s8(one);
    return (void *)(intptr_t)vgetq_lane_s32(vdotq_s32(vdupq_n_s32(threads), a, a), 0);
}
"""


def test_a_bundle_for_a_newer_cpu_is_refused(
    device: Device, target: Target, bundle: Path, tmp_path: Path
) -> None:
    if "aarch64" not in target.triple or "asimddp" in device.info.features:
        pytest.skip("this CPU has the dot-product instructions")
    newer = tmp_path / "newer"
    shutil.copytree(bundle, newer)
    (tmp_path / "newer.c").write_text(DOT_PRODUCT_CODE)
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
    without_model = tmp_path / "without_model"
    shutil.copytree(newer, without_model)
    (without_model / MODEL).unlink()
    place = device.put(newer)
    # Without the check, an illegal instruction kills the process.
    done = device.python("-c", LOAD_WITHOUT_CHECK, f"{place}/{LIBRARY}")
    assert done.returncode in (-4, 132), (done.returncode, done.stdout)
    # With it, the portable engine answers and the log gives the reason.
    (outcome,) = device.run_script("engine", place)
    assert outcome["engine"] == "portable"
    assert any("this CPU lacks asimddp" in line for line in outcome["log"]), outcome
    # Without a portable model, the command fails with one line that says what to do.
    done = device.runtime("query", "--model", device.put(without_model), "photo.png")
    assert done.returncode == 4
    assert done.stderr.count("\n") == 1
    assert "lacks asimddp" in done.stderr and "use a bundle for this board" in done.stderr


def test_a_damaged_bundle_is_detected(device: Device, bundle: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    shutil.copytree(bundle, bad)
    content = bytearray((bad / LIBRARY).read_bytes())
    content[len(content) // 2] ^= 1
    (bad / LIBRARY).write_bytes(content)
    (outcome,) = device.run_script("engine", device.put(bad))
    assert outcome["engine"] == "portable"
    assert any("damaged" in line for line in outcome["log"]), outcome
