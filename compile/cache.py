"""A disk cache, `build/cache`, for deterministic results that are slow to compute.

A file's name is the digest of everything its content depends on. Most digests include the
compiler's own sources and TVM's version, so a change to either invalidates them. Deleting the
folder costs only time.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from compile.target.toolchain import FFI, TVM
from edge_runtime.errors import storage_error
from edge_runtime.system.durable import make_folder, write_file

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "cache"
SOURCES = ("compile", "edge_runtime")


def digest(*parts: object, compiler: bool = True) -> str:
    """Return the SHA-256 of `parts`, in hexadecimal.

    Arrays and files count by their bytes, anything else by its `repr`. Pass `compiler=False` if the
    parts determine the result on their own, whatever compiler made them (a finished library).
    """
    whole = hashlib.sha256(_compiler() if compiler else b"")
    for part in parts:
        if isinstance(part, np.ndarray):
            content = repr((part.shape, part.dtype.str)).encode() + part.tobytes()
        elif isinstance(part, Path):
            content = part.read_bytes()
        else:
            content = repr(part).encode()
        whole.update(len(content).to_bytes(8, "little") + content)
    return whole.hexdigest()


@functools.cache
def _compiler() -> bytes:
    whole = hashlib.sha256(f"{TVM} {FFI} {np.__version__}".encode())
    for folder in SOURCES:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".c", ".h") and "tests" not in path.parts:
                whole.update(path.read_bytes())
    return whole.digest()


def has_json(key: str) -> bool:
    """Whether `cached_json` has a stored result for `key`."""
    return (FOLDER / f"{key}.json").exists()


def cached_json(key: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the JSON object stored under `key`; without one, compute and store it."""
    path = FOLDER / f"{key}.json"
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        result = compute()
        write_bytes(path, json.dumps(result).encode())
    return result


def write_bytes(path: Path, content: bytes) -> None:
    """Write the file `path` durably in one step, whatever another compile writes there."""
    make_folder(path.parent)
    write_file(path, content)


def write_text(path: Path, text: str) -> None:
    """Write the file `path` durably in one step; raises `StorageError`."""
    try:
        write_bytes(path, text.encode())
    except OSError as error:
        raise storage_error(error, path) or error from error
