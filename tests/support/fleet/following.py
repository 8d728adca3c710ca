"""A board that follows signed files from a folder or a file server, while it recognizes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import pytest

from edge_runtime.errors import FleetSignatureError
from edge_runtime.fleet.content import gallery_digest, pending_pictures, shared_content
from edge_runtime.fleet.follower import Follower, board_state
from edge_runtime.fleet.following.joined import Joined, write_joined
from edge_runtime.fleet.operations import Operation
from edge_runtime.gallery import Gallery
from tests.support.fleet import codes_of, open_gallery, picture
from tests.support.fleet.model import Model
from tests.support.fleet.repository import SignedFolder

MINE = picture("mine", 1000)
"""What the board of these tests has enrolled itself."""


def join(gallery: Path, url: str, signed: SignedFolder) -> None:
    write_joined(gallery, Joined("kitchen", url, "test"), signed.trust.read_bytes())


def begin_answer(handler: SimpleHTTPRequestHandler, length: int | None) -> None:
    handler.send_response(200)
    if length is not None:
        handler.send_header("Content-Length", str(length))
    handler.end_headers()


def publish(signed: SignedFolder, model: Model, *operations: Operation, full: bool = False) -> None:
    model.apply(operations, full=False)
    signed.publish(operations, model, full=full)


def check(path: Path, model: Model, signed: SignedFolder) -> None:
    with open_gallery(path) as gallery:
        assert set(shared_content(gallery)) == set(model.pictures())
    assert board_state(path).version == signed.version


@contextmanager
def recognizing(gallery: Path) -> Iterator[None]:
    """Ask for the board's own picture all the time, as the daemon does, inside the block.

    Each answer must be right, and there must be one inside the block and one after it.
    """
    code = codes_of(MINE)[0].code
    wrong: list[object] = []
    answers, end = threading.Semaphore(0), threading.Event()

    def ask() -> None:
        with Gallery(gallery, read_only=True) as opened:
            while not end.is_set():
                try:
                    (match,) = opened.search(code, 1)
                    if (match.label, match.distance) != (MINE.label, 0):
                        wrong.append(match)
                except Exception as error:
                    wrong.append(error)
                answers.release()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        assert answers.acquire(timeout=60)
        yield
        for _ in range(2):  # one may have begun before the end of the block
            while answers.acquire(blocking=False):
                pass
            assert answers.acquire(timeout=60)
    finally:
        end.set()
        thread.join()
    assert wrong == []


def refused(board: Path, match: str, kind: type[Exception] = FleetSignatureError) -> None:
    """Refused twice with one line: the gallery stays as it is, and answers all the time."""
    before = board_state(board)
    with open_gallery(board) as gallery:
        content = gallery_digest(gallery)
    with recognizing(board):
        for _ in range(2):
            with pytest.raises(kind, match=match) as caught:
                Follower(board).poll()
            assert "\n" not in str(caught.value)
    assert board_state(board) == before
    with open_gallery(board) as gallery:
        assert gallery_digest(gallery) == content
        assert len(list(pending_pictures(gallery))) == before.pending
