"""The installed keys prove something only if others cannot change them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from edge_runtime.doctor.environment import signatures
from edge_runtime.errors import SignatureError, TrustStoreError
from edge_runtime.trust.signature import BUNDLE, sign, verify
from edge_runtime.trust.store import MAX_BYTES, installed_keys
from tests.support.keys import install, make_key, needs_ssh_keygen, public

pytestmark = needs_ssh_keygen


@pytest.fixture
def trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of installed keys, with one key."""
    folder = install(tmp_path / "trust", make_key(tmp_path, "owner"))
    monkeypatch.setenv("EDGE_RUNTIME_TRUST", str(folder))
    return folder


@pytest.mark.parametrize("name", ["", "trusted_keys", "revoked_keys"])
@pytest.mark.parametrize("bits", [0o020, 0o002])
def test_keys_that_others_can_change_are_refused(trust: Path, name: str, bits: int) -> None:
    (trust / "revoked_keys").touch()
    assert installed_keys()
    path = trust / name
    path.chmod(path.stat().st_mode | bits)
    with pytest.raises(TrustStoreError, match=r"other users can change it.*chmod go-w"):
        installed_keys()
    finding = signatures()
    assert finding.status == "fail" and "chmod go-w" in finding.remedy


def test_keys_in_a_folder_of_another_user_are_refused(trust: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can give a folder away")
    for path in (trust / "trusted_keys", trust, trust.parent):
        os.chown(path, 65534, 65534)
        with pytest.raises(TrustStoreError, match="other users can change it"):
            installed_keys()
        os.chown(path, 0, 0)
    assert installed_keys()


@pytest.mark.parametrize(
    "line",
    [
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE7KZJ1D4yfgqDTvqNds2fRiSGNVxHcMV8PFXgRQJt/h me",
        "edge-runtime ssh-ed25519 !!!",
        "edge-runtime ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ== me",
        "edge-runtime cert-authority ssh-ed25519 AAAA me",
        "* ssh-ed25519 AAAA me",
        "\x00",
    ],
)
def test_a_line_that_is_not_a_key_is_named(trust: Path, line: str) -> None:
    with (trust / "trusted_keys").open("a") as file:
        file.write(f"# mine\n{line}\n")
    with pytest.raises(TrustStoreError, match=r"trusted_keys:3: not a trusted key \(write:"):
        installed_keys()


def test_unusable_files_are_refused(trust: Path) -> None:
    file = trust / "trusted_keys"
    file.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(TrustStoreError, match="larger than"):
        installed_keys()
    file.unlink()
    with pytest.raises(TrustStoreError, match="not found"):
        installed_keys()
    os.mkfifo(file)
    with pytest.raises(TrustStoreError, match="not a regular file"):
        installed_keys()
    file.unlink()
    file.mkdir()
    with pytest.raises(TrustStoreError, match="not a regular file"):
        installed_keys()


def test_an_empty_file_accepts_nothing(trust: Path, tmp_path: Path) -> None:
    (trust / "trusted_keys").write_text("# none yet\n")
    store = installed_keys()
    assert store and not store.keys
    signature = sign(b"x", tmp_path / "owner", kind=BUNDLE, where="")
    with pytest.raises(SignatureError, match="not a trusted key"):
        verify(b"x", signature, store, kind=BUNDLE, where="it")
    assert signatures().status == "fail"


def test_a_damaged_revocation_list_accepts_nothing(trust: Path, tmp_path: Path) -> None:
    signature = sign(b"x", tmp_path / "owner", kind=BUNDLE, where="")
    (trust / "revoked_keys").write_text("gibberish\n")
    store = installed_keys()
    assert store
    with pytest.raises(SignatureError, match="signed by owner"):
        verify(b"x", signature, store, kind=BUNDLE, where="it")


def test_all_keys_revoked_is_a_failed_check(trust: Path, tmp_path: Path) -> None:
    (trust / "revoked_keys").write_text(public(tmp_path / "owner"))
    finding = signatures()
    assert (finding.status, finding.detail) == ("fail", "required, but no key is trusted")


def test_without_ssh_keygen_nothing_is_accepted(
    trust: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signature = sign(b"x", tmp_path / "owner", kind=BUNDLE, where="")
    store = installed_keys()
    assert store
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TrustStoreError, match=r"ssh-keygen: not found.*apt install openssh-client"):
        verify(b"x", signature, store, kind=BUNDLE, where="it")
    finding = signatures()
    assert (finding.status, finding.remedy) == ("fail", "sudo apt install openssh-client")


def test_without_sealed_memory_nothing_is_accepted(
    trust: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    signature = sign(b"x", tmp_path / "owner", kind=BUNDLE, where="")
    store = installed_keys()
    assert store
    monkeypatch.setattr(os, "memfd_create", refuse)
    with pytest.raises(TrustStoreError, match="no memory for signed files: Permission denied"):
        verify(b"x", signature, store, kind=BUNDLE, where="it")


def test_the_check_does_not_depend_on_the_file_after_it_was_read(
    trust: Path, tmp_path: Path
) -> None:
    """The keys that were checked are those that verify."""
    signature = sign(b"x", tmp_path / "owner", kind=BUNDLE, where="")
    store = installed_keys()
    assert store
    (trust / "trusted_keys").write_text("")
    assert verify(b"x", signature, store, kind=BUNDLE, where="").name == "owner"
