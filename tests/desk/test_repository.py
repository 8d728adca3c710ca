"""The signed files, as TUF's own client reads them from a real file server."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from tuf.api.exceptions import ExpiredMetadataError, RepositoryError
from tuf.ngclient import Updater

from edge_runtime.desk import signed
from edge_runtime.desk.repository import NewFile, Repository, create
from edge_runtime.desk.signed import Lifetimes
from edge_runtime.desk.signing.keys import (
    key_id,
    read_key,
    root_key_files,
    write_online_keys,
    write_root_keys,
)
from edge_runtime.desk.signing.root import first_root, read_root_keys, rotate
from edge_runtime.errors import DeskError, StorageError, TrustStoreError
from tests.support.fleet.tuf_client import TufClient, file_server

ONE, TWO = "gallery/delta/000001.jsonl.gz", "gallery/delta/000002.jsonl.gz"


def _new(folder: Path) -> Repository:
    root_keys = write_root_keys(folder / "root-keys")
    online = write_online_keys(folder / "keys")
    root = first_root(root_keys, online, Lifetimes())
    files = [NewFile(ONE, b"one", {"version": 1})]
    return create(folder / "public", folder / "keys", folder / "root.json", root, files)


def _nothing(_: Path) -> bytes:
    return b""


def _open(folder: Path, **options: object) -> Repository:
    paths = (folder / "public", folder / "keys", folder / "root.json")
    return Repository(*paths, **options)  # type: ignore[arg-type]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return _new(tmp_path)


@pytest.fixture
def client(tmp_path: Path, repository: Repository) -> Iterator[TufClient]:
    with file_server(repository.folder) as url:
        yield TufClient(tmp_path / "client", url, (tmp_path / "root.json").read_bytes())


def test_a_client_reads_what_was_published(repository: Repository, client: TufClient) -> None:
    assert client.read(ONE) == (b"one", {"version": 1})
    repository.publish([NewFile(TWO, b"two", {"version": 2})])
    assert client.read(TWO) == (b"two", {"version": 2})
    assert client.read(ONE) == (b"one", {"version": 1})


def test_a_dropped_file_is_not_signed_any_more(repository: Repository, client: TufClient) -> None:
    repository.publish([NewFile(TWO, b"two", {})], drop=[ONE])
    assert client.knows(TWO)
    assert not client.knows(ONE)


def test_an_opened_repository_goes_on(
    tmp_path: Path, repository: Repository, client: TufClient
) -> None:
    again = _open(tmp_path)
    assert again.read(ONE) == b"one"
    again.publish([NewFile(TWO, b"two", {})])
    assert client.read(TWO)[0] == b"two"
    assert set(_open(tmp_path).files) == {ONE, TWO}


def test_old_content_is_removed_after_some_versions(repository: Repository) -> None:
    for number in range(20):
        repository.publish([NewFile(TWO, str(number).encode(), {})])
    content = [path for path in (repository.folder / "targets").rglob("*") if path.is_file()]
    assert len(content) <= 10
    assert len(list((repository.folder / "metadata").iterdir())) <= 20
    assert repository.read(TWO) == b"19"


def test_a_signature_is_renewed_at_half_of_its_lifetime(
    tmp_path: Path, repository: Repository, client: TufClient
) -> None:
    client.refreshed()
    for days, due in ((1, []), (2, ["timestamp"]), (16, ["snapshot", "timestamp"])):
        at = signed.now() + timedelta(days=days)
        again = _open(tmp_path, clock=lambda at=at: at)
        assert again.renew_if_due() == due
        assert again.renew_if_due() == []
        client.refreshed()


def test_a_client_refuses_a_repository_that_is_not_renewed(
    tmp_path: Path, repository: Repository, client: TufClient
) -> None:
    past = signed.now() - timedelta(days=4)
    shutil.rmtree(tmp_path / "public")
    root_keys = [read_key(path) for path in root_key_files(tmp_path / "root-keys")]
    online = write_online_keys(tmp_path / "keys")
    root = first_root(root_keys, online, Lifetimes())
    signed.write_metadata(tmp_path / "root.json", root)
    (tmp_path / "public" / "metadata").mkdir(parents=True)
    signed.write_metadata(tmp_path / "public" / "metadata" / "1.root.json", root)
    old = _open(tmp_path, clock=lambda: past)
    old.publish([])
    with file_server(tmp_path / "public") as url:
        reader = TufClient(tmp_path / "reader", url, (tmp_path / "root.json").read_bytes())
        with pytest.raises(ExpiredMetadataError):
            reader.refreshed()
        assert _open(tmp_path).renew_if_due() == ["timestamp"]
        reader.refreshed()


def test_rotation_replaces_the_online_keys(
    tmp_path: Path, repository: Repository, client: TufClient
) -> None:
    client.refreshed()
    before = sorted(path.name for path in (tmp_path / "keys").iterdir())
    keys = read_root_keys([tmp_path / "root-keys"], repository.root.signed, _nothing)
    rotate(repository, keys[:2])
    after = sorted(path.name for path in (tmp_path / "keys").iterdir())
    assert len(after) == 3
    assert not set(before) & set(after)
    assert client.read(ONE)[0] == b"one"
    _open(tmp_path).publish([NewFile(TWO, b"two", {})])
    assert client.read(TWO)[0] == b"two"


def test_what_stolen_keys_sign_is_refused_after_a_rotation(
    tmp_path: Path, repository: Repository, client: TufClient
) -> None:
    stolen = Path(shutil.copytree(tmp_path, tmp_path.parent / f"{tmp_path.name}-stolen"))
    keys = read_root_keys([tmp_path / "root-keys"], repository.root.signed, _nothing)
    rotate(repository, keys)
    client.refreshed()
    thief = _open(stolen)
    thief.publish([NewFile(ONE, b"evil", {})])
    thief.publish([NewFile(ONE, b"evil", {})])
    name = "timestamp.json"
    shutil.copy(thief.folder / "metadata" / name, repository.folder / "metadata" / name)
    with pytest.raises(RepositoryError):
        client.refreshed()


def test_the_root_alone_can_be_renewed(
    tmp_path: Path, repository: Repository, client: TufClient
) -> None:
    before = sorted((tmp_path / "keys").iterdir())
    keys = read_root_keys([tmp_path / "root-keys"], repository.root.signed, _nothing)
    later = _open(tmp_path, clock=lambda: signed.now() + timedelta(days=300))
    root = rotate(later, keys, online=False)
    assert root.signed.expires > signed.now() + timedelta(days=600)
    assert sorted((tmp_path / "keys").iterdir()) == before
    client.refreshed()


def test_two_keys_replace_a_lost_third(
    tmp_path: Path, repository: Repository, client: TufClient
) -> None:
    lost = root_key_files(tmp_path / "root-keys")[1]
    lost_id = key_id(read_key(lost))
    lost.unlink()
    keys = read_root_keys([tmp_path / "root-keys"], repository.root.signed, _nothing)
    rotate(repository, keys, replacement=tmp_path / "root-keys" / "root-4.pem")
    client.refreshed()
    assert lost_id not in repository.root.signed.roles["root"].keyids
    # The new key and one of the old ones now own the fleet.
    root_key_files(tmp_path / "root-keys")[0].unlink()
    keys = read_root_keys([tmp_path / "root-keys"], repository.root.signed, _nothing)
    assert len(keys) == 2
    rotate(repository, keys)
    assert client.read(ONE)[0] == b"one"


def test_no_key_is_replaced_while_all_are_present(tmp_path: Path, repository: Repository) -> None:
    keys = read_root_keys([tmp_path / "root-keys"], repository.root.signed, _nothing)
    with pytest.raises(TrustStoreError, match="none is lost"):
        rotate(repository, keys, replacement=tmp_path / "root-4.pem")


def test_one_root_key_is_not_enough(tmp_path: Path, repository: Repository) -> None:
    for path in root_key_files(tmp_path / "root-keys")[:2]:
        path.unlink()
    with pytest.raises(TrustStoreError, match="2 root keys of this fleet must sign, and 1 of"):
        read_root_keys([tmp_path / "root-keys"], repository.root.signed, _nothing)


def test_keys_of_another_fleet_do_not_count(tmp_path: Path, repository: Repository) -> None:
    write_root_keys(tmp_path / "others")
    with pytest.raises(TrustStoreError, match="0 of the 3 keys found"):
        read_root_keys([tmp_path / "others"], repository.root.signed, _nothing)


def _publish(folder: Path, new: NewFile) -> None:
    _open(folder).publish([new])


def _killed_at(step: int, act: Callable[[], object]) -> bool:
    """Run `act` in a child that is killed before its durable write number `step`.

    Returns whether it was killed.
    """
    child = os.fork()
    if not child:
        left = step
        replace = Path.replace

        def counted(path: Path, target: Path) -> Path:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return replace(path, target)

        Path.replace = counted  # type: ignore[method-assign,assignment]
        try:
            act()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_a_kill_at_any_write_leaves_the_old_or_the_new_version(
    tmp_path: Path, repository: Repository, client: TufClient
) -> None:
    for step in range(20):
        name = f"gallery/delta/{step + 2:06d}.jsonl.gz"
        killed = _killed_at(step, partial(_publish, tmp_path, NewFile(name, b"x", {})))
        updater: Updater = client.refreshed()
        info = updater.get_targetinfo(name)
        assert killed == (info is None)
        if info is not None:
            updater.download_target(info)
        assert client.read(ONE)[0] == b"one"
        if not killed:
            break
    else:
        raise AssertionError("every attempt was killed")
    assert step >= 4


def test_a_kill_during_a_rotation_leaves_keys_that_sign(
    tmp_path: Path, repository: Repository, client: TufClient
) -> None:
    for step in range(20):

        def rotated() -> None:
            opened = _open(tmp_path)
            rotate(opened, read_root_keys([tmp_path / "root-keys"], opened.root.signed, _nothing))

        killed = _killed_at(step, rotated)
        again = _open(tmp_path)
        again.renew_if_due()  # as `desk run` does
        assert client.read(ONE)[0] == b"one"
        if not killed:
            break
    else:
        raise AssertionError("every attempt was killed")


@pytest.mark.parametrize("name", ["timestamp.json", "1.snapshot.json", "1.targets.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "other"])
def test_damage_names_the_file(
    tmp_path: Path, repository: Repository, name: str, damage: str
) -> None:
    path = repository.folder / "metadata" / name
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    elif damage == "flip":
        path.write_bytes(data.replace(b'"version":1', b'"version":2', 1))
    elif damage == "cut":
        path.write_bytes(data[:-40])
    else:
        path.write_bytes((repository.folder / "metadata" / "1.root.json").read_bytes())
    with pytest.raises(DeskError) as caught:
        _open(tmp_path)
    assert caught.value.where == str(path)
    assert "restore" in caught.value.remedy


def test_content_that_was_changed_is_not_believed(repository: Repository) -> None:
    repository.path_of(ONE).write_bytes(b"two")
    with pytest.raises(DeskError, match="not what was signed"):
        repository.read(ONE)


def test_a_clock_that_goes_back_signs_nothing(tmp_path: Path, repository: Repository) -> None:
    before = _open(tmp_path, clock=lambda: signed.now() - timedelta(days=400))
    with pytest.raises(DeskError, match="set the clock"):
        before.publish([NewFile(TWO, b"two", {})])


def test_new_keys_replace_what_was_signed_in_the_future(
    tmp_path: Path, repository: Repository, client: TufClient
) -> None:
    """The desk's clock was days ahead when it signed. Boards refuse that, and wait no days."""
    ahead = _open(tmp_path, clock=lambda: signed.now() + timedelta(days=2))
    ahead.publish([NewFile(TWO, b"two", {})])
    with pytest.raises(DeskError, match="desk rotate"):
        _open(tmp_path).publish([NewFile(TWO, b"three", {})])
    opened = _open(tmp_path)
    keys = read_root_keys([tmp_path / "root-keys"], opened.root.signed, lambda _: b"")
    with pytest.raises(DeskError, match="desk rotate"):
        rotate(opened, keys, online=False)
    assert _open(tmp_path).root.signed.version == 1
    rotate(_open(tmp_path), keys)
    _open(tmp_path).publish([NewFile(TWO, b"three", {})])
    assert client.read(TWO)[0] == b"three"
    at = signed.signed_at(_open(tmp_path).timestamp)
    assert at is not None
    assert at <= signed.now()


def test_a_full_disk_leaves_the_version_that_was_there(small_disk: Path) -> None:
    repository = _new(small_disk)
    with pytest.raises(StorageError, match="disk is full"):
        repository.publish([NewFile(TWO, os.urandom(1 << 19), {})])
    again = _open(small_disk)
    assert set(again.files) == {ONE}
    assert not list(small_disk.rglob("*.tmp"))
    again.publish([NewFile(TWO, b"two", {})])
    assert set(_open(small_disk).files) == {ONE, TWO}


def test_metadata_is_small(repository: Repository) -> None:
    """What a board reads to learn that nothing is new: the timestamp."""
    assert (repository.folder / "metadata" / "timestamp.json").stat().st_size <= 500
