"""Downloads that break: the rest is fetched at the next try, and is checked like the whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import pytest

from edge_runtime.errors import FleetSignatureError, FleetUnreachableError
from edge_runtime.fleet.follower import Follower, board_state
from edge_runtime.fleet.following.fetching import PART
from edge_runtime.fleet.following.joined import Joined, folder_of, write_joined
from tests.support.fleet import open_gallery, picture
from tests.support.fleet.model import Model
from tests.support.fleet.repository import SignedFolder
from tests.support.fleet.serving import Server

DELTA = "000002.jsonl.gz"


class CutServer(Server):
    """Sends half of the delta while `cut`; `ranges` are the ranges that it was asked for."""

    def __init__(self, signed: SignedFolder) -> None:
        super().__init__(signed.folder)
        self.cut, self.knows_ranges, self.sent = True, True, 0
        self.ranges: list[int] = []
        self.answer = self._delta

    def _delta(self, handler: SimpleHTTPRequestHandler) -> bool:
        if not handler.path.endswith(DELTA):
            return False
        data = (self.folder / handler.path.lstrip("/")).read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        begin = 0
        if asked:
            self.ranges.append(int(asked[1]))
            begin = int(asked[1]) if self.knows_ranges else 0
        handler.send_response(206 if begin else 200)
        if begin:
            handler.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        handler.send_header("Content-Length", str(len(data) - begin))
        handler.end_headers()
        body = data[begin : len(data) // 2] if self.cut else data[begin:]
        self.sent += len(body)
        handler.wfile.write(body)
        return True


@pytest.fixture
def signed(tmp_path: Path) -> SignedFolder:
    """A fleet whose second version has 300 pictures."""
    folder, model = SignedFolder(tmp_path / "public"), Model()
    operations = [picture("cat", number) for number in range(300)]
    model.apply(operations, full=False)
    folder.publish(operations, model)
    return folder


@pytest.fixture
def server(signed: SignedFolder) -> Iterator[CutServer]:
    opened = CutServer(signed)
    yield opened
    opened.close()


@pytest.fixture
def cut(tmp_path: Path, signed: SignedFolder, server: CutServer) -> Path:
    """A board whose download of the second version broke."""
    path = tmp_path / "gallery.sqlite"
    open_gallery(path).close()
    write_joined(path, Joined("kitchen", server.url, "test"), signed.trust.read_bytes())
    with pytest.raises(FleetUnreachableError, match="cannot be fetched"):
        Follower(path).poll()
    (part,) = _parts(path)
    assert part.stat().st_size > 0
    server.cut = False
    return path


def _parts(gallery: Path) -> list[Path]:
    return list((folder_of(gallery) / "targets").glob("*" + PART))


def _check(gallery: Path) -> None:
    Follower(gallery).poll()
    assert board_state(gallery).version == 2
    assert not _parts(gallery)


def test_only_the_rest_is_fetched(cut: Path, server: CutServer) -> None:
    size = _parts(cut)[0].stat().st_size
    before = server.sent
    _check(cut)
    assert server.ranges == [size]
    assert server.sent - before == len(next(server.folder.rglob(f"*{DELTA}")).read_bytes()) - size


def test_a_server_without_ranges_sends_it_again(cut: Path, server: CutServer) -> None:
    server.knows_ranges = False
    _check(cut)
    assert server.ranges


def test_a_damaged_part_is_refused_and_fetched_again(cut: Path) -> None:
    (part,) = _parts(cut)
    part.write_bytes(bytes(part.stat().st_size))
    with pytest.raises(FleetSignatureError, match="was changed"):
        Follower(cut).poll()
    _check(cut)


def test_a_part_that_is_longer_than_the_file_is_dropped(cut: Path) -> None:
    (part,) = _parts(cut)
    part.write_bytes(bytes(1 << 20))
    _check(cut)


def test_the_part_of_a_version_that_is_gone_is_deleted(cut: Path, signed: SignedFolder) -> None:
    stale = _parts(cut)[0].with_name("0" * 64 + PART)
    stale.write_bytes(b"x")
    signed.stamp()
    _check(cut)
    assert not stale.exists()
