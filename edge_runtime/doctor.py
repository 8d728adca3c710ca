"""Is this machine able to do the job? Each finding with its remedy."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from edge_runtime.device import Device, read_device
from edge_runtime.errors import EdgeRuntimeError, GalleryNotFoundError

MODULES = ("numpy", "cv2", "onnxruntime", "psutil")
DISK_FLOOR_BYTES = 100_000_000
MEMORY_FLOOR_BYTES = 200_000_000
HOT_C = 75.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    status: str
    """"ok", "warn" (it works, with a drawback) or "fail"."""
    detail: str
    remedy: str = ""


def examine(model: str | None, gallery: Path, camera: str | None) -> Iterator[Finding]:
    """Look at everything, one finding at a time; `camera` None: leave cameras alone."""
    device = read_device()
    yield from _system(device)
    broken = False
    for module in MODULES:
        finding = _import(module)
        broken |= finding.status == "fail"
        yield finding
    if not broken:
        yield _model(model)
    yield _gallery(gallery)
    yield from _resources(gallery)
    yield from _climate(device)
    if camera is not None and not broken:
        yield _camera(camera)


def _system(device: Device) -> Iterator[Finding]:
    version = f"Python {device.python}"
    good = sys.version_info >= (3, 11)
    yield Finding("python", "ok" if good else "fail", version, "" if good else "use 3.11 to 3.13")
    known = device.machine in ("x86_64", "aarch64") and sys.maxsize > 2**32
    name = device.model or device.cpu or "unnamed machine"
    yield Finding(
        "machine",
        "ok" if known else "fail",
        f"{name}, {device.machine}, {device.cores} cores"
        + (", EMULATED: times mean nothing" if device.emulated else ""),
        "" if known else "install a 64-bit system: there are no 32-bit builds of the engine",
    )
    library, release = platform.libc_ver()
    old = library == "glibc" and tuple(map(int, release.split(".")[:2])) < (2, 28)
    yield Finding(
        "libc",
        "fail" if old else "ok" if library == "glibc" else "warn",
        f"{library or 'not glibc'} {release}".strip(),
        "the wheels need glibc 2.28 or newer" if old or library != "glibc" else "",
    )


def _import(module: str) -> Finding:
    """In a process of its own: an illegal instruction in a wheel is reported, not suffered."""
    probe = f"import {module}; print({module}.__version__)"
    try:
        done = subprocess.run(
            [sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=False
        )
    except subprocess.TimeoutExpired:
        return Finding(module, "fail", "its import hangs", f"reinstall it: pip install {module}")
    if done.returncode == 0:
        return Finding(module, "ok", done.stdout.strip())
    if done.returncode == -4:
        return Finding(
            module,
            "fail",
            "dies of an illegal instruction: this build is for a newer CPU",
            "install another version of it",
        )
    last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return Finding(module, "fail", last, "install edge-runtime again: pip install edge-runtime")


def _model(model: str | None) -> Finding:
    import numpy as np

    from edge_runtime.engine import open_engine
    from edge_runtime.pipeline import code_of

    try:
        engine = open_engine(model)
        code_of(engine, np.zeros((480, 640, 3), dtype=np.uint8))
    except EdgeRuntimeError as error:
        return Finding("model", "fail", error.what, error.remedy)
    info = engine.model
    return Finding(
        "model",
        "ok",
        f"{info.name} {info.version}, {info.bits} bits, {info.id[:12]}, engine {engine.name} "
        f"({engine.reason})",
    )


def _gallery(path: Path) -> Finding:
    from edge_runtime.gallery import Gallery

    try:
        with Gallery(path, read_only=True) as gallery:
            stats = gallery.stats()
    except GalleryNotFoundError as error:
        return Finding("gallery", "warn", f"{path}: {error.what}", error.remedy)
    except EdgeRuntimeError as error:
        return Finding("gallery", "fail", f"{path}: {error.what}", error.remedy)
    return Finding("gallery", "ok", f"{path}: {stats.items} items, {stats.labels} labels")


def _resources(gallery: Path) -> Iterator[Finding]:
    folder = gallery.absolute().parent
    while not folder.exists():
        folder = folder.parent
    writable = os.access(folder, os.W_OK)
    free = shutil.disk_usage(folder).free
    status = "fail" if not writable else "ok" if free >= DISK_FLOOR_BYTES else "warn"
    yield Finding(
        "disk",
        status,
        f"{folder}: {free / 1e9:.1f} GB free" + ("" if writable else ", not writable"),
        {"fail": "choose another --gallery", "warn": "free some space"}.get(status, ""),
    )
    available = int(psutil.virtual_memory().available)
    enough = available >= MEMORY_FLOOR_BYTES
    yield Finding(
        "memory",
        "ok" if enough else "warn",
        f"{available / 1e6:.0f} MB available",
        "" if enough else "close other programs",
    )


def _climate(device: Device) -> Iterator[Finding]:
    if device.governor is not None:
        steady = device.governor == "performance"
        yield Finding(
            "governor",
            "ok" if steady else "warn",
            device.governor,
            ""
            if steady
            else "for steady latency: echo performance | sudo tee "
            "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
        )
    if device.temperature_c is not None:
        hot = device.temperature_c >= HOT_C
        yield Finding(
            "temperature",
            "warn" if hot else "ok",
            f"{device.temperature_c:.0f} C",
            "add a heat sink or a fan" if hot else "",
        )
    if device.throttling is not None:
        yield Finding(
            "throttling",
            "warn" if device.throttling else "ok",
            ", ".join(device.throttling) or "none since boot",
            "use the board's own power supply, and cool it" if device.throttling else "",
        )


def _camera(source: str) -> Finding:
    """A camera that opens proves nothing: it has to give a picture."""
    from edge_runtime.camera import open_camera

    try:
        with open_camera(source) as camera:
            frame = camera.read()
    except EdgeRuntimeError as error:
        return Finding("camera", "fail", f"{error.where}: {error.what}", error.remedy)
    if frame is None:
        return Finding("camera", "fail", f"{source}: it has no picture", "choose another")
    height, width = frame.image.shape[:2]
    return Finding("camera", "ok", f"{source}: {width} x {height}")
