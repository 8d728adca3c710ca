"""What a board has joined."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_runtime.errors import (
    EdgeRuntimeError,
    FleetSignatureError,
    FleetUnreachableError,
    InputError,
    NotJoinedError,
)
from edge_runtime.fleet.follower import Follower
from edge_runtime.fleet.following.joined import (
    Joined,
    folder_of,
    forget_joined,
    read_joined,
    write_joined,
)
from edge_runtime.fleet.following.repository import Repository
from tests.support.fleet.following import join
from tests.support.fleet.repository import SignedFolder


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
        join(board, url, signed)
        with pytest.raises(InputError, match="https://"):
            Follower(board)
    write_joined(board, Joined("kitchen", str(signed.folder)), b"{}")
    with pytest.raises(FleetSignatureError, match=r"root\.json cannot be believed"):
        Follower(board)
    assert json.loads((folder_of(board) / "join.json").read_text())["board"] == "kitchen"


def test_a_token_in_the_address_is_not_shown(
    tmp_path: Path, signed: SignedFolder, caplog: pytest.LogCaptureFixture
) -> None:
    url = "http://127.0.0.1:9/Zq1S3cret?token=Zq2S3cret"
    repository = Repository(url, tmp_path / "fetched", signed.trust.read_bytes())
    with pytest.raises(FleetUnreachableError) as caught:
        repository.refresh()
    for text in (str(caught.value), caplog.text):
        assert "S3cret" not in text
