"""The files of the keys: who can read them, and what a wrong one says."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

from edge_runtime.desk.signing.keys import (
    ONLINE_ROLES,
    key_id,
    new_key,
    read_key,
    read_online_keys,
    root_key_files,
    write_key,
    write_online_keys,
    write_root_keys,
)
from edge_runtime.errors import StorageError, TrustStoreError


def test_a_key_comes_back_from_its_file(tmp_path: Path) -> None:
    key, path = new_key(), tmp_path / "key.pem"
    write_key(path, key)
    assert key_id(read_key(path)) == key_id(key)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_passphrase_encrypts_the_key(tmp_path: Path) -> None:
    keys = write_root_keys(tmp_path, b"correct horse")
    for path, key in zip(root_key_files(tmp_path), keys, strict=True):
        assert b"ENCRYPTED" in path.read_bytes()
        assert key_id(read_key(path, lambda _: b"correct horse")) == key_id(key)
    with pytest.raises(TrustStoreError, match="passphrase is wrong"):
        read_key(root_key_files(tmp_path)[0], lambda _: b"battery staple")
    with pytest.raises(TrustStoreError, match="has a passphrase"):
        read_key(root_key_files(tmp_path)[0])


def test_no_key_is_ever_replaced(tmp_path: Path) -> None:
    write_root_keys(tmp_path)
    before = root_key_files(tmp_path)[2].read_bytes()
    with pytest.raises(TrustStoreError, match="exists already"):
        write_root_keys(tmp_path)
    root_key_files(tmp_path)[0].unlink()
    with pytest.raises(TrustStoreError, match="exists already"):
        write_root_keys(tmp_path)
    assert not root_key_files(tmp_path)[0].exists()
    assert root_key_files(tmp_path)[2].read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"not a key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n"])
def test_a_damaged_key_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(TrustStoreError, match="not a private key"):
        read_key(path)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    write_key(path, new_key())
    path.chmod(0o644)
    with pytest.raises(TrustStoreError, match="other users can read"):
        read_key(path)


def test_a_pipe_in_place_of_a_key_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "key.pem", 0o600)
    with pytest.raises(TrustStoreError, match="FIFO"):
        read_key(tmp_path / "key.pem")


def test_online_keys_are_found_by_their_ids(tmp_path: Path) -> None:
    old = write_online_keys(tmp_path / "keys")
    new = write_online_keys(tmp_path / "keys")
    for keys in (old, new):
        ids = {role: key_id(keys[role]) for role in ONLINE_ROLES}
        found = read_online_keys(tmp_path / "keys", ids)
        assert {role: key_id(key) for role, key in found.items()} == ids
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700


def test_a_missing_online_key_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(TrustStoreError, match=r"targets is missing .*desk rotate"):
        read_online_keys(tmp_path, {"targets": 64 * "0"})


def test_a_full_disk_leaves_no_part_of_a_key(small_disk: Path) -> None:
    with suppress(OSError):
        (small_disk / "filler").write_bytes(bytes(1 << 20))
    with pytest.raises(StorageError, match="disk is full"):
        write_key(small_disk / "key.pem", new_key())
    assert not (small_disk / "key.pem").exists()
