"""The keys of a fleet: three root keys, of which two sign, and one online key for each role.

Each key is an Ed25519 key in a file of its own (PKCS 8, PEM). The root keys belong on media that
are not connected, each at another place. Whoever has two of them owns the fleet. Whoever has the
online keys can sign versions until the owner replaces them (`edge-runtime desk rotate`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner

from edge_runtime.errors import EdgeRuntimeError, TrustStoreError, storage_error
from edge_runtime.settings.secrets import check_private
from edge_runtime.system.durable import make_folder, sync_folder
from edge_runtime.system.files import open_regular

ROOT_KEYS = 3
ROOT_THRESHOLD = 2
"""Root keys that must sign. One of the three may be lost, or stolen, and nothing is lost."""
ONLINE_ROLES = ("targets", "snapshot", "timestamp")
MOST_KEY_BYTES = 1 << 14

Passphrase = Callable[[Path], bytes]
"""Returns the passphrase of a key file; empty if there is none to ask for."""


def new_key() -> CryptoSigner:
    """Return a new Ed25519 key."""
    return CryptoSigner.generate_ed25519()


def key_id(key: CryptoSigner) -> str:
    """Return the id of a key: a digest of its public part."""
    return str(key.public_key.keyid)


def write_key(path: Path, key: CryptoSigner, passphrase: bytes = b"") -> None:
    """Write `key` to a new file that only its owner can read, durably; raises `StorageError`.

    A file that exists is never replaced.
    """
    private = load_pem_private_key(key.private_bytes, None)
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    text = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text)
                file.flush()
                os.fsync(descriptor)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except FileExistsError as error:
        raise TrustStoreError(
            "exists already, and a key is never replaced",
            where=path,
            remedy="choose another folder",
        ) from error
    except OSError as error:
        raise storage_error(error, path) or error from error


def read_key(path: Path, passphrase: Passphrase = lambda _: b"") -> CryptoSigner:
    """Read a private key; raises `TrustStoreError`.

    `passphrase` is called if the key is encrypted.
    """
    try:
        with open_regular(path) as file:
            text = file.read(MOST_KEY_BYTES)
        check_private(str(path))
    except (OSError, EdgeRuntimeError) as error:
        fault = error if isinstance(error, EdgeRuntimeError) else storage_error(error, path)
        raise TrustStoreError(
            fault.what if fault else str(error),
            where=path,
            remedy=(fault.remedy if fault else "") or "restore the key",
        ) from error
    word = passphrase(path) if b"ENCRYPTED" in text else None
    if word == b"":
        raise TrustStoreError(
            "the key has a passphrase", where=path, remedy="give it with --passphrase-file"
        )
    try:
        private = load_pem_private_key(text, word)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        what = "the passphrase is wrong, or the key is damaged" if word else "not a private key"
        raise TrustStoreError(what, where=path, remedy="check it, or restore the key") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise TrustStoreError("not an Ed25519 key", where=path, remedy="restore the key")
    return CryptoSigner(private)


def root_key_files(folder: Path) -> list[Path]:
    """Return where the root keys are written."""
    return [folder / f"root-{number}.pem" for number in range(1, ROOT_KEYS + 1)]


def write_root_keys(folder: Path, passphrase: bytes = b"") -> list[CryptoSigner]:
    """Make the root keys and write them to `folder`; raises `TrustStoreError` or `StorageError`."""
    try:
        make_folder(folder)
    except OSError as error:
        raise storage_error(error, folder) or error from error
    for path in root_key_files(folder):
        if path.exists():
            raise TrustStoreError(
                "exists already, and a key is never replaced",
                where=path,
                remedy="choose another folder",
            )
    keys = [new_key() for _ in range(ROOT_KEYS)]
    for path, key in zip(root_key_files(folder), keys, strict=True):
        write_key(path, key, passphrase)
    return keys


def find_key_files(places: Iterable[Path]) -> list[Path]:
    """Return the key files in `places`: files, and the .pem files of folders."""
    found: list[Path] = []
    for place in places:
        found += sorted(place.glob("*.pem")) if place.is_dir() else [place]
    return found


def online_key_file(folder: Path, role: str, identity: str) -> Path:
    """Return the file of the online key of `role` with this id.

    The id is part of the name, so that new keys lie beside the old ones until a root names them.
    """
    return folder / f"{role}-{identity[:16]}.pem"


def write_online_keys(folder: Path) -> dict[str, CryptoSigner]:
    """Make one new key for each online role, and write them to `folder`, durably."""
    try:
        make_folder(folder)
        folder.chmod(0o700)
    except OSError as error:
        raise storage_error(error, folder) or error from error
    keys = {role: new_key() for role in ONLINE_ROLES}
    for role, key in keys.items():
        write_key(online_key_file(folder, role, key_id(key)), key)
    return keys


def read_online_keys(folder: Path, ids: Mapping[str, str]) -> dict[str, CryptoSigner]:
    """Read the online keys with these ids, by role; raises `TrustStoreError`."""
    keys = {}
    for role, identity in ids.items():
        path = online_key_file(folder, role, identity)
        if not path.exists():
            raise TrustStoreError(
                f"the online key of {role} is missing",
                where=path,
                remedy="restore it, or make new ones with two root keys: edge-runtime desk rotate",
            )
        keys[role] = read_key(path)
        if key_id(keys[role]) != identity:
            raise TrustStoreError(
                f"not the online key of {role} that the root names",
                where=path,
                remedy="restore it, or make new ones with two root keys: edge-runtime desk rotate",
            )
    return keys


def discard_online_keys(folder: Path, ids: Mapping[str, str]) -> None:
    """Remove all online keys but those with these ids; raises OSError."""
    kept = {online_key_file(folder, role, identity) for role, identity in ids.items()}
    for path in folder.glob("*.pem"):
        if path not in kept:
            path.unlink()
    sync_folder(folder)
