"""Real keys, made by OpenSSH for one test."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

needs_ssh_keygen = pytest.mark.skipif(
    not shutil.which("ssh-keygen"), reason="no ssh-keygen: apt install openssh-client"
)


def make_key(folder: Path, name: str) -> Path:
    """Return a new private key without a passphrase; its public half lies beside it."""
    key = folder / name
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", key], check=True
    )
    return key


def public(key: Path) -> str:
    """Return the line of the public key."""
    return key.with_name(key.name + ".pub").read_text()


def install(folder: Path, *keys: Path, revoked: tuple[Path, ...] = ()) -> Path:
    """Write trusted_keys and, for `revoked` keys, revoked_keys into `folder`; return it."""
    folder.mkdir(exist_ok=True)
    (folder / "trusted_keys").write_text("".join(f"edge-runtime {public(key)}" for key in keys))
    if revoked:
        (folder / "revoked_keys").write_text("".join(map(public, revoked)))
    return folder
