"""What takes long to compute and is the same every time, kept in build/kept.

A file's name is the digest of all that its content follows from, mostly the compiler's own sources
and TVM's version among it. Whatever changes, it is computed anew; deleting the folder costs time
alone.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from compile.target.toolchain import FFI, TVM
from edge_runtime.errors import storage_error

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "kept"
SOURCES = ("compile", "edge_runtime")


def digest(*parts: object, compiler: bool = True) -> str:
    """Of the compiler and `parts`: arrays by their bytes, files by theirs, others as they print.

    Without the `compiler` where the parts say all: a library, for one, whoever made it.
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


def has(key: str) -> bool:
    """Whether `facts` has it already."""
    return (FOLDER / f"{key}.json").exists()


def facts(key: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `compute` gives, as JSON keeps it."""
    path = FOLDER / f"{key}.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = compute()
        write_bytes(path, json.dumps(found).encode())
    return found


def write_bytes(path: Path, content: bytes) -> None:
    """Whole or not at all, also where two compiles do so at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)


def write_whole(path: Path, text: str) -> None:
    """Put `text` into the file `path`, whole or not at all; raises `StorageError`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".new")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise storage_error(error, path) or error from error
