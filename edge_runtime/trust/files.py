"""Decides whether a file of a model may be used, and from where it is read."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from edge_runtime.errors import BundleInvalidError, ModelNotFoundError, storage_error
from edge_runtime.system.files import open_regular
from edge_runtime.trust.manifest import MANIFEST, read_signature, read_trusted_manifest
from edge_runtime.trust.memory import private_copy
from edge_runtime.trust.signature import MODEL, verify
from edge_runtime.trust.store import Key, TrustStore, installed_keys

PACKAGE = Path(__file__).resolve().parents[1]
INCLUDED = (PACKAGE.parent / "models", PACKAGE / "data")
"""Folders beside the code. Whoever can change them can change the code: they need no signature."""


def checked_file(path: Path) -> Path:
    """Return where to read `path`, a model file, or a file of a bundle or beside a model.

    That is `path` itself if no keys are installed, and its target without links if that came with
    the program. Otherwise it is a private copy of exactly the bytes that were signed. Raises
    `TrustError`, and `BundleInvalidError` if a file of a signed bundle is damaged or not listed.
    """
    store = installed_keys()
    if store is None:
        return path
    target = path.resolve()
    if is_included(target):
        return target  # a link could lead elsewhere after the check
    if (path.parent / MANIFEST).is_file():
        return _listed(path, read_trusted_manifest(path.parent))
    content, _ = signed_content(path, store)
    return _copy(path, hashlib.sha256(content).hexdigest(), len(content))


def is_included(path: Path) -> bool:
    """Return whether `path` came with the program."""
    return path.resolve().parent in INCLUDED


def signed_content(path: Path, store: TrustStore) -> tuple[bytes, Key]:
    """Return the content of the single file `path` and the key that signed it.

    Raises `TrustError`, or `ModelNotFoundError` if the file cannot be read.
    """
    signature = read_signature(path)
    try:
        with open_regular(path) as file:
            content = file.read()
    except OSError as error:
        raise _unreadable(path, error) from error
    return content, verify(content, signature, store, kind=MODEL, where=path)


def _listed(path: Path, manifest: dict[str, Any]) -> Path:
    try:
        entry = manifest["files"][path.name]
        return _copy(path, str(entry["sha256"]), int(entry["bytes"]))
    except (KeyError, TypeError, ValueError) as error:
        raise BundleInvalidError(
            "the signed manifest does not list it", where=path, remedy="copy the bundle again"
        ) from error


def _copy(path: Path, sha256: str, size_bytes: int) -> Path:
    try:
        copy = private_copy(path, sha256, size_bytes)
    except FileNotFoundError as error:
        raise BundleInvalidError(
            "missing from the bundle", where=path, remedy="copy the bundle again"
        ) from error
    except OSError as error:
        raise _unreadable(path, error) from error
    if copy is None:
        raise BundleInvalidError(
            "damaged: its size or checksum does not match what was signed",
            where=path,
            remedy="copy the bundle again",
        )
    return copy


def _unreadable(path: Path, error: OSError) -> ModelNotFoundError:
    fault = storage_error(error, path)
    return ModelNotFoundError(
        fault.what if fault else str(error), where=path, remedy=fault.remedy if fault else ""
    )
