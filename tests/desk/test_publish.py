"""Versions: what they hold, which files are kept, and that a kill leaves the old or the new one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.desk.difference import Content, content_of, difference
from edge_runtime.desk.edit import Choice, accept, chosen, reject, roll_back
from edge_runtime.desk.folder import Desk
from edge_runtime.desk.intake import take_status
from edge_runtime.desk.publish import publish, signed_version
from edge_runtime.desk.record import Record
from edge_runtime.desk.store import ACCEPTED, PENDING, REJECTED
from edge_runtime.errors import DeskError, InputError
from edge_runtime.fleet.content import content_digest, every_label, every_picture
from edge_runtime.fleet.operations import Add, Head, Label, Operation, Reject, Relabel, Remove
from edge_runtime.gallery import Gallery
from tests.support.fleet import JPEG, enroll, picture
from tests.support.fleet.desk import new_desk, propose, status
from tests.support.fleet.tuf_client import TufClient, file_server


def _operations(desk: Desk, version: int) -> list[Operation]:
    return list(Record(desk.published).named_in(version))


def _content(gallery: Gallery) -> str:
    return content_digest(list(every_picture(gallery)), list(every_label(gallery)))


def _pending(desk: Desk) -> list[bytes]:
    return [each.digest for each in desk.store.proposals(PENDING)]


def test_a_new_desk_has_version_1(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, picture("cat", 1), picture("dog", 2))
    (version,) = desk.store.versions()
    assert (version.number, version.pictures, version.labels) == (1, 2, 2)
    assert set(desk.repository().files) == {"fleet.json", "gallery/full/000001.jsonl.gz"}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".desk")]


def test_nothing_is_published_without_a_change(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, picture("cat", 1))
    assert publish(desk) is None
    assert signed_version(desk.repository()) == 1


def test_a_board_reads_each_version(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, *(picture("cat", number) for number in range(40)))
    with file_server(desk.public) as url:
        client = TufClient(tmp_path / "client", url, desk.root.read_bytes())
        with desk.gallery() as gallery:
            enroll(gallery, picture("dog", 100))
        version = publish(desk)
        assert version is not None
        _, custom = client.read("gallery/delta/000002.jsonl.gz")
        assert custom == {
            "version": 2,
            "base": 1,
            "content": version.content,
            "model_id": Record(desk.published).head(2).model_id,
        }
        assert b'"version": 2' in client.read("fleet.json")[0]
    assert _operations(desk, 2) == [picture("dog", 100)]


def test_a_renamed_label_is_one_operation(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, *(picture("cat", number) for number in range(9)))
    with desk.gallery() as gallery:
        gallery.set_payload("cat", '{"a": 1}')
    publish(desk)
    with desk.gallery() as gallery:
        gallery.relabel("cat", "tom")
    publish(desk)
    assert _operations(desk, 2) == [Label("cat", '{"a": 1}')]
    assert _operations(desk, 3) == [Label("cat"), Relabel("cat", "tom"), Label("tom", '{"a": 1}')]


def test_a_label_with_its_pictures_is_one_removal(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, *(picture("cat", n) for n in range(9)), picture("dog", 10))
    with desk.gallery() as gallery:
        gallery.remove(label="cat")
        gallery.set_thumbnail("dog", JPEG)
    publish(desk)
    assert _operations(desk, 2) == [Remove("cat"), Label("dog", thumbnail=JPEG)]


_LABELS = st.sampled_from(["a", "b", "c", "d"])
_NUMBERS = st.integers(0, 8)
_PICTURES = st.lists(
    st.builds(
        lambda label, number, f: picture(label, number, features=f),
        _LABELS,
        _NUMBERS,
        st.booleans(),
    ),
    max_size=20,
    unique_by=lambda add: (add.label, add.digest),
)
_DATA = st.dictionaries(_LABELS, st.sampled_from(['{"x": 1}', "2", "[3]"]), max_size=4)


@given(_PICTURES, _DATA, _PICTURES, _DATA)
def test_the_difference_leads_to_the_new_content(
    before: list[Add], data_before: dict[str, str], after: list[Add], data_after: dict[str, str]
) -> None:
    old = content_of(before, [Label(name, text) for name, text in data_before.items()])
    labels = [Label(name, text) for name, text in data_after.items()]
    new = content_of(after, labels)
    labels = [each for each in labels if each.label in new.pictures]
    operations = list(
        difference(content_of(before, _labels(data_before)), new).operations(after, labels)
    )
    for _ in range(2):  # twice does the same as once
        for operation in operations:
            old.apply(operation)
        assert (old.pictures, old.labels) == (new.pictures, new.labels)
    assert not difference(old, new)


def _labels(data: dict[str, str]) -> Iterable[Label]:
    return [Label(name, text) for name, text in data.items()]


def test_proposals_are_named_when_they_are_decided(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, picture("cat", 1))
    propose(desk, "north", picture("dog", 2), picture("hen", 3), picture("cow", 4))
    by_label = {each.label: each for each in desk.store.proposals()}
    assert accept(desk, [by_label["dog"]], "wolf") == 1
    assert reject(desk, [by_label["hen"]]) == 1
    version = publish(desk)
    assert version is not None
    assert _operations(desk, 2) == [picture("wolf", 2), Reject(picture("hen", 3).digest)]
    assert _pending(desk) == [picture("cow", 4).digest]
    states = {each.label: each for each in desk.store.proposals(None)}
    assert (states["dog"].state, states["dog"].decided_as) == (ACCEPTED, "wolf")
    assert states["hen"].state == REJECTED
    assert {states[name].version for name in ("dog", "hen")} == {2}


def test_what_the_gallery_has_already_is_named_again(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, picture("cat", 1))
    propose(desk, "north", picture("kitten", 1))
    publish(desk)
    assert _operations(desk, 2) == [picture("cat", 1)]
    (known,) = desk.store.proposals(None)
    assert (known.state, known.decided_as) == (ACCEPTED, "cat")


def test_what_was_accepted_and_removed_before_a_version_is_rejected(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, picture("cat", 1))
    propose(desk, "north", picture("dog", 2))
    accept(desk, desk.store.proposals())
    with desk.gallery() as gallery:
        gallery.remove(label="dog")
    publish(desk)
    assert _operations(desk, 2) == [Reject(picture("dog", 2).digest)]


def test_a_board_that_saw_the_decision_is_told_again(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, picture("cat", 1))
    propose(desk, "north", picture("dog", 2), picture("hen", 3))
    accept(desk, chosen(desk, Choice(label="dog")))
    reject(desk, chosen(desk, Choice(label="hen")))
    publish(desk)
    assert propose(desk, "north", picture("dog", 2)).again == 0  # it has yet to see version 2
    take_status(desk.store, [("north", status("north", 2), False)])
    assert propose(desk, "north", picture("dog", 2), picture("hen", 3)).again == 2
    publish(desk)
    assert _operations(desk, 3) == [picture("dog", 2), Reject(picture("hen", 3).digest)]
    assert publish(desk) is None


def test_what_was_removed_since_can_be_proposed_again(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, picture("cat", 1))
    propose(desk, "north", picture("dog", 2))
    accept(desk, desk.store.proposals())
    publish(desk)
    with desk.gallery() as gallery:
        gallery.remove(label="dog")
    publish(desk)
    take_status(desk.store, [("north", status("north", 3), False)])
    propose(desk, "north", picture("dog", 2))
    assert publish(desk) is None
    assert _pending(desk) == [picture("dog", 2).digest]
    accept(desk, desk.store.proposals())
    publish(desk)
    assert _operations(desk, 4) == [picture("dog", 2)]


@pytest.mark.slow
def test_old_deltas_go_when_a_second_full_file_follows(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, *(picture("cat", number) for number in range(30)))
    fulls = []
    for number in range(100, 160):
        with desk.gallery() as gallery:
            enroll(gallery, picture("dog", number))
        publish(desk)
        files = set(desk.repository().files)
        fulls = sorted(int(name[13:19]) for name in files if name.startswith("gallery/full/"))
        deltas = sorted(int(name[14:20]) for name in files if name.startswith("gallery/delta/"))
        assert len(fulls) <= 2
        # From the older full file, each later version has its delta.
        assert deltas == list(range(fulls[0] + 1, desk.store.last_version() + 1))
    assert len(fulls) == 2
    assert fulls[0] > 1


def test_a_rollback_is_a_new_version_with_the_old_content(tmp_path: Path) -> None:
    first = [picture("cat", number, features=True) for number in range(5)]
    desk = new_desk(tmp_path, *first)
    with desk.gallery() as gallery:
        gallery.set_thumbnail("cat", JPEG)
    publish(desk)
    with desk.gallery(read_only=True) as gallery:
        wanted = _content(gallery)
    with desk.gallery() as gallery:
        gallery.relabel("cat", "tom")
        enroll(gallery, picture("dog", 50))
    publish(desk)
    with desk.gallery() as gallery:
        gallery.remove(label="tom")
    publish(desk)
    version = roll_back(desk, 2)
    assert version is not None
    assert (version.number, version.content) == (5, wanted)
    assert version.note == "rolled back to version 2"
    with desk.gallery(read_only=True) as gallery:
        assert _content(gallery) == wanted
    assert roll_back(desk, 2) is None


def test_a_rollback_keeps_what_is_not_published(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, picture("cat", 1))
    propose(desk, "north", picture("dog", 2))
    accept(desk, desk.store.proposals())
    with pytest.raises(DeskError, match="not published"):
        roll_back(desk, 1)
    assert roll_back(desk, 1, discard=True) is None
    assert _pending(desk) == [picture("dog", 2).digest]
    with desk.gallery(read_only=True) as gallery:
        assert list(gallery.labels()) == ["cat"]
    with pytest.raises(DeskError, match=r"no version 7 .*1 to 1"):
        roll_back(desk, 7)


def test_proposals_are_chosen_by_the_beginning_of_their_digests(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, picture("cat", 1))
    propose(desk, "north", picture("dog", 2), picture("hen", 3))
    propose(desk, "south", picture("dog", 4))
    digest = picture("hen", 3).digest.hex()
    assert [each.label for each in chosen(desk, Choice((digest[:8],)))] == ["hen"]
    assert len(chosen(desk, Choice(label="dog"))) == 2
    assert len(chosen(desk, Choice(label="dog", board="south"))) == 1
    assert len(chosen(desk, Choice(every=True))) == 3
    for wrong in (Choice(("abc",)), Choice(("0" * 64,)), Choice()):
        with pytest.raises(InputError):
            chosen(desk, wrong)


def _killed_at(step: int, act: Callable[[], object]) -> bool:
    """Run `act` in a child that is killed before its durable step number `step`.

    A step is a file that is renamed into its place, or a commit of a database. Returns whether it
    was killed.
    """
    child = os.fork()
    if not child:
        from edge_runtime.desk import store

        left = step

        def count() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        replace = Path.replace
        transaction = store.transaction  # type: ignore[attr-defined]
        Path.replace = lambda path, target: (count(), replace(path, target))[1]  # type: ignore
        store.transaction = lambda *arguments: (count(), transaction(*arguments))[1]  # type: ignore
        try:
            act()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.slow
def test_a_kill_at_any_step_leaves_the_old_or_the_new_version(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, *(picture("cat", number) for number in range(30)))
    kills = 0
    with file_server(desk.public) as url:
        client = TufClient(tmp_path / "client", url, desk.root.read_bytes())
        for step in range(60):
            propose(desk, "north", picture("dog", 100 + step))
            accept(desk, desk.store.proposals())
            kills += _killed_at(step % 20, partial(publish, Desk(desk.path)))
            version = signed_version(desk.repository())
            assert f'"version": {version}'.encode() in client.read("fleet.json")[0]
            assert publish(desk) is None or signed_version(desk.repository()) == version + 1
            record = Record(desk.published)
            last = signed_version(desk.repository())
            with desk.gallery(read_only=True) as gallery:
                assert record.head(last).content == _content(gallery)
            assert desk.store.last_version() == last
            assert all(each.version for each in desk.store.proposals(ACCEPTED))
            assert not difference(record.content(last), _present(desk))
    assert kills >= 20


def _present(desk: Desk) -> Content:
    with desk.gallery(read_only=True) as gallery:
        return content_of(list(every_picture(gallery)), list(every_label(gallery)))


def test_every_recorded_head_is_readable(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, picture("cat", 1))
    head = Record(desk.published).head(1)
    assert isinstance(head, Head)
    Record(desk.published).full(1).write_bytes(b"damage")
    with pytest.raises(DeskError, match=r"000001.jsonl.gz: damaged.*restore the folder published"):
        Record(desk.published).content(1)


def test_a_damaged_store_is_never_replaced(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, picture("cat", 1))
    data = bytearray(desk.store.path.read_bytes())
    data[:200] = bytes(200)
    desk.store.path.write_bytes(data)
    for ending in ("-wal", "-shm"):
        desk.store.path.with_name(desk.store.path.name + ending).unlink(missing_ok=True)
    with pytest.raises(DeskError, match="restore it from a backup"):
        desk.store.proposals()
    assert desk.store.path.read_bytes() == data


def test_an_old_backup_of_the_store_catches_up(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, picture("cat", 1))
    propose(desk, "north", picture("dog", 2))
    before = desk.store.path.read_bytes()
    accept(desk, desk.store.proposals())
    publish(desk)
    desk.store.path.write_bytes(before)
    for ending in ("-wal", "-shm"):
        desk.store.path.with_name(desk.store.path.name + ending).unlink(missing_ok=True)
    assert desk.store.last_version() == 1
    assert publish(desk) is None
    assert desk.store.last_version() == 2
    (known,) = desk.store.proposals(None)
    assert (known.state, known.version) == (ACCEPTED, 2)


def test_two_that_run_one_desk_are_refused(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, picture("cat", 1))
    with desk.running():
        with (
            pytest.raises(DeskError, match=rf"another desk runs .*process {os.getpid()}"),
            Desk(desk.path).running(),
        ):
            raise AssertionError
        with desk.signing():  # a command may publish while a desk runs
            pass
