"""Check whether this machine can run edge-runtime; every finding comes with a remedy."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.doctor.environment import (
    Finding,
    cameras,
    clock,
    memory_limit,
    signatures,
    thermal,
)
from edge_runtime.errors import EdgeRuntimeError, GalleryNotFoundError, TrustError
from edge_runtime.settings import read_secret
from edge_runtime.system.device import Device, read_device
from edge_runtime.system.memory import available_bytes

MODULES = ("numpy", "cv2", "onnxruntime", "psutil")
DISK_FLOOR_BYTES = 100_000_000
FRAMES = 5
"""Number of frames read from the camera."""
MEMORY_FLOOR_BYTES = 200_000_000


@dataclass(frozen=True)
class Subject:
    """What to check."""

    gallery: Path | None = None
    """None: the one that other commands would use."""
    model: str | None = None
    """None: the model that other commands would use."""
    camera: str | None = None
    """None: open no camera."""
    extras: tuple[str, ...] = ()
    """Further modules that the configuration needs."""
    password_file: str = ""
    """A file with the password of the camera; empty if it needs none."""


def examine(subject: Subject) -> Iterator[Finding]:
    """Yield one finding per check."""
    device = read_device()
    yield from _system(device)
    broken = False
    for module in (*MODULES, *subject.extras):
        finding = probe_import(module)
        broken |= finding.status == "fail" and module in MODULES
        yield finding
    if not broken:
        yield from _model(subject.model)
    path, finding = _gallery(subject.gallery)
    yield finding
    yield from _resources(path or Path())
    yield from memory_limit()
    yield from thermal(device)
    yield clock()
    yield from cameras()
    if subject.camera is not None and not broken:
        yield _camera(subject.camera, subject.password_file)


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
        + (", EMULATED: times are meaningless" if device.emulated else ""),
        "" if known else "install a 64-bit system: the engine has no 32-bit builds",
    )
    library, release = platform.libc_ver()
    old = library == "glibc" and tuple(map(int, release.split(".")[:2])) < (2, 28)
    yield Finding(
        "libc",
        "fail" if old else "ok" if library == "glibc" else "warn",
        f"{library or 'not glibc'} {release}".strip(),
        "use a system with glibc 2.28 or newer, as the wheels require"
        if old or library != "glibc"
        else "",
    )


def probe_import(module: str) -> Finding:
    """Import `module` in its own process: an illegal instruction must not end this one."""
    probe = f"import {module} as module; print(getattr(module, '__version__', 'installed'))"
    try:
        done = subprocess.run(
            [sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=False
        )
    except subprocess.TimeoutExpired:
        return Finding(module, "fail", "the import hangs", f"reinstall it: pip install {module}")
    if done.returncode == 0:
        return Finding(module, "ok", done.stdout.strip())
    if done.returncode == -4:
        return Finding(
            module,
            "fail",
            "crashes with an illegal instruction: this build is for a newer CPU",
            "install another version",
        )
    last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return Finding(module, "fail", last, "install edge-runtime again: pip install edge-runtime")


def _model(model: str | None) -> Iterator[Finding]:
    """Hash one picture, after a check of the bundle against this CPU.

    The bundle is checked before its library is loaded, so that no illegal instruction can occur.
    """
    import numpy as np

    from edge_runtime.bundle import is_bundle, open_bundle
    from edge_runtime.engine import open_engine
    from edge_runtime.model import find_model
    from edge_runtime.recognition.pipeline import code_of

    yield signatures()
    try:
        path = find_model(model)
        if is_bundle(path):
            yield _bundle(lambda: open_bundle(path).target)
        engine = open_engine(model)
        code_of(engine, np.zeros((480, 640, 3), dtype=np.uint8))
    except EdgeRuntimeError as error:
        yield Finding("model", "fail", error.what, error.remedy)
        return
    info = engine.model
    yield Finding(
        "model",
        "ok",
        f"{info.name} {info.version}, {info.bits} bits, {info.id[:12]}, engine {engine.name} "
        f"({engine.reason})",
    )


def _bundle(check: Callable[[], str]) -> Finding:
    try:
        return Finding("bundle", "ok", f"compiled for {check()}, complete, and fits this CPU")
    except TrustError as error:
        return Finding("bundle", "fail", error.what, error.remedy)
    except EdgeRuntimeError as error:
        remedy = error.remedy or "compile a bundle for this board: make compile TARGET=..."
        return Finding("bundle", "warn", f"{error.what}; falling back to ONNX Runtime", remedy)


def _gallery(path: Path | None) -> tuple[Path | None, Finding]:
    """Return the path of the gallery, None if there is none, and the finding."""
    from edge_runtime.gallery import Gallery, default_path

    try:
        path = path or default_path()
        with Gallery(path, read_only=True) as gallery:
            stats = gallery.stats()
    except EdgeRuntimeError as error:
        status = "warn" if isinstance(error, GalleryNotFoundError) else "fail"
        where = f"{path}: " if path else ""
        return path, Finding("gallery", status, f"{where}{error.what}", error.remedy)
    return path, Finding("gallery", "ok", f"{path}: {stats.codes} codes, {stats.labels} labels")


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
    available = available_bytes()
    enough = available >= MEMORY_FLOOR_BYTES
    yield Finding(
        "memory",
        "ok" if enough else "warn",
        f"{available / 1e6:.0f} MB available",
        "" if enough else "close other programs",
    )


def _camera(source: str, password_file: str) -> Finding:
    """Read frames: a camera that merely opens may still deliver none."""
    from edge_runtime.camera import CameraOptions, Capture, parse_source

    try:
        password = read_secret(password_file) if password_file else ""
        with Capture(parse_source(source, CameraOptions(password=password))) as camera:
            frames = [frame for frame, _ in zip(camera, range(FRAMES), strict=False)]
            name = camera.source.name
    except EdgeRuntimeError as error:
        return Finding("camera", "fail", f"{error.where}: {error.what}", error.remedy)
    height, width = frames[-1].image.shape[:2]
    seconds = frames[-1].captured_at_s - frames[0].captured_at_s
    rate = f", {(len(frames) - 1) / seconds:.0f} per second" if seconds > 0 else ""
    return Finding("camera", "ok", f"{name}: {len(frames)} frames of {width} x {height}{rate}")
