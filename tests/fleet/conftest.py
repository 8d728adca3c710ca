"""What the tests of following share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime.fleet.follower import Follower
from tests.support.fleet import enroll, open_gallery, picture
from tests.support.fleet.following import MINE, join, publish
from tests.support.fleet.model import Model
from tests.support.fleet.repository import SignedFolder
from tests.support.fleet.serving import Server


@pytest.fixture
def signed(tmp_path: Path) -> SignedFolder:
    return SignedFolder(tmp_path / "public")


@pytest.fixture
def board(tmp_path: Path, signed: SignedFolder) -> Path:
    """A gallery that has joined a folder, with a picture of its own."""
    path = tmp_path / "board" / "gallery.sqlite"
    with open_gallery(path) as gallery:
        enroll(gallery, MINE)
    join(path, str(signed.folder), signed)
    return path


@pytest.fixture
def server(signed: SignedFolder) -> Iterator[Server]:
    opened = Server(signed.folder)
    yield opened
    opened.close()


@pytest.fixture
def followed(board: Path, signed: SignedFolder) -> Path:
    """The same at version 2."""
    Follower(board).poll()
    publish(signed, Model(), picture("cat", 1))
    Follower(board).poll()
    return board
