"""Describe the program, machine, engine, model and gallery of a run."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edge_runtime import __version__
from edge_runtime.engine import Engine
from edge_runtime.gallery import Gallery
from edge_runtime.redaction import redact
from edge_runtime.report.setup import DeviceInfo, EngineInfo, GalleryDetails, ModelDetails, Program
from edge_runtime.system.cpu import cpu_features
from edge_runtime.system.device import clock_mhz, read_device

PACKAGES = ("numpy", "opencv-python-headless", "opencv-python", "onnxruntime", "psutil")
RELEVANT_FEATURES = (
    *("asimd", "asimddp", "asimdhp", "fphp", "i8mm", "sve", "bf16"),
    *("sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "amx_int8"),
)
"""CPU features on which the speed of a network depends."""


def program() -> Program:
    """Return the program, with the commit if it runs from a checkout."""
    root = Path(__file__).resolve().parents[2]
    commit = _git(root, "rev-parse", "HEAD") if (root / ".git").exists() else None
    modified = _git(root, "status", "--porcelain", "--untracked-files=no") if commit else None
    return Program(
        name="edge-runtime",
        release=__version__,
        commit=commit,
        modified=None if modified is None else bool(modified),
        arguments=[Path(sys.argv[0]).name, *map(redact, sys.argv[1:])],
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
    """Return the machine."""
    info, features = read_device(), cpu_features()
    return DeviceInfo(
        model=info.model,
        soc=info.soc,
        machine=info.machine,
        cpu=info.cpu,
        features=[name for name in RELEVANT_FEATURES if name in features],
        core_count=len(os.sched_getaffinity(0)),
        memory_bytes=info.memory_bytes,
        system=info.system,
        python=info.python,
        packages=dict(_versions()),
        governor=info.governor,
        clock_limit_mhz=clock_mhz()[1],
        emulated=info.emulated,
    )


def _versions() -> list[tuple[str, str]]:
    versions = []
    for name in PACKAGES:
        try:
            versions.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return versions


def engine_info(engine: Engine) -> EngineInfo:
    """Return the engine, with the target and precision of its bundle."""
    return EngineInfo(
        name=engine.name,
        reason=engine.reason,
        thread_count=engine.threads,
        target=engine.target,
        precision=engine.precision,
    )


def model_details(engine: Engine) -> ModelDetails:
    """Return the model."""
    model = engine.model
    return ModelDetails(
        id=model.id,
        name=model.name,
        release=model.version,
        code_bits=model.bits,
        input_pixels=model.input.size,
        file_bytes=model.size_bytes,
    )


def gallery_details(gallery: Gallery) -> GalleryDetails:
    """Return the size of the gallery."""
    stats = gallery.stats()
    return GalleryDetails(item_count=stats.codes, label_count=stats.labels)
