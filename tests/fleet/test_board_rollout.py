"""A board's part in a roll-out: what it asks root for, and the gallery of the new model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.code import Embedding
from edge_runtime.errors import FleetSignatureError, FleetUnreachableError
from edge_runtime.fleet.carry import carry_over
from edge_runtime.fleet.content import content_digest
from edge_runtime.fleet.kinds import Head
from edge_runtime.fleet.rollout import Rollouts, gallery_for, home_of, siblings
from edge_runtime.fleet.spool import Spool
from edge_runtime.fleet.waves import Rollout
from edge_runtime.gallery import Gallery, LabeledCode
from edge_runtime.gallery.shared import count_pending
from tests.support.fleet import (
    BITS,
    MODEL,
    codes_of,
    digest_of,
    enroll,
    open_gallery,
    packed,
    picture,
)

NEW = replace(MODEL, id="ab" * 32)
ROLLOUT = Rollout("0123456789ab", "rpi4", NEW.id, 100.0, (100.0,), "running", gallery=True)
SHARED = [picture("cup", 1), picture("key", 2)]


class Board:
    """A board with a release, whose root is played by the test."""

    def __init__(self, folder: Path) -> None:
        self.prefix, self.state = folder / "opt", folder / "state"
        self.state.mkdir()
        self.gallery = self.state / "gallery.sqlite"
        with open_gallery(self.gallery) as gallery:
            enroll(gallery, picture("mug", 7))
        model = self.prefix / "releases" / "base" / "model"
        model.mkdir(parents=True)
        (model / "manifest.json").write_text(json.dumps({"target": {"name": "rpi4"}}))
        (self.prefix / "rollout.py").touch()
        (self.prefix / "current").symlink_to("releases/base")
        self.spool = Spool(self.state / "rollout", self.prefix)
        self.fetched: list[str] = []
        self.files = folder / "served"
        (self.files / "release").mkdir(parents=True)
        (self.files / ROLLOUT.archive).write_bytes(b"a tar")
        content = content_digest(SHARED, ())
        head = Head(5, None, NEW.id, BITS, content)
        (self.files / ROLLOUT.gallery_file).write_bytes(packed(head, SHARED))

    def fetch(self, name: str) -> Path:
        self.fetched.append(name)
        return self.files / name

    def follow(self, rollout: Rollout = ROLLOUT, **change: object) -> tuple[str, str]:
        board = Rollouts("hall", self.gallery, self.spool)
        report = board.follow(replace(rollout, **change).to_bytes(), self.fetch)  # type: ignore[arg-type]
        assert report["cpu"] == "rpi4"
        return str(report["state"]), str(report["why"])

    def answer(self, state: str, **change: object) -> None:
        asked = self.spool.pending()
        record = {
            **{name: asked[name] for name in ("id", "attempt", "action")},
            "state": state,
            "why": "",
            "release": "new",
            "tries": 1,
            "time": 0.0,
        }
        (self.prefix / "rollout.json").write_text(json.dumps({**record, **change}))

    def switch(self, release: str) -> None:
        model = self.prefix / "releases" / release / "model"
        model.mkdir(parents=True, exist_ok=True)
        (model / "manifest.json").write_text(json.dumps({"target": {"name": "rpi4"}}))
        (self.prefix / "current").unlink()
        (self.prefix / "current").symlink_to(f"releases/{release}")


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path)


def test_a_board_prepares_the_gallery_and_asks_root(board: Board) -> None:
    assert board.follow() == ("asked", "")
    request = board.spool.pending()
    assert (request["id"], request["attempt"], request["action"]) == (ROLLOUT.id, 1, "install")
    assert request["gallery"] == "gallery-abababababab.sqlite"
    assert (board.spool.folder / f"{ROLLOUT.id}.tar").read_bytes() == b"a tar"
    with Gallery(board.state / request["gallery"], NEW) as gallery:
        assert gallery.labels() == {"cup": 2, "key": 2}
    # The fleet's state and the history stay the board's.
    assert (board.state / f"{request['gallery']}.fleet").readlink() == Path("gallery.sqlite.fleet")
    history = board.state / "gallery-abababababab.history.sqlite"
    assert history.readlink() == Path("gallery.history.sqlite")
    with Gallery(board.gallery, MODEL) as gallery:
        assert gallery.labels() == {"mug": 2}

    state, why = board.follow()
    assert state == "asked" and "edge-runtime-rollout.path" in why
    board.answer("working")
    assert board.follow() == ("working", "")
    board.switch("new")
    board.answer("ready")
    assert board.follow() == ("ready", "")
    assert len(board.fetched) == 2
    assert not list(board.spool.folder.glob("*.tar"))
    board.switch("base")  # release.py left it, because a file was damaged
    assert board.follow() == ("left", "the board runs release base now")


def test_a_failure_is_final_until_the_desk_tries_again(board: Board) -> None:
    board.follow()
    board.answer("failed", why="release new did not become ready in 60 s")
    assert board.follow() == ("failed", "release new did not become ready in 60 s")
    assert board.follow(state="halted")[0] == "failed"
    assert board.follow(attempt=2) == ("asked", "")
    assert board.spool.pending()["attempt"] == 2


def test_an_aborted_roll_out_is_taken_back_where_it_was_installed(board: Board) -> None:
    assert board.follow(state="aborted") == ("waiting", "")
    assert not board.spool.pending()
    board.follow()
    board.answer("ready")
    board.switch("new")
    assert board.follow(state="aborted") == ("asked", "")
    assert board.spool.pending() == {"id": ROLLOUT.id, "attempt": 1, "action": "back"}
    board.switch("base")
    board.answer("back")
    assert board.follow(state="aborted") == ("back", "")
    assert board.follow(attempt=2) == ("asked", "")


def test_who_does_not_take_part(board: Board) -> None:
    assert board.follow(percent=0.0) == ("waiting", "")
    assert board.follow(state="halted") == ("waiting", "")
    assert board.follow(cpu="rpi5") == ("other", "")
    (board.prefix / "rollout.py").unlink()
    assert board.follow()[0] == "other"
    assert board.fetched == []


def test_what_cannot_be_fetched_or_believed_changes_nothing(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(_name: str) -> Path:
        raise FleetUnreachableError("no answer", where="release")

    def tampered(name: str) -> Path:
        raise FleetSignatureError("was changed after it was signed", where=name)

    fetch = board.fetch
    monkeypatch.setattr(board, "fetch", unreachable)
    assert board.follow(gallery=False) == ("waiting", "release: no answer")
    monkeypatch.setattr(board, "fetch", tampered)
    state, why = board.follow(gallery=False)
    assert state == "failed" and why.endswith("was changed after it was signed")
    assert not board.spool.pending()
    monkeypatch.setattr(board, "fetch", fetch)  # the file server was repaired
    head = Head(5, None, MODEL.id, BITS, content_digest(SHARED, ()))
    (board.files / ROLLOUT.gallery_file).write_bytes(packed(head, SHARED))
    assert "not a full file for the model" in board.follow()[1]
    assert board.follow(gallery=False) == ("asked", "")
    assert (
        Rollouts("hall", board.gallery, board.spool).follow(b"{", board.fetch)["state"] == "failed"
    )


def test_the_gallery_of_a_model_is_found_again(board: Board) -> None:
    other = board.state / "gallery-cdcdcdcdcdcd.sqlite"
    with Gallery(other, NEW, create=True):
        pass
    assert gallery_for(board.gallery, NEW.id) == other
    assert gallery_for(other, MODEL.id) == board.gallery
    assert gallery_for(other, "ef" * 32) == board.state / "gallery-efefefefefef.sqlite"
    assert home_of(other) == home_of(board.gallery) == board.gallery
    (board.state / "gallery.history.sqlite").touch()
    (board.state / "gallery-cdcdcdcdcdcd.history.sqlite").touch()
    assert list(siblings(other)) == [board.gallery]


def test_pending_pictures_come_along_once_if_they_were_kept(board: Board) -> None:
    """In both directions, and a rejected one does not return."""
    kept = [replace(code, picture=b"jpeg" if not view else b"") for view, code in
            enumerate(codes_of(picture("vase", 8)))]  # fmt: skip
    with Gallery(board.gallery) as gallery:
        gallery.enroll(kept)
        gallery.enroll([replace(kept[0], label="frame", digest=None)])
    new = board.state / "gallery-abababababab.sqlite"
    with Gallery(new, NEW, create=True):
        pass
    hashed: list[Sequence[int]] = []

    def embed(jpeg: bytes, views: Sequence[int]) -> list[Embedding]:
        assert jpeg == b"jpeg"
        hashed.append(views)
        return [Embedding(np.full(1, view, np.uint64), None) for view in views]

    done = carry_over(new, lambda: embed)
    assert (done.pictures, done.left) == (2, {"gallery.sqlite": 1})  # the mug was not kept
    with Gallery(new) as gallery:
        assert gallery.labels() == {"vase": 2, "frame": 1}
        assert gallery.known("vase", digest_of(8))
        with gallery.reading() as connection:
            assert count_pending(connection) == 2
        gallery.remove(label="vase")  # as a version does that rejects it
    done = carry_over(new, lambda: embed)
    assert (done.pictures, len(hashed)) == (0, 2)
    with Gallery(new) as gallery:
        gallery.enroll([LabeledCode("late", kept[0].code, digest=digest_of(9), picture=b"jpeg")])
    done = carry_over(board.gallery, lambda: embed)  # after a rollback
    assert (done.pictures, done.left) == (1, {})
    with Gallery(board.gallery) as gallery:
        assert gallery.labels() == {"mug": 2, "vase": 2, "frame": 1, "late": 1}
