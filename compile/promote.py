"""Put a finished bundle in its place."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import onnx

from compile.verify.request import Request
from edge_runtime.bundle import LIBRARY, MODEL, is_bundle, is_verified, write_manifest
from edge_runtime.errors import CompileError
from edge_runtime.model import (
    PRIOR_FILE,
    check_model,
    copy_whole_model,
    find_prior,
    parse_metadata,
)
from edge_runtime.system.durable import make_folder, replacing, sync_tree


def check_destination(out: Path) -> None:
    """Raise `CompileError` if `out` is neither a bundle nor empty, since promoting replaces it."""
    if out.exists() and not is_bundle(out) and not (out.is_dir() and not any(out.iterdir())):
        raise CompileError(
            "exists and is not a bundle", where=out, remedy="name another folder with OUT"
        )


def promote(staging: Path, out: Path) -> Path:
    """Replace the folder `out` with `staging`, write its archive beside it, and return `out`.

    All of it is durable at the return.
    """
    sync_tree(staging)
    archive = out.with_name(out.name + ".tar.gz")
    old = out.with_name(out.name + ".old")
    with replacing(archive) as temporary:
        with tarfile.open(temporary, "w:gz", compresslevel=1) as tar:
            tar.add(staging, arcname=out.name)
        shutil.rmtree(old, ignore_errors=True)
        if out.exists():
            out.rename(old)
        staging.rename(out)
    shutil.rmtree(old, ignore_errors=True)
    return out


def promote_unverified(staging: Path, out: Path) -> Path:
    """Put an unverified bundle at `out`, or at OUT.unverified where a verified one would be lost.

    Returns the folder that was written.
    """
    if (out / LIBRARY).exists() and is_verified(out):
        out = out.with_name(out.name + ".unverified")
    return promote(staging, out)


def copy_model(model: Path, folder: Path) -> None:
    """Copy `model` as one ONNX file, and its feature prior, if any, into the bundle `folder`."""
    copy_whole_model(model, folder / MODEL)
    if prior := find_prior(model):
        shutil.copyfile(prior, folder / PRIOR_FILE)


def write_portable_bundle(request: Request) -> Path:
    """Write a bundle without a library, for a network that cannot be compiled.

    A compiled bundle at `request.out` is of another network and stays: the new one goes to
    OUT.portable. Returns the folder that was written.
    """
    model_id, size_bytes = check_model(request.model)
    metadata = {entry.key: entry.value for entry in onnx.load(request.model).metadata_props}
    info = parse_metadata(metadata, path=request.model, model_id=model_id, size_bytes=size_bytes)
    out = request.out
    if (out / LIBRARY).exists():
        out = out.with_name(out.name + ".portable")
    staging = out.with_name(out.name + ".new")
    shutil.rmtree(staging, ignore_errors=True)
    make_folder(staging)
    copy_model(request.model, staging)
    target = request.target
    write_manifest(
        staging,
        info,
        target={"name": target.name, "triple": target.triple, "cpu": target.cpu, "features": []},
        precision="portable",
        budgets=target.budgets,
        tools={},
    )
    return promote(staging, out)
