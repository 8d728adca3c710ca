"""A desk rolls out a model: signed files, waves, halts, its own gallery, and back."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from edge_runtime.desk.edit import accept_by_rule
from edge_runtime.desk.folder import Desk
from edge_runtime.desk.intake import limits_of, take, take_status
from edge_runtime.desk.publish import publish
from edge_runtime.desk.rollout import steps
from edge_runtime.desk.rollout.decision import Limits
from edge_runtime.desk.rollout.steps import abort, reports, resume, situation, start, step
from edge_runtime.errors import BundleInvalidError, BundleUnverifiedError, DeskError
from edge_runtime.fleet.operations import read_version
from edge_runtime.fleet.waves import Rollout
from edge_runtime.gallery import Gallery
from tests.support.fleet import MODEL, enroll, picture
from tests.support.fleet.desk import (
    make_plain_bundle,
    new_desk,
    proposal,
    propose,
    rolled,
    status,
)

NEW = replace(MODEL, id="ab" * 32)
QUICK = Limits(wait_s=0.0)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return new_desk(tmp_path, picture("cup", 1), picture("key", 2))


def moved(folder: Path, *numbers: int) -> Path:
    """The desk's gallery, moved to the new model."""
    path = folder / "moved.sqlite"
    with Gallery(path, NEW, create=True) as gallery:
        enroll(gallery, *(picture("cup", number) for number in numbers))
    return path


def say(desk: Desk, rollout: Rollout, **states: str) -> None:
    messages = []
    for board, state in states.items():
        report = {
            "id": rollout.id,
            "attempt": rollout.attempt,
            "state": state,
            "why": "did not start" if state == "failed" else "",
            "cpu": "rpi4",
        }
        messages.append((board, status(board, 1, rollout=report), False))
    take_status(desk.store, messages)


def test_a_bundle_is_signed_and_goes_through_its_waves(desk: Desk, tmp_path: Path) -> None:
    bundle = make_plain_bundle(tmp_path / "bundle")
    rollout = start(desk, bundle, waves=(50.0, 100.0))
    assert rolled(desk) == rollout
    assert (rollout.cpu, rollout.percent, rollout.state) == ("rpi4", 50.0, "running")
    with tarfile.open(fileobj=io.BytesIO(desk.repository().read(rollout.archive))) as tar:
        assert sorted(tar.getnames()) == ["model/manifest.json", "model/model.onnx"]
    boards = [f"b{number}" for number in range(8)]
    first = [board for board in boards if rollout.includes(board)]
    assert 0 < len(first) < len(boards)
    say(desk, rollout, **dict.fromkeys(boards, "waiting"))
    assert (found := step(desk)) and found.action == "keep"
    say(desk, rollout, **dict.fromkeys(first, "ready"))
    assert (found := step(desk)) and found.action == "advance"
    assert rolled(desk).percent == 100.0
    say(desk, rollout, **dict.fromkeys(boards, "ready"))
    assert (found := step(desk)) and found.action == "finish"
    assert rolled(desk).state == "done"
    assert step(desk) is None
    again = start(desk, make_plain_bundle(bundle, text="another"))
    assert again.previous == rollout.id
    assert rollout.archive not in desk.repository().files


def test_it_halts_resumes_and_is_taken_back(desk: Desk, tmp_path: Path) -> None:
    rollout = start(desk, make_plain_bundle(tmp_path / "bundle"), waves=(100.0,))
    say(desk, rollout, hall="ready", garden="failed")
    assert (found := step(desk)) and found.action == "halt"
    assert rolled(desk).state == "halted"
    now = situation(desk)
    assert now and now.course.why == "garden: did not start"
    assert (now.progress.ready, len(now.progress.failed)) == (("hall",), 1)
    with pytest.raises(DeskError, match="is halted"):
        start(desk, tmp_path / "bundle")
    assert resume(desk).attempt == 2
    with pytest.raises(DeskError, match="not halted"):
        resume(desk)
    assert (
        found := step(desk)
    ) and found.action == "keep"  # what they said was of the attempt before
    say(desk, rolled(desk), hall="ready", garden="ready")
    assert (found := step(desk)) and found.action == "finish"
    assert abort(desk).state == "aborted" == rolled(desk).state
    assert start(desk, tmp_path / "bundle").attempt == 3  # the same bundle again


def test_another_model_brings_its_gallery_and_the_desk_adopts_it(
    desk: Desk, tmp_path: Path
) -> None:
    bundle, gallery = make_plain_bundle(tmp_path / "bundle", NEW.id), moved(tmp_path, 1)
    rollout = start(desk, bundle, gallery=gallery, waves=(100.0,))
    gallery.unlink()  # the desk has a copy
    file = io.BytesIO(desk.repository().read(rollout.gallery_file))
    head, operations = read_version(file)
    assert (head.version, head.base, head.model_id) == (1, None, NEW.id)
    assert [type(each).__name__ for each in operations] == ["Add"]
    with desk.gallery() as present:
        enroll(present, picture("late", 3))
    assert (version := publish(desk)) and version.number == 2  # boards of the old model go on

    say(desk, rollout, hall="ready")
    assert (found := step(desk)) and found.action == "finish"
    with desk.gallery(read_only=True) as present:
        assert (present.model_id, set(present.labels())) == (NEW.id, {"cup"})
    newest = desk.store.versions()[0]
    assert newest.number == 3
    assert "pictures added since it began" in newest.note  # 2 and 3 are only in the old one
    assert desk.repository().custom("gallery/full/000003.jsonl.gz")["model_id"] == NEW.id

    abort(desk)
    with desk.gallery(read_only=True) as present:
        assert (present.model_id, set(present.labels())) == (MODEL.id, {"cup", "key", "late"})
    assert desk.store.versions()[0].number == 4


def test_proposals_of_the_earlier_model_wait_for_the_new_one(desk: Desk, tmp_path: Path) -> None:
    """None is rejected, and no code of the earlier model gets into the new gallery."""
    bundle, gallery = make_plain_bundle(tmp_path / "bundle", NEW.id), moved(tmp_path, 1)
    rollout = start(desk, bundle, gallery=gallery, waves=(100.0,))
    propose(desk, "hall", picture("accepted", 7))
    assert accept_by_rule(desk, "all") == 1
    propose(desk, "hall", picture("waiting", 8))
    say(desk, rollout, hall="ready")
    assert (found := step(desk)) and found.action == "finish"
    assert desk.store.count_proposals() == {"pending": 2, "accepted": 0, "rejected": 0}
    assert accept_by_rule(desk, "all") == 0
    again = [proposal("hall", picture("waiting", 8), NEW.id)]
    assert take(desk.store, [("hall", line) for line in again], limits_of(desk)).known == 1
    assert accept_by_rule(desk, "all") == 1
    with desk.gallery(read_only=True) as present:
        assert set(present.labels()) == {"cup", "waiting"}


def test_a_kill_before_any_signature_of_the_last_step(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollout = start(
        desk,
        make_plain_bundle(tmp_path / "bundle", NEW.id),
        gallery=moved(tmp_path, 1),
        waves=(100.0,),
    )
    say(desk, rollout, hall="ready")
    for name in ("restore", "publish_with", "_publish"):

        def killed(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(steps, name, killed)
            step(desk)
        assert rolled(desk).state == "running"
    assert (found := step(desk)) and found.action == "finish"
    assert [version.number for version in desk.store.versions()] == [2, 1]


def test_what_cannot_be_rolled_out(desk: Desk, tmp_path: Path) -> None:
    bundle = make_plain_bundle(tmp_path / "bundle")
    with pytest.raises(DeskError, match="compiled for rpi4, not for rpi5"):
        start(desk, bundle, cpu="rpi5")
    with pytest.raises(DeskError, match="can use the desk's gallery"):
        start(desk, bundle, gallery=desk.gallery_path)
    other = make_plain_bundle(tmp_path / "other", NEW.id)
    with pytest.raises(DeskError, match="cannot use the codes of the desk's gallery"):
        start(desk, other)
    with pytest.raises(DeskError, match="belongs to model"):
        start(desk, other, gallery=desk.gallery_path)
    (bundle / "model.onnx").write_text("Network")
    with pytest.raises(BundleInvalidError, match="damaged"):
        start(desk, bundle)
    (other / "manifest.json").write_text(
        (other / "manifest.json").read_text().replace('"format"', '"verified": false, "format"')
    )
    with pytest.raises(BundleUnverifiedError):
        start(desk, other)
    for action in (resume, abort):
        with pytest.raises(DeskError, match="no roll-out has been started"):
            action(desk)
    assert situation(desk) is None and step(desk) is None
    assert not any(name.startswith("release/") for name in desk.repository().files)


def test_a_board_may_say_anything(desk: Desk, tmp_path: Path) -> None:
    rollout = start(desk, make_plain_bundle(tmp_path / "bundle"), waves=(100.0,), limits=QUICK)
    said: list[object] = [None, 7, [], {"id": 1}, {"id": rollout.id, "attempt": "x"}]
    for number, each in enumerate(said):
        name = f"b{number}"
        take_status(desk.store, [(name, status(name, 1, rollout=each), False)])
    assert {(board.cpu, board.state) for board in reports(desk)} == {("", "")}
    assert (found := step(desk)) and found.action == "keep"  # none says its target
