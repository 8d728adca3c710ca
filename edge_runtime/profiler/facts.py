"""What a report says of the program, the machine, the engine, the model and the pictures."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edge_runtime import __version__
from edge_runtime.engine import Engine
from edge_runtime.gallery import Gallery
from edge_runtime.report.schema import DeviceInfo, EngineInfo, GalleryFacts, ModelFacts, Program
from edge_runtime.system.cpu import cpu_features
from edge_runtime.system.device import clock_mhz, read_device

PACKAGES = ("numpy", "opencv-python-headless", "opencv-python", "onnxruntime", "psutil")
TELLING = ("asimd", "asimddp", "asimdhp", "fphp", "i8mm", "sve", "bf16", "sse4_2", "avx", "avx2",
           "fma", "f16c", "avx512f", "avx512_vnni", "amx_int8")  # fmt: skip
"""Features of a processor that a network's speed depends on."""


def program() -> Program:
    """This program, and the checkout that it runs from, if it does."""
    root = Path(__file__).resolve().parents[2]
    commit = _git(root, "rev-parse", "HEAD") if (root / ".git").exists() else None
    modified = _git(root, "status", "--porcelain", "--untracked-files=no") if commit else None
    return Program(
        name="edge-runtime",
        release=__version__,
        commit=commit,
        modified=None if modified is None else bool(modified),
        arguments=[Path(sys.argv[0]).name, *sys.argv[1:]],
    )


def _git(root: Path, *arguments: str) -> str | None:
    try:
        return subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True, text=True, check=True, timeout=10,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None


def device() -> DeviceInfo:
    """The machine."""
    read, features = read_device(), cpu_features()
    return DeviceInfo(
        model=read.model,
        soc=read.soc,
        machine=read.machine,
        cpu=read.cpu,
        features=[name for name in TELLING if name in features],
        core_count=len(os.sched_getaffinity(0)),
        memory_bytes=read.memory_bytes,
        system=read.system,
        python=read.python,
        packages=dict(_versions()),
        governor=read.governor,
        clock_limit_mhz=clock_mhz()[1],
        emulated=read.emulated,
    )


def _versions() -> list[tuple[str, str]]:
    found = []
    for name in PACKAGES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return found


def engine_info(engine: Engine) -> EngineInfo:
    """The engine, and the bundle that it runs."""
    return EngineInfo(
        name=engine.name,
        reason=engine.reason,
        thread_count=engine.threads,
        target=engine.target,
        precision=engine.precision,
    )


def model_facts(engine: Engine) -> ModelFacts:
    """The network."""
    model = engine.model
    return ModelFacts(
        id=model.id,
        name=model.name,
        release=model.version,
        code_bits=model.bits,
        input_pixels=model.input.size,
        file_bytes=model.size_bytes,
    )


def gallery_facts(gallery: Gallery) -> GalleryFacts:
    """How much is enrolled."""
    stats = gallery.stats()
    return GalleryFacts(item_count=stats.codes, label_count=stats.labels)
