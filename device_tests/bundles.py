"""The bundles that are tested on a device."""

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
from edge_runtime.bundle import MODEL, is_bundle, read_manifest
from edge_runtime.errors import CompileError
from edge_runtime.image import Image
from edge_runtime.model import MODEL_FILE, identify

SMALL = 96


def make_bundle(
    target: Target, folder: Path, *, small: bool, tell: Callable[[str], None] = lambda _: None
) -> Path:
    """`make compile`'s bundle for the device, or in `folder` one of a small network."""
    if not small:
        path, model = ROOT / "build" / target.name, ROOT / "models" / MODEL_FILE
        if not is_bundle(path) or read_manifest(path)["model"]["id"] != identify(model)[0]:
            tell(f"compiling for {target.name}")
            result = compile_bundle(Request(model, target, path, log=tell))
            if result.status == "rejected":
                raise CompileError(
                    "rejected: not equal or not faster", where=result.bundle, remedy="evidence.json"
                )
        return path
    tell(f"compiling a small network for {target.name}")
    _small_network(folder / MODEL)
    build_untuned(read_network(folder / MODEL), target, "fp32", folder)
    return folder


def int8_bundles(target: Target, made: Image, folder: Path) -> tuple[Path, Path]:
    """A small network in integers, calibrated on `made`: for the device, and for this machine."""
    there, here = folder / "there", folder / "here"
    there.mkdir()
    here.mkdir()
    _small_network(there / MODEL)
    shutil.copy(there / MODEL, here)
    device, host = target.at("int8"), read_target(HOST).at("int8")
    network = quantize(read_network(there / MODEL), made, device.vector)
    build_untuned(network, device, "int8", there)
    build_untuned(network, host, "int8", here)
    return there, here


def _small_network(path: Path) -> None:
    """Random weights: what it finds means nothing."""
    sample = Sample(SMALL, 0.25, 64)
    sample.v1()
    sample.finish(path)
