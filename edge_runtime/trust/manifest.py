"""Reads the manifest of a bundle (edge_runtime.bundle), with or without its signature."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge_runtime.errors import BundleInvalidError, ModelNotFoundError, SignatureError
from edge_runtime.system.files import describe_pointer, open_regular
from edge_runtime.trust.signature import BUNDLE, MAX_SIGNATURE_BYTES, SUFFIX, verify
from edge_runtime.trust.store import Key, TrustStore, installed_keys

FORMAT = 1
MANIFEST = "manifest.json"
MANIFEST_SIGNATURE = MANIFEST + SUFFIX
MAX_BYTES = 1 << 20


def read_manifest(path: Path) -> dict[str, Any]:
    """Read the manifest of the bundle `path`; check its format, but not its signature or files.

    Raises `ModelNotFoundError` or `BundleInvalidError`.
    """
    return _parse(_content(path), path / MANIFEST)


def read_trusted_manifest(path: Path) -> dict[str, Any]:
    """Read the manifest of the bundle `path`; check its signature if keys are installed.

    Raises `TrustError` if the signature is missing or not valid, and what `read_manifest` raises.
    """
    store = installed_keys()
    if store is None:
        return read_manifest(path)
    content = _content(path)
    _verify(content, path, store)
    return _parse(content, path / MANIFEST)


def verify_manifest(path: Path, store: TrustStore) -> tuple[Key, dict[str, Any]]:
    """Return the key that signed the bundle `path`, and its manifest; raises `TrustError`."""
    content = _content(path)
    return _verify(content, path, store), _parse(content, path / MANIFEST)


def read_signature(path: Path) -> bytes:
    """Return the signature of the file `path`, which lies beside it; raises `SignatureError`."""
    file = path.with_name(path.name + SUFFIX)
    try:
        with open_regular(file) as opened:
            content = opened.read(MAX_SIGNATURE_BYTES + 1)
    except FileNotFoundError as error:
        raise SignatureError(
            "not signed, and this machine accepts only signed models",
            where=path,
            remedy="on the workstation: make sign BUNDLE=folder (or MODEL=file)",
        ) from error
    except OSError as error:
        raise SignatureError(f"cannot be read: {error.strerror}", where=file) from error
    if len(content) > MAX_SIGNATURE_BYTES:
        raise SignatureError("too large to be a signature", where=file)
    return content


def _verify(content: bytes, path: Path, store: TrustStore) -> Key:
    return verify(content, read_signature(path / MANIFEST), store, kind=BUNDLE, where=path)


def _content(path: Path) -> bytes:
    file = path / MANIFEST
    try:
        with open_regular(file) as opened:
            content = opened.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise ModelNotFoundError(
            "bundle not found", where=path, remedy="compile one: make compile TARGET=rpi4"
        ) from error
    except OSError as error:
        raise _unreadable(file, error.strerror or str(error)) from error
    if len(content) > MAX_BYTES:
        raise _unreadable(file, f"larger than {MAX_BYTES} bytes")
    return content


def _parse(content: bytes, file: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(content)
    except (ValueError, RecursionError) as error:
        if pointer := describe_pointer(content[:512]):
            what, remedy = pointer
            raise BundleInvalidError(f"this is {what}", where=file, remedy=remedy) from error
        raise _unreadable(file, str(error)) from error
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != FORMAT:
        raise BundleInvalidError(
            f"unsupported bundle format {found}, expected {FORMAT}",
            where=file,
            remedy="update edge-runtime, or compile the bundle again",
        )
    return dict(manifest)


def _unreadable(file: Path, why: str) -> BundleInvalidError:
    return BundleInvalidError(
        f"cannot read the manifest: {why}", where=file, remedy="copy the bundle again"
    )
