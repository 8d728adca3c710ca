"""A board that follows signed files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edge_runtime.errors import (
    EdgeRuntimeError,
    FleetFormatError,
    FleetModelError,
    FleetUnreachableError,
)
from edge_runtime.fleet.follower import Follower, board_state
from edge_runtime.fleet.following.joined import (
    folder_of,
)
from edge_runtime.fleet.operations import Relabel, Remove
from tests.support.fleet import head, open_gallery, packed, picture
from tests.support.fleet.following import check, join, publish
from tests.support.fleet.model import Model
from tests.support.fleet.repository import SignedFolder
from tests.support.fleet.serving import Server


def test_a_board_follows_from_a_folder(board: Path, signed: SignedFolder) -> None:
    """As from a USB stick."""
    model, follower = Model(), Follower(board)
    assert follower.poll().newest == 1
    publish(signed, model, picture("cat", 1), picture("dog", 2))
    publish(signed, model, Relabel("cat", "tom"), picture("tom", 3))
    poll = follower.poll()
    assert poll.applied is not None
    assert (poll.newest, poll.applied.version, poll.applied.pending) == (3, 3, 1)
    check(board, model, signed)
    assert follower.poll().applied is None
    mine = picture("mine", 1000)
    publish(signed, model, mine, Remove("dog"))
    assert (follower.poll().newest, board_state(board).pending) == (4, 0)
    check(board, model, signed)
    assert follower.info.fleet == "test"
    left = list((folder_of(board) / "targets").iterdir())
    assert [path.name for path in left] == ["fleet.json"]


def test_a_board_follows_over_http(board: Path, signed: SignedFolder, server: Server) -> None:
    join(board, server.url + "/", signed)
    model, follower = Model(), Follower(board)
    for number in range(5):
        publish(signed, model, picture("cat", number), full=number == 3)
    follower.poll()
    check(board, model, signed)
    deltas = [path for path in server.requests if "delta" in path]
    assert len(deltas) == 0 if board_state(board).version == 5 else True
    # Without news, a poll is one request for a file of at most 500 bytes.
    server.requests.clear()
    assert follower.poll().applied is None
    assert server.requests == ["/metadata/timestamp.json"]
    assert (signed.folder / "metadata" / "timestamp.json").stat().st_size <= 500
    # A new version costs little metadata.
    server.requests.clear()
    publish(signed, model, picture("dog", 9))
    follower.poll()
    check(board, model, signed)
    fetched = {path for path in server.requests if path.startswith("/metadata/")}
    files = (signed.folder / path.lstrip("/") for path in fetched)
    assert sum(file.stat().st_size for file in files if file.exists()) <= 10_000


def test_a_board_that_was_away_fetches_the_full_file(board: Path, signed: SignedFolder) -> None:
    model = Model()
    Follower(board).poll()
    for number in range(4):
        publish(signed, model, picture("cat", number), full=number == 2)
    for version in (2, 3):
        del signed.targets.targets[f"gallery/delta/{version:06d}.jsonl.gz"]
    signed.sign()
    Follower(board).poll()
    check(board, model, signed)
    assert board_state(board).pending == 1


def test_a_gap_without_a_full_file_is_an_error(board: Path, signed: SignedFolder) -> None:
    Follower(board).poll()
    model = Model()
    publish(signed, model, picture("cat", 1))
    publish(signed, model, picture("cat", 2))
    for name in ("delta/000002", "full/000001"):
        del signed.targets.targets[f"gallery/{name}.jsonl.gz"]
    signed.sign()
    with pytest.raises(FleetUnreachableError, match="no files lead to it from 1"):
        Follower(board).poll()


def test_another_content_is_repaired_by_the_full_file(board: Path, signed: SignedFolder) -> None:
    model, follower = Model(), Follower(board)
    publish(signed, model, picture("cat", 1), picture("cat", 2), full=True)
    follower.poll()
    with open_gallery(board) as gallery:
        gallery.remove(label="cat")
    publish(signed, model, picture("dog", 3))
    follower.poll()
    check(board, model, signed)
    assert board_state(board).pending == 1
    # A change by hand without a new version is found at the next start.
    with open_gallery(board) as gallery:
        gallery.relabel("cat", "tom")
    Follower(board).poll()
    check(board, model, signed)


def test_content_that_no_file_gives_is_refused(board: Path, signed: SignedFolder) -> None:
    model, follower = Model(), Follower(board)
    follower.poll()
    before = board_state(board)
    model.apply([picture("cat", 1)], full=False)
    signed.publish([picture("cat", 2)], model, content=([picture("cat", 3)], []), full=True)
    with pytest.raises(EdgeRuntimeError, match="leads to the content"):
        follower.poll()
    assert board_state(board) == before


def test_files_that_do_not_match_their_names_are_refused(board: Path, signed: SignedFolder) -> None:
    Follower(board).poll()
    model = Model()
    model.apply([picture("cat", 1)], full=False)
    data = packed(head(3, None, model.pictures()), model.pictures())
    custom = {"version": 2, "model_id": head(1, None).model_id}
    signed.put("gallery/full/000002.jsonl.gz", data, custom)
    signed.sign()
    with pytest.raises(FleetFormatError, match="contains version 3"):
        Follower(board).poll()


def test_a_version_of_another_model_waits_for_its_rollout(
    board: Path, signed: SignedFolder
) -> None:
    follower = Follower(board)
    follower.poll()
    other = replace(head(2, None), model_id="ff" * 32)
    custom = {"version": 2, "model_id": other.model_id}
    signed.put("gallery/full/000002.jsonl.gz", packed(other, []), custom)
    signed.sign()
    poll = follower.poll()
    assert (poll.newest, poll.applied, poll.other_model) == (1, None, other.model_id)
    # The signed facts and the file disagree.
    signed.put(
        "gallery/full/000002.jsonl.gz", packed(other, []), {"model_id": head(1, None).model_id}
    )
    signed.sign()
    with pytest.raises(FleetModelError):
        follower.poll()


def test_a_rollout_is_handed_over_at_each_poll(board: Path, signed: SignedFolder) -> None:
    seen: list[bytes] = []
    follower = Follower(board, on_rollout=seen.append)
    follower.poll()
    for content in (b'{"id": "a"}', b'{"id": "b"}'):
        signed.put("rollout.json", content, {})
        signed.sign()
        follower.poll()
    follower.poll()
    assert seen == [b'{"id": "a"}', b'{"id": "b"}', b'{"id": "b"}']
