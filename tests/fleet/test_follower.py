"""A board that follows signed files, and every attack on them that a server can try."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, Timestamp

from edge_runtime.errors import (
    ClockError,
    EdgeRuntimeError,
    FleetFormatError,
    FleetModelError,
    FleetSignatureError,
    FleetUnreachableError,
    InputError,
    NotJoinedError,
)
from edge_runtime.fleet.content import gallery_digest, pending_pictures, shared_content
from edge_runtime.fleet.follower import Follower, board_state
from edge_runtime.fleet.following import clock, fetching
from edge_runtime.fleet.following.joined import (
    Joined,
    folder_of,
    forget_joined,
    read_joined,
    write_joined,
)
from edge_runtime.fleet.operations import Operation, Relabel, Remove
from tests.support.fleet import enroll, head, open_gallery, packed, picture
from tests.support.fleet.model import Model
from tests.support.fleet.repository import COMPACT, SignedFolder, in_days
from tests.support.fleet.serving import Server


@pytest.fixture
def signed(tmp_path: Path) -> SignedFolder:
    return SignedFolder(tmp_path / "public")


@pytest.fixture
def board(tmp_path: Path, signed: SignedFolder) -> Path:
    """A gallery that has joined, with a picture of its own."""
    path = tmp_path / "board" / "gallery.sqlite"
    with open_gallery(path) as gallery:
        enroll(gallery, picture("mine", 1000))
    _join(path, str(signed.folder), signed)
    return path


def _join(gallery: Path, url: str, signed: SignedFolder) -> None:
    write_joined(gallery, Joined("kitchen", url, "test"), signed.trust.read_bytes())


@pytest.fixture
def server(signed: SignedFolder) -> Iterator[Server]:
    opened = Server(signed.folder)
    yield opened
    opened.close()


def _publish(
    signed: SignedFolder, model: Model, *operations: Operation, full: bool = False
) -> None:
    model.apply(operations, full=False)
    signed.publish(operations, model, full=full)


def _check(path: Path, model: Model, signed: SignedFolder) -> None:
    with open_gallery(path) as gallery:
        assert set(shared_content(gallery)) == set(model.pictures())
    assert board_state(path).version == signed.version


def test_a_board_follows_from_a_folder(board: Path, signed: SignedFolder) -> None:
    """As from a USB stick."""
    model, follower = Model(), Follower(board)
    assert follower.look().newest == 1
    _publish(signed, model, picture("cat", 1), picture("dog", 2))
    _publish(signed, model, Relabel("cat", "tom"), picture("tom", 3))
    look = follower.look()
    assert look.applied is not None
    assert (look.newest, look.applied.version, look.applied.pending) == (3, 3, 1)
    _check(board, model, signed)
    assert follower.look().applied is None
    mine = picture("mine", 1000)
    _publish(signed, model, mine, Remove("dog"))
    assert (follower.look().newest, board_state(board).pending) == (4, 0)
    _check(board, model, signed)
    assert follower.info.fleet == "test"
    left = list((folder_of(board) / "targets").iterdir())
    assert [path.name for path in left] == ["fleet.json"]


def test_a_board_follows_over_http(board: Path, signed: SignedFolder, server: Server) -> None:
    _join(board, server.url + "/", signed)
    model, follower = Model(), Follower(board)
    for number in range(5):
        _publish(signed, model, picture("cat", number), full=number == 3)
    follower.look()
    _check(board, model, signed)
    deltas = [path for path in server.requests if "delta" in path]
    assert len(deltas) == 0 if board_state(board).version == 5 else True
    # Without news, a look is one request for a file of at most 500 bytes.
    server.requests.clear()
    assert follower.look().applied is None
    assert server.requests == ["/metadata/timestamp.json"]
    assert (signed.folder / "metadata" / "timestamp.json").stat().st_size <= 500
    # A new version costs little metadata.
    server.requests.clear()
    _publish(signed, model, picture("dog", 9))
    follower.look()
    _check(board, model, signed)
    fetched = {path for path in server.requests if path.startswith("/metadata/")}
    files = (signed.folder / path.lstrip("/") for path in fetched)
    assert sum(file.stat().st_size for file in files if file.exists()) <= 10_000


def test_a_board_that_was_away_fetches_the_full_file(board: Path, signed: SignedFolder) -> None:
    model = Model()
    Follower(board).look()
    for number in range(4):
        _publish(signed, model, picture("cat", number), full=number == 2)
    for version in (2, 3):
        del signed.targets.targets[f"gallery/delta/{version:06d}.jsonl.gz"]
    signed.sign()
    Follower(board).look()
    _check(board, model, signed)
    assert board_state(board).pending == 1


def test_a_gap_without_a_full_file_is_an_error(board: Path, signed: SignedFolder) -> None:
    Follower(board).look()
    model = Model()
    _publish(signed, model, picture("cat", 1))
    _publish(signed, model, picture("cat", 2))
    for name in ("delta/000002", "full/000001"):
        del signed.targets.targets[f"gallery/{name}.jsonl.gz"]
    signed.sign()
    with pytest.raises(FleetUnreachableError, match="no files lead to it from 1"):
        Follower(board).look()


def test_another_content_is_repaired_by_the_full_file(board: Path, signed: SignedFolder) -> None:
    model, follower = Model(), Follower(board)
    _publish(signed, model, picture("cat", 1), picture("cat", 2), full=True)
    follower.look()
    with open_gallery(board) as gallery:
        gallery.remove(label="cat")
    _publish(signed, model, picture("dog", 3))
    follower.look()
    _check(board, model, signed)
    assert board_state(board).pending == 1
    # A change by hand without a new version is found at the next start.
    with open_gallery(board) as gallery:
        gallery.relabel("cat", "tom")
    Follower(board).look()
    _check(board, model, signed)


def test_content_that_no_file_gives_is_refused(board: Path, signed: SignedFolder) -> None:
    model, follower = Model(), Follower(board)
    follower.look()
    before = board_state(board)
    model.apply([picture("cat", 1)], full=False)
    signed.publish([picture("cat", 2)], model, content=([picture("cat", 3)], []), full=True)
    with pytest.raises(EdgeRuntimeError, match="leads to the content"):
        follower.look()
    assert board_state(board) == before


def test_files_that_do_not_match_their_names_are_refused(board: Path, signed: SignedFolder) -> None:
    Follower(board).look()
    model = Model()
    model.apply([picture("cat", 1)], full=False)
    data = packed(head(3, None, model.pictures()), model.pictures())
    custom = {"version": 2, "model_id": head(1, None).model_id}
    signed.put("gallery/full/000002.jsonl.gz", data, custom)
    signed.sign()
    with pytest.raises(FleetFormatError, match="contains version 3"):
        Follower(board).look()


def test_a_version_of_another_model_waits_for_its_rollout(
    board: Path, signed: SignedFolder
) -> None:
    follower = Follower(board)
    follower.look()
    other = replace(head(2, None), model_id="ff" * 32)
    custom = {"version": 2, "model_id": other.model_id}
    signed.put("gallery/full/000002.jsonl.gz", packed(other, []), custom)
    signed.sign()
    look = follower.look()
    assert (look.newest, look.applied, look.other_model) == (1, None, other.model_id)
    # The signed facts and the file disagree.
    signed.put(
        "gallery/full/000002.jsonl.gz", packed(other, []), {"model_id": head(1, None).model_id}
    )
    signed.sign()
    with pytest.raises(FleetModelError):
        follower.look()


def test_a_rollout_is_handed_over_at_each_look(board: Path, signed: SignedFolder) -> None:
    seen: list[bytes] = []
    follower = Follower(board, on_rollout=seen.append)
    follower.look()
    for content in (b'{"id": "a"}', b'{"id": "b"}'):
        signed.put("rollout.json", content, {})
        signed.sign()
        follower.look()
    follower.look()
    assert seen == [b'{"id": "a"}', b'{"id": "b"}', b'{"id": "b"}']


# -- attacks ---------------------------------------------------------------------------------------


def _refused(board: Path, match: str, kind: type[Exception] = FleetSignatureError) -> None:
    """Refused by the running process and by a new one; the gallery does not change."""
    before = board_state(board)
    with open_gallery(board) as gallery:
        content = gallery_digest(gallery)
    for _ in range(2):
        with pytest.raises(kind, match=match) as caught:
            Follower(board).look()
        assert "\n" not in str(caught.value)
    assert board_state(board) == before
    with open_gallery(board) as gallery:
        assert gallery_digest(gallery) == content
        assert len(list(pending_pictures(gallery))) == before.pending


@pytest.fixture
def followed(board: Path, signed: SignedFolder) -> Path:
    model = Model()
    Follower(board).look()
    _publish(signed, model, picture("cat", 1))
    Follower(board).look()
    return board


def test_an_older_state_is_refused(followed: Path, signed: SignedFolder, tmp_path: Path) -> None:
    old = shutil.copytree(signed.folder, tmp_path / "old")
    _publish(signed, Model(), picture("cat", 1), picture("cat", 2))
    Follower(followed).look()
    shutil.rmtree(signed.folder)
    shutil.copytree(old, signed.folder)
    _refused(followed, "is older than what this board has seen")


def test_a_frozen_state_is_refused_when_it_expires(followed: Path, signed: SignedFolder) -> None:
    signed.timestamp.expires = in_days(-0.1)
    signed.stamp()
    _refused(followed, "is expired: nobody has signed newer files")


def test_a_running_follower_sees_that_its_state_expires(
    followed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server answers with the same bytes for ever."""
    follower = Follower(followed)
    follower.look()
    follower.repository._fresh_until = datetime.now(UTC)
    follower.look()
    assert follower.repository._fresh_until > datetime.now(UTC)


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_metadata_signed_with_another_key_is_refused(
    followed: Path, signed: SignedFolder, tmp_path: Path, role: str
) -> None:
    signed.keys[role] = SignedFolder(tmp_path / "other").keys[role]
    signed.sign()
    _refused(followed, "is not signed by the fleet's keys")


def test_another_repository_is_refused(
    followed: Path, signed: SignedFolder, tmp_path: Path
) -> None:
    other = SignedFolder(tmp_path / "other")
    for number in range(5):
        other.publish([picture("cat", number)])
    shutil.rmtree(signed.folder)
    shutil.copytree(other.folder, signed.folder)
    _refused(followed, "is not signed by the fleet's keys")


def test_another_fleet_with_the_same_keys_is_refused(followed: Path, signed: SignedFolder) -> None:
    signed.fleet = "other"
    signed.publish([])
    _refused(followed, "these are the files of the fleet 'other', not of 'test'")


def test_files_of_two_states_are_refused(followed: Path, signed: SignedFolder) -> None:
    """The newest snapshot is replaced by an older one that was signed, too."""
    old = (signed.folder / "metadata" / f"{signed.snapshot.version}.snapshot.json").read_bytes()
    _publish(signed, Model(), picture("cat", 1), picture("cat", 2))
    newest = signed.folder / "metadata" / f"{signed.snapshot.version}.snapshot.json"
    newest.write_bytes(old)
    _refused(followed, "is older than what this board has seen, or does not fit")


def test_flipped_bits_are_refused(followed: Path, signed: SignedFolder) -> None:
    model = Model()
    _publish(signed, model, picture("cat", 1), picture("cat", 2))
    names = [
        f"metadata/{signed.snapshot.version}.snapshot.json",
        f"metadata/{signed.targets.version}.targets.json",
        "metadata/timestamp.json",
        *[
            str(path.relative_to(signed.folder))
            for path in (signed.folder / "targets/gallery/delta").glob("*000003*")
        ],
    ]
    assert len(names) == 4
    for name in names:
        path = signed.folder / name
        data = path.read_bytes()
        for place in range(3, len(data), max(1, len(data) // 9)):
            changed = bytearray(data)
            changed[place] ^= 1
            path.write_bytes(bytes(changed))
            try:
                Follower(followed).look()
            except (FleetSignatureError, FleetUnreachableError):
                assert board_state(followed).version == 2
            else:  # whitespace, or the case of a key that nothing reads
                assert name.startswith("metadata")
        path.write_bytes(data)
    Follower(followed).look()
    assert board_state(followed).version == 3


def test_stolen_online_keys_cannot_replace_the_root(followed: Path, signed: SignedFolder) -> None:
    signed.root.version += 1
    metadata = Metadata(signed.root)
    for role in ("targets", "snapshot", "timestamp"):
        metadata.sign(signed.keys[role], append=True)
    metadata.to_file(str(signed.folder / "metadata" / "2.root.json"), COMPACT)
    _refused(followed, "is not signed by the fleet's keys")


def test_the_root_keys_replace_stolen_online_keys(followed: Path, signed: SignedFolder) -> None:
    stolen = signed.keys["timestamp"]
    for role in ("targets", "snapshot", "timestamp"):
        signed.root.revoke_key(signed.keys[role].public_key.keyid, role)
        signed.keys[role] = type(stolen).generate_ed25519()
        signed.root.add_key(signed.keys[role].public_key, role)
    signed.root.version += 1
    signed.sign_root()
    _publish(signed, Model(), picture("cat", 1), picture("cat", 5))
    Follower(followed).look()
    assert board_state(followed).version == signed.version
    metadata = Metadata[Timestamp].from_file(str(signed.folder / "metadata" / "timestamp.json"))
    metadata.signed.version += 1
    metadata.sign(stolen)
    metadata.to_file(str(signed.folder / "metadata" / "timestamp.json"), COMPACT)
    _refused(followed, "is not signed by the fleet's keys")


def _send(handler: SimpleHTTPRequestHandler, length: int | None) -> None:
    handler.send_response(200)
    if length is not None:
        handler.send_header("Content-Length", str(length))
    handler.end_headers()


def test_endless_data_is_refused(followed: Path, signed: SignedFolder, server: Server) -> None:
    _join(followed, server.url, signed)
    sent, target = 0, ""

    def endless(handler: SimpleHTTPRequestHandler) -> bool:
        nonlocal sent
        if not handler.path.endswith(target):
            return False
        _send(handler, None)
        try:
            while True:
                sent += handler.wfile.write(bytes(1 << 16))
        except OSError:
            return True

    server.answer = endless
    _publish(signed, Model(), picture("cat", 1), picture("cat", 2))
    for name in ("timestamp.json", "000003.jsonl.gz"):
        target = name
        _refused(followed, "is longer than it may be")
    assert sent < 1 << 26


def test_a_slow_server_is_left(
    followed: Path, signed: SignedFolder, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    _join(followed, server.url, signed)
    monkeypatch.setattr(fetching, "FILE_S", 0.3)
    monkeypatch.setattr(fetching, "LEAST_RATE", 1e9)

    def slow(handler: SimpleHTTPRequestHandler) -> bool:
        _send(handler, 10_000)
        try:
            for _ in range(10_000):
                handler.wfile.write(b" ")
                handler.wfile.flush()
                threading.Event().wait(0.01)
        except OSError:
            pass
        return True

    server.answer = slow
    _refused(followed, "the server is too slow", FleetUnreachableError)


@pytest.mark.parametrize("status", [404, 403, 500, 503])
def test_a_server_that_fails_is_unreachable(
    followed: Path, signed: SignedFolder, server: Server, status: int
) -> None:
    _join(followed, server.url, signed)

    def fail(handler: SimpleHTTPRequestHandler) -> bool:
        handler.send_error(status)
        return True

    server.answer = fail
    _refused(followed, "cannot be fetched", FleetUnreachableError)


def test_without_a_network_the_board_keeps_what_it_has(
    followed: Path, signed: SignedFolder
) -> None:
    _join(followed, "http://127.0.0.1:9/", signed)
    _refused(followed, "cannot be fetched.*goes on with what it has", FleetUnreachableError)
    _join(followed, str(signed.folder / "unplugged"), signed)
    _refused(followed, "cannot be fetched", FleetUnreachableError)


def test_a_wrong_clock_accepts_nothing(
    followed: Path, signed: SignedFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed.sign(now=datetime.now(UTC) + timedelta(hours=2))
    with pytest.raises(ClockError, match="the fleet signed what this board has"):
        Follower(followed).look()
    _refused(followed, "set it: timedatectl", ClockError)
    monkeypatch.setattr(clock, "NOT_BEFORE", datetime.now(UTC) + timedelta(days=900))
    _refused(followed, "this software was written", ClockError)


def test_damaged_metadata_on_the_board_is_fetched_again(
    followed: Path, signed: SignedFolder
) -> None:
    """As after a power cut."""
    for path in (folder_of(followed) / "metadata").glob("*.json"):
        path.write_bytes(b"")
    Follower(followed).look()
    assert board_state(followed).version == 2


# -- membership ------------------------------------------------------------------------------------


def test_a_board_must_have_joined(board: Path) -> None:
    assert read_joined(board).board == "kitchen"
    path = folder_of(board) / "join.json"
    for text in ("{", "[]", '{"board": 1, "url": "x"}', '{"board": "a"}'):
        path.write_text(text)
        with pytest.raises(EdgeRuntimeError, match="damaged"):
            read_joined(board)
    forget_joined(board)
    with pytest.raises(NotJoinedError, match=r"has not joined a fleet.*fleet join URL"):
        Follower(board)
    assert not folder_of(board).exists()


def test_an_unusable_address_or_root_is_refused(board: Path, signed: SignedFolder) -> None:
    for url in ("ftp://host/", "http://[::1", ""):
        _join(board, url, signed)
        with pytest.raises(InputError, match="https://"):
            Follower(board)
    write_joined(board, Joined("kitchen", str(signed.folder)), b"{}")
    with pytest.raises(FleetSignatureError, match=r"root\.json cannot be believed"):
        Follower(board)
    assert json.loads((folder_of(board) / "join.json").read_text())["board"] == "kitchen"
