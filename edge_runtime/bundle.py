"""Bundles: a compiled model for one kind of device, made by `make compile`.

A bundle is a folder with `manifest.json` and the files that it lists:

    libedge.so      the compiled network, for exactly one kind of CPU; missing where the network
                    could not be compiled (precision "portable")
    model.onnx      the same network for the portable engine: fallback and reference
    prior.npz       the feature prior of the model (edge_runtime.model.find_prior), if it has one
    evidence.json   evidence that it is equal and faster, and how it was made
    manifest.json.sig   the owner's signature of the manifest, if it is signed (docs/SIGNING.md)

The manifest:

    format     1
    model      id, name, version, bits, threshold, bit_order, radius, input, features,
               same_codes_as (edge_runtime.model); the last two may be missing
    target     name, board, triple, cpu, features (required CPU features)
    precision  fp32, fp16, int8, or portable
    budgets    limits from the device's description
    files      name -> sha256, bytes
    tools      name -> version
    verified   whether the compiler verified it; true if missing

`open_bundle` checks everything before the library is loaded. An illegal instruction cannot be
caught, so a missing CPU feature must be detected in advance.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Thread
from typing import Any

from edge_runtime.code import BIT_ORDER
from edge_runtime.errors import (
    BundleInvalidError,
    BundleMismatchError,
    BundleUnverifiedError,
    ModelError,
    ModelInvalidError,
)
from edge_runtime.model import FORMAT as MODEL_FORMAT
from edge_runtime.model import ModelInfo, parse_metadata
from edge_runtime.system.cpu import cpu_features
from edge_runtime.system.files import open_regular
from edge_runtime.trust.files import checked_file
from edge_runtime.trust.manifest import (
    FORMAT,
    MANIFEST,
    MANIFEST_SIGNATURE,
    read_manifest,
    read_trusted_manifest,
)
from edge_runtime.trust.store import installed_keys

LIBRARY = "libedge.so"
MODEL = "model.onnx"
MOST_FILES = 64
"""As many as a roll-out accepts."""
EVIDENCE = "evidence.json"
ALLOW_UNVERIFIED = "EDGE_RUNTIME_ALLOW_UNVERIFIED"
"""Environment variable; the value 1 allows bundles that the compiler could not verify."""


@dataclass(frozen=True)
class Bundle:
    """A bundle that was checked and matches this machine."""

    path: Path
    model: ModelInfo
    target: str
    precision: str
    budgets: dict[str, float]

    library: Path | None
    """Path of the compiled network; None if the bundle has none."""


def is_bundle(path: Path) -> bool:
    """Return whether the folder `path` is a bundle, valid or not."""
    return path.is_dir() and (path / MANIFEST).is_file()


def is_verified(path: Path) -> bool:
    """Return whether the bundle `path` has a readable manifest that does not mark it unverified."""
    try:
        return read_manifest(path).get("verified", True) is True
    except ModelError:
        return False


def require_verified(path: Path) -> None:
    """Raise `BundleUnverifiedError` if the bundle `path` is unverified, even if that is allowed."""
    if not is_verified(path):
        raise BundleUnverifiedError(
            "not verified, so it is not used on a board",
            where=path,
            remedy="apt install qemu-user and compile again",
        )


def open_bundle(path: Path, *, features: frozenset[str] | None = None) -> Bundle:
    """Check and open the bundle in the folder `path` for a CPU with `features` (default: this CPU).

    Raises `ModelNotFoundError` if the folder does not exist, `BundleInvalidError` if the bundle is
    damaged, incomplete or in a newer format, `BundleMismatchError` if it is for another CPU, and
    `BundleUnverifiedError` if the compiler could not verify it. EDGE_RUNTIME_ALLOW_UNVERIFIED=1
    opens it nevertheless. Raises `TrustError` if keys are installed and none of them signed it.
    """
    manifest = read_trusted_manifest(path)
    bundle = _parse(manifest, path)
    _check_verified(manifest, path)
    _check_cpu(manifest["target"], path, cpu_features() if features is None else features)
    if bundle.library and installed_keys():  # its private copy is checked, and loaded later
        checked_file(bundle.library)
        files = {name: entry for name, entry in manifest["files"].items() if name != LIBRARY}
        manifest = {**manifest, "files": files}
    verify_files(path, manifest)
    return bundle


def verify_files(path: Path, manifest: dict[str, Any]) -> None:
    """Check every file that `manifest` lists, in parallel; raises `BundleInvalidError`."""
    files = manifest["files"]
    for name in files:
        if Path(name).name != name:
            raise BundleInvalidError(
                f'file name must not contain a path: "{name}"', where=path / MANIFEST
            )
    if len(files) > MOST_FILES:
        raise BundleInvalidError(f"it lists {len(files)} files", where=path / MANIFEST)
    faults: dict[str, BundleInvalidError] = {}

    def check(name: str) -> None:
        try:
            _check_file(path / name, files[name])
        except BundleInvalidError as error:
            faults[name] = error

    # Most of the time to the first code is spent here. Computing a digest releases the GIL.
    threads = [Thread(target=check, args=(name,)) for name in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in files:
        if name in faults:
            raise faults[name]


def portable_model(path: Path) -> Path | None:
    """Return the ONNX file of the bundle `path`; None if it is missing or fails its checksum.

    Raises `TrustError` if keys are installed and none of them signed the bundle.
    """
    file = path / MODEL
    if installed_keys():
        try:
            checked_file(file)
        except BundleInvalidError:
            return None
        return file
    try:
        entry = read_manifest(path)["files"][MODEL]
    except (BundleInvalidError, KeyError, TypeError):  # no checksum to compare with
        return file if file.is_file() else None
    try:
        _check_file(file, entry)
    except BundleInvalidError:
        return None
    return file


def bundle_budgets(path: Path) -> tuple[str, dict[str, Any]]:
    """Return the target name and the budgets of the bundle `path` without checking its files.

    Returns an empty name and no budgets if the manifest cannot be read.
    """
    try:
        manifest = read_manifest(path)
        return str(manifest["target"]["name"]), dict(manifest["budgets"])
    except (BundleInvalidError, KeyError, TypeError, ValueError):
        return "", {}


def multiply_adds(path: Path) -> list[int] | None:
    """Return the multiply-adds of each step from the bundle's evidence; None if it lists none."""
    try:
        evidence = json.loads((path / EVIDENCE).read_bytes())
        return [int(step["multiply_adds"]) for step in evidence["steps"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_manifest(
    path: Path,
    model: ModelInfo,
    *,
    target: Mapping[str, object],
    precision: str,
    budgets: Mapping[str, float],
    tools: Mapping[str, str],
    verified: bool = True,
) -> None:
    """Write the manifest of the files in the folder `path`; call this last."""
    fields = asdict(model)
    del fields["path"], fields["size_bytes"]
    manifest = {
        "format": FORMAT,
        "model": {**fields, "bit_order": BIT_ORDER},
        "target": dict(target),
        "precision": precision,
        "budgets": dict(budgets),
        "files": {
            file.name: {"sha256": _sha256(file), "bytes": file.stat().st_size}
            for file in sorted(path.iterdir())
            if file.name not in (MANIFEST, MANIFEST_SIGNATURE)
        },
        "tools": dict(tools),
        "verified": verified,
    }
    (path / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def _parse(manifest: dict[str, Any], path: Path) -> Bundle:
    try:
        fields, files = dict(manifest["model"]), manifest["files"]
        metadata = {
            "edge.format": MODEL_FORMAT,
            "edge.input": json.dumps(fields["input"]),
            "edge.features": str(fields.get("features", 0)),
            "edge.same_codes_as": ",".join(fields.get("same_codes_as", ())),
            **{
                f"edge.{key}": str(fields[key])
                for key in ("name", "version", "bits", "threshold", "bit_order", "radius")
            },
        }
        model = parse_metadata(
            metadata,
            path=path,
            model_id=str(fields["id"]),
            size_bytes=int((files.get(LIBRARY) or files[MODEL])["bytes"]),
        )
        return Bundle(
            path=path,
            model=model,
            target=str(manifest["target"]["name"]),
            precision=str(manifest["precision"]),
            budgets={str(name): float(value) for name, value in manifest["budgets"].items()},
            library=path / LIBRARY if LIBRARY in files else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError, ModelInvalidError) as error:
        raise BundleInvalidError(
            f"malformed manifest: {error}",
            where=path / MANIFEST,
            remedy="copy the bundle again",
        ) from error


def _check_verified(manifest: dict[str, Any], path: Path) -> None:
    if manifest.get("verified", True) is True or os.environ.get(ALLOW_UNVERIFIED) == "1":
        return
    raise BundleUnverifiedError(
        "not verified: its codes were not compared with those of ONNX Runtime",
        where=path,
        remedy=f"apt install qemu-user and compile again, or set {ALLOW_UNVERIFIED}=1",
    )


def _check_cpu(target: dict[str, Any], path: Path, features: frozenset[str]) -> None:
    machine = platform.machine()
    triple, needed = str(target.get("triple")), target.get("features")
    if not isinstance(needed, list):
        raise BundleInvalidError(
            "malformed manifest: it does not list the required CPU features",
            where=path / MANIFEST,
            remedy="copy the bundle again",
        )
    if triple.split("-")[0] != machine:
        raise BundleMismatchError(
            f"compiled for {triple}, but this machine is {machine}",
            where=path,
            remedy="compile for this machine: make compile TARGET=host",
        )
    missing = sorted(set(needed) - features)
    if missing:
        raise BundleMismatchError(
            f"compiled for {target.get('cpu')}, but this CPU lacks {', '.join(missing)}",
            where=path,
            remedy=f"use a bundle for this board instead of {target.get('name')}",
        )


def _check_file(file: Path, entry: dict[str, Any]) -> None:
    try:
        intact = file.stat().st_size == entry["bytes"] and _sha256(file) == entry["sha256"]
    except FileNotFoundError as error:
        raise BundleInvalidError(
            "missing from the bundle", where=file, remedy="copy the bundle again"
        ) from error
    except (KeyError, TypeError, ValueError, OSError) as error:  # ValueError: NUL in a name
        raise BundleInvalidError(
            f"cannot be checked: {getattr(error, 'strerror', None) or error}", where=file
        ) from error
    if not intact:
        raise BundleInvalidError(
            "damaged: its size or checksum does not match the manifest",
            where=file,
            remedy="copy the bundle again",
        )


def _sha256(file: Path) -> str:
    digest, buffer = hashlib.sha256(), memoryview(bytearray(1 << 20))
    with open_regular(file) as handle:
        while length := handle.readinto(buffer):
            digest.update(buffer[:length])
    return digest.hexdigest()
