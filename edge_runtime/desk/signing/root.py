"""The root of a fleet's trust: which keys sign what. Two of three offline keys sign it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root

from edge_runtime.desk import signed
from edge_runtime.desk.repository import Repository
from edge_runtime.desk.signed import SIGNED_AT, Lifetimes
from edge_runtime.desk.signing.keys import (
    ROOT_THRESHOLD,
    Passphrase,
    find_key_files,
    key_id,
    new_key,
    read_key,
    write_key,
    write_online_keys,
)
from edge_runtime.errors import TrustStoreError


def first_root(
    root_keys: Sequence[CryptoSigner],
    online: Mapping[str, CryptoSigner],
    lifetimes: Lifetimes,
    at: datetime | None = None,
) -> Metadata[Root]:
    """Return the first root, signed by all of `root_keys`."""
    root = Root(version=1, consistent_snapshot=True)
    for key in root_keys:
        root.add_key(key.public_key, "root")
    root.roles["root"].threshold = ROOT_THRESHOLD
    for role, key in online.items():
        root.add_key(key.public_key, role)
    return _signed(root, root_keys, lifetimes, at or signed.now())


def read_root_keys(
    places: Sequence[Path], root: Root, passphrase: Passphrase
) -> list[CryptoSigner]:
    """Return the root keys in `places`, files or folders, that `root` names.

    Raises `TrustStoreError` if they are fewer than must sign.
    """
    files = find_key_files(places)
    found = {key_id(key): key for key in (read_key(path, passphrase) for path in files)}
    keys = [found[identity] for identity in root.roles["root"].keyids if identity in found]
    if len(keys) < ROOT_THRESHOLD:
        raise TrustStoreError(
            f"{ROOT_THRESHOLD} root keys of this fleet must sign, and {len(keys)} of the "
            f"{len(files)} keys found are such keys",
            where=", ".join(map(str, places)),
            remedy="name the folders or files of the root keys with --root-keys",
        )
    return keys


def rotate(
    repository: Repository,
    root_keys: Sequence[CryptoSigner],
    *,
    online: bool = True,
    replacement: Path | None = None,
    passphrase: bytes = b"",
) -> Metadata[Root]:
    """Sign a new root with `root_keys`, and everything else with the keys that it names.

    With `online`, the online keys are replaced. `replacement` is a new file for a new root key that
    replaces the one that is not among `root_keys`. Raises `TrustStoreError` or `StorageError`;
    after a kill at any moment, the old or the new keys are valid.
    """
    root = copy.deepcopy(repository.root.signed)
    signers = list(root_keys)
    if replacement is not None:
        signers.append(_replace_lost(root, signers, replacement, passphrase))
    if online:
        for role, key in write_online_keys(repository.keys).items():
            for old in list(root.roles[role].keyids):
                root.revoke_key(old, role)
            root.add_key(key.public_key, role)
    else:
        repository.check_online_keys()
    root.version += 1
    new = _signed(root, signers, repository.lifetimes, repository.now())
    repository.replace_root(new)
    return new


def _replace_lost(
    root: Root, present: Sequence[CryptoSigner], file: Path, passphrase: bytes
) -> CryptoSigner:
    """Replace the one root key that is not `present` by a new one in `file`."""
    ids = {key_id(key) for key in present}
    lost = [identity for identity in root.roles["root"].keyids if identity not in ids]
    if len(lost) != 1:
        raise TrustStoreError(
            f"{len(ids)} root keys are present, so none is lost",
            where=file,
            remedy="name only the two keys that stay with --root-keys",
        )
    key = new_key()
    write_key(file, key, passphrase)
    root.revoke_key(lost[0], "root")
    root.add_key(key.public_key, "root")
    return key


def _signed(
    root: Root, keys: Sequence[CryptoSigner], lifetimes: Lifetimes, at: datetime
) -> Metadata[Root]:
    root.expires = at + lifetimes.of("root")
    root.unrecognized_fields[SIGNED_AT] = f"{at:%Y-%m-%dT%H:%M:%SZ}"
    metadata = Metadata(root)
    for key in keys:
        metadata.sign(key, append=True)
    return metadata
