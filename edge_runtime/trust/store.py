"""The installed keys: two files that only root, or the user itself, may change.

    FOLDER/trusted_keys   one key per line: edge-runtime [valid-before="20270101"] ssh-ed25519 AAAA
    FOLDER/revoked_keys   public keys that are refused even if they are trusted; may be missing

This is OpenSSH's own format (ssh-keygen(1), ALLOWED SIGNERS), so deploy/verify.sh uses the same
files. While `trusted_keys` exists, models need a signature, even if the file lists no key.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path
from typing import NamedTuple

from edge_runtime.errors import TrustStoreError

FOLDER = Path("/etc/edge-runtime")
FOLDER_VARIABLE = "EDGE_RUNTIME_TRUST"
"""Environment variable with another folder of keys. `trusted_keys` must exist there."""
TRUSTED, REVOKED = "trusted_keys", "revoked_keys"
PRINCIPAL = "edge-runtime"
MAX_BYTES = 1 << 20
# Compiled at its first use: at import it would take 1 ms of each start.
_LINE = (
    rf"{PRINCIPAL}\s+(?:(?P<options>\S+=\S+)\s+)?"
    r"(?P<kind>ssh-ed25519|sk-ssh-ed25519@openssh\.com)\s+(?P<blob>[A-Za-z0-9+/=]+)(?:\s+(?P<name>.*))?"
)


class Key(NamedTuple):
    """A public key."""

    name: str
    """Its comment, for people; it proves nothing."""
    fingerprint: str
    """As OpenSSH prints it: SHA256:..."""


class TrustStore(NamedTuple):
    """The content of both files, read once."""

    path: Path
    """The file `trusted_keys`."""
    trusted: bytes
    revoked: bytes | None
    keys: tuple[Key, ...]

    @property
    def revoked_keys(self) -> tuple[str, ...]:
        """Return the fingerprints of revoked keys; a binary revocation list shows none."""
        blobs = re.findall(rb"^\s*(?:sk-)?ssh-\S+\s+(\S+)", self.revoked or b"", re.MULTILINE)
        prints = (fingerprint_of(blob.decode("ascii", "replace")) for blob in blobs)
        return tuple(each for each in prints if each)


def installed_keys() -> TrustStore | None:
    """Read the installed keys; None if there is no `trusted_keys`: no signature is required.

    Raises `TrustStoreError` if the files cannot be read, hold something else, or can be changed by
    others.
    """
    named = os.environ.get(FOLDER_VARIABLE)
    folder = Path(named) if named else FOLDER
    trusted = _read(folder / TRUSTED)
    if trusted is None:
        if named:
            raise TrustStoreError(
                "not found", where=folder / TRUSTED, remedy=f"check {FOLDER_VARIABLE}, or unset it"
            )
        return None
    return TrustStore(
        folder / TRUSTED, trusted, _read(folder / REVOKED), _parse(trusted, folder / TRUSTED)
    )


def fingerprint_of(blob: str) -> str:
    """Return the fingerprint of a public key in base64, as OpenSSH prints it; "" if it is none."""
    import base64

    try:
        content = base64.b64decode(blob, validate=True)
    except ValueError:
        return ""
    return fingerprint(content)


def fingerprint(content: bytes) -> str:
    """Return the fingerprint of an encoded public key."""
    import base64

    digest = base64.b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    return f"SHA256:{digest}"


def _parse(content: bytes, path: Path) -> tuple[Key, ...]:
    keys = []
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = re.compile(_LINE).fullmatch(line.strip())
        known = fingerprint_of(found["blob"]) if found else ""
        if not found or not known:
            raise TrustStoreError(
                "not a trusted key",
                where=f"{path}:{number}",
                remedy=f"write: {PRINCIPAL}, a space, and the content of an ed25519 .pub file",
            )
        keys.append(Key((found["name"] or "unnamed").strip(), known))
    return tuple(keys)


def _read(path: Path) -> bytes | None:
    """Return the content of `path`, which others must not be able to change; None if missing."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TrustStoreError(
            f"cannot be read: {error.strerror}", where=path, remedy="make it readable for all users"
        ) from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise TrustStoreError("not a regular file", where=path)
        _check_owner(path, os.fstat(descriptor))
        for folder in path.resolve().parents:
            _check_owner(folder, folder.stat())
        content = b""
        while len(content) <= MAX_BYTES and (more := os.read(descriptor, MAX_BYTES + 1)):
            content += more
    finally:
        os.close(descriptor)
    if len(content) > MAX_BYTES:
        raise TrustStoreError(f"larger than {MAX_BYTES} bytes", where=path)
    return content


def _check_owner(path: Path, status: os.stat_result) -> None:
    writable = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    shared = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX  # such as /tmp
    if status.st_uid not in (0, os.geteuid()) or (writable and not shared):
        raise TrustStoreError(
            "other users can change it, so its keys prove nothing",
            where=path,
            remedy=f"sudo chown root:root {path} && sudo chmod go-w {path}",
        )
