"""What takes long to compute and is the same every time, kept in build/kept.

A file's name is the digest of all that its content follows from, mostly the compiler's own sources
and TVM's version among it. Whatever changes, it is computed anew; deleting the folder costs time
alone.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from compile.frontend.ir import Network, Quantised
from compile.quantization.calibrate import padded
from compile.target.toolchain import FFI, TVM

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "kept"
SOURCES = ("compile", "edge_runtime")
Arrays = dict[str, np.ndarray[Any, Any]]


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


def parts_of(network: Network) -> Iterator[object]:
    """All that a network computes with, for its digest."""
    for layer in network.layers:
        yield from (layer.weight, layer.bias, layer.pads, layer.stride, layer.limit, layer.span)
        yield from (layer.kind, layer.source, layer.residual)
        if layer.quantised:
            yield from (getattr(layer.quantised, field.name) for field in fields(Quantised))
    yield from (
        network.hash_weight,
        network.hash_bias,
        network.tint,
        network.model.input,
        network.model.id,
    )


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
        _write(path, json.dumps(found).encode())
    return found


def integers(key: str, network: Network, compute: Callable[[], Network]) -> Network:
    """What `compute` makes of `network`: the same in integers."""
    path = FOLDER / f"{key}.npz"
    try:
        with np.load(path) as file:
            return _read(padded(network), dict(file))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        made = compute()
    content = io.BytesIO()
    np.savez(content, **_arrays(made))
    _write(path, content.getvalue())
    return made


def _arrays(network: Network) -> Arrays:
    return {
        f"{index}.{field.name}": np.asarray(getattr(layer.quantised, field.name))
        for index, layer in enumerate(network.layers)
        for field in fields(Quantised)
    }


def _read(network: Network, arrays: Arrays) -> Network:
    for index, layer in enumerate(network.layers):
        values = {field.name: arrays[f"{index}.{field.name}"] for field in fields(Quantised)}
        plain = {name: value if value.ndim else value.item() for name, value in values.items()}
        layer.quantised = Quantised(**plain)
    return network


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, also where two compiles do so at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)
