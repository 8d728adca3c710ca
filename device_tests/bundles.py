"""Build the bundles that are tested on a device."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from compile.build import compile_bundle
from compile.frontend.onnx_importer import read_network
from compile.quantization.calibrate import quantize
from compile.target.description import HOST, Target, read_target
from compile.tests.sample import Sample
from compile.tuning.untuned import build_untuned
from compile.verify.request import Request
from device_tests.devices.base import ROOT
from edge_runtime.bundle import MODEL, is_bundle, require_verified
from edge_runtime.errors import CompileError
from edge_runtime.image import Image
from edge_runtime.model import MODEL_FILE, identify
from edge_runtime.trust.manifest import read_manifest

SMALL = 96
"""Side of the small network's input, pixels."""


def make_bundle(
    target: Target, folder: Path, *, small: bool, log: Callable[[str], None] = lambda _: None
) -> Path:
    """Return the bundle of `make compile` for the device.

    With `small`, compile a small network into `folder` instead.
    """
    if not small:
        path, model = ROOT / "build" / target.name, ROOT / "models" / MODEL_FILE
        if not is_bundle(path) or read_manifest(path)["model"]["id"] != identify(model)[0]:
            log(f"compiling for {target.name}")
            result = compile_bundle(Request(model, target, path, log=log))
            if result.status == "rejected":
                raise CompileError(
                    "rejected: its codes differ or it is not faster",
                    where=result.bundle,
                    remedy="see evidence.json",
                )
            path = result.bundle
        require_verified(path)
        return path
    log(f"compiling a small network for {target.name}")
    _small_network(folder / MODEL)
    build_untuned(read_network(folder / MODEL), target, "fp32", folder)
    return folder


def int8_bundles(target: Target, pictures: Image, folder: Path) -> tuple[Path, Path]:
    """Compile a small int8 network, calibrated on `pictures`, for the device and for this machine.

    Returns both bundles, the device's first.
    """
    remote, local = folder / "remote", folder / "local"
    remote.mkdir()
    local.mkdir()
    _small_network(remote / MODEL)
    shutil.copy(remote / MODEL, local)
    device, host = target.at("int8"), read_target(HOST).at("int8")
    network = quantize(read_network(remote / MODEL), pictures, device.vector)
    build_untuned(network, device, "int8", remote)
    build_untuned(network, host, "int8", local)
    return remote, local


def _small_network(path: Path) -> None:
    """Write a small network with random weights. Its codes are meaningless."""
    sample = Sample(SMALL, 0.25, 64)
    sample.v1()
    sample.finish(path)
