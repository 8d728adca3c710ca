"""Versions applied to a gallery: against a model in a dict, with kills, and on a full disk."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.errors import FleetContentError, FleetFormatError, FleetModelError, StorageError
from edge_runtime.fleet.apply import Applied, apply_version, apply_versions, leave
from edge_runtime.fleet.content import (
    content_digest,
    gallery_digest,
    pending_pictures,
    shared_content,
    shared_labels,
)
from edge_runtime.fleet.operations import Add, Label, Operation, Reject, Relabel, Remove
from edge_runtime.gallery import Gallery, LabeledCode
from edge_runtime.gallery.maintenance import verify
from edge_runtime.gallery.records import LabelData
from edge_runtime.gallery.shared import read_fleet
from tests.support.fleet import JPEG, digest_of, enroll, head, open_gallery, packed, picture
from tests.support.fleet.model import Model
from tests.support.processes import ROOT


def _apply(
    gallery: Gallery,
    version: int,
    operations: Sequence[Operation],
    model: Model,
    *,
    full: bool = False,
) -> Applied:
    base = None if full else version - 1
    return apply_version(
        gallery, head(version, base, model.pictures(), model.shared_labels()), operations
    )


def _check(gallery: Gallery, model: Model) -> None:
    assert set(shared_content(gallery)) == set(model.pictures())
    assert set(shared_labels(gallery)) == set(model.shared_labels())
    assert {(add.label, add.digest) for add in pending_pictures(gallery)} == model.pending
    assert gallery.stats().pending_pictures in (None, len(model.pending))


def _random_operations(rnd: random.Random, full: bool) -> list[Operation]:
    labels = [f"label {number}" for number in range(4)]
    operations: list[Operation] = []
    for _ in range(rnd.randrange(12)):
        label, number = rnd.choice(labels), rnd.randrange(10)
        add = picture(label, number, features=rnd.random() < 0.3, views=rnd.randint(1, 3))
        kinds: list[Operation] = [add, add, Label(label, rnd.choice(("", "1", "[2]")), b"")]
        if not full:
            kinds += [
                Remove(label, digest_of(number)),
                Remove(label),
                Relabel(label, rnd.choice(labels)),
                Reject(digest_of(number)),
            ]
        operations.append(rnd.choice(kinds))
    return operations


@pytest.mark.parametrize("seed", range(25))
def test_versions_do_what_a_dict_does(tmp_path: Path, seed: int) -> None:
    rnd = random.Random(seed)
    model = Model()
    with open_gallery(tmp_path / "g.sqlite") as gallery:
        for version in range(1, 15):
            for _ in range(rnd.randrange(3)):
                add = picture(
                    f"label {rnd.randrange(5)}", rnd.randrange(12), views=rnd.randint(1, 3)
                )
                if model.enroll(add):
                    enroll(gallery, add)
            full = version == 1 or rnd.random() < 0.2
            operations = _random_operations(rnd, full)
            model.apply(operations, full=full)
            _apply(gallery, version, operations, model, full=full)
            _check(gallery, model)
            again = _apply(gallery, version, operations, model, full=full)
            assert full or not again.changed
            _check(gallery, model)
    assert verify(tmp_path / "g.sqlite") == []


def test_a_full_file_gives_the_content_of_the_deltas(tmp_path: Path) -> None:
    rnd, model = random.Random(1), Model()
    with (
        open_gallery(tmp_path / "a.sqlite") as first,
        open_gallery(tmp_path / "b.sqlite") as second,
    ):
        for version in range(1, 20):
            operations = _random_operations(rnd, full=version == 1)
            model.apply(operations, full=version == 1)
            _apply(first, version, operations, model, full=version == 1)
        lines: list[Operation] = [*model.pictures(), *model.shared_labels()]
        applied = _apply(second, 19, lines, model, full=True)
        assert applied.version == 19
        assert gallery_digest(first) == gallery_digest(second)
        assert not _apply(second, 19, lines, model, full=True).changed


def _publish(gallery: Gallery, version: int, adds: Iterable[Add], *more: Operation) -> Applied:
    listed = list(adds)
    model = Model()
    model.apply([*listed, *more], full=True)
    return _apply(gallery, version, [*listed, *more], model, full=True)


def test_an_enrollment_is_pending_until_a_version_names_it(gallery: Gallery) -> None:
    mine, other, wrong = picture("cat", 1, features=True), picture("tom", 2), picture("cat", 3)
    enroll(gallery, mine, other, wrong)
    _publish(gallery, 1, [picture("dog", 9)])
    assert gallery.stats().pending_pictures == 3
    (before,) = gallery.pictures("tom")
    # Accepted as it is; accepted under another label; rejected.
    applied = _publish(
        gallery, 2, [picture("dog", 9), mine, replace(other, label="cat")], Reject(wrong.digest)
    )
    assert (applied.counts.accepted, applied.counts.dropped, applied.pending) == (1, 2, 0)
    assert gallery.labels() == {"cat": 4, "dog": 2}
    assert before.codes == 2
    stats = gallery.stats()
    assert (stats.fleet_version, stats.pending_pictures) == (2, 0)


def test_a_frame_of_a_camera_gets_the_digest_of_its_proposal(gallery: Gallery) -> None:
    frames = [LabeledCode("cat", np.array([number], np.uint64), "camera") for number in (1, 2)]
    ids = gallery.enroll(frames)
    (proposal,) = pending_pictures(gallery)
    applied = _publish(gallery, 1, [proposal])
    assert (applied.counts.accepted, applied.pending) == (1, 0)
    assert set(shared_content(gallery)) == {proposal}
    assert [match.id for match in gallery.search(np.array([1], np.uint64), 1)] == [ids[0]]
    assert verify(gallery.path) == []


def test_a_kept_picture_survives_other_codes(gallery: Gallery) -> None:
    add = picture("cat", 1)
    enroll(gallery, add)
    first = gallery.pictures("cat")[0].id
    code = LabeledCode("cat", np.array([5], np.uint64), digest=add.digest, picture=JPEG)
    gallery.enroll([code])
    assert gallery.kept_picture(first) == JPEG
    _publish(gallery, 1, [picture("cat", 1, features=True)])
    (after,) = gallery.pictures("cat")
    assert after.id != first
    assert gallery.kept_picture(after.id) == JPEG


def test_data_that_a_board_stored_is_not_shared(gallery: Gallery) -> None:
    """Enrolling makes a thumbnail, which no version has named."""
    enroll(gallery, picture("cat", 1), picture("mine", 2))
    gallery.set_label_data("cat", LabelData("", JPEG))
    gallery.set_label_data("mine", LabelData("7", JPEG))
    _publish(gallery, 1, [picture("cat", 1)])
    assert gallery.thumbnail("cat") == JPEG
    _publish(gallery, 2, [picture("cat", 1)], Label("cat", '"signed"'))
    assert gallery.label_data("cat") == LabelData('"signed"')
    _publish(gallery, 3, [picture("cat", 1)])
    assert gallery.label_data("cat") == LabelData()
    assert gallery.label_data("mine") == LabelData("7", JPEG)


@pytest.mark.parametrize("change", ["remove", "relabel", "payload", "merge"])
def test_what_was_changed_by_hand_is_found_and_repaired(gallery: Gallery, change: str) -> None:
    lines: list[Operation] = [
        picture("cat", 1),
        picture("cat", 2),
        picture("dog", 3),
        Label("cat", "1"),
    ]
    model = Model()
    model.apply(lines, full=True)
    _apply(gallery, 1, lines, model, full=True)
    if change == "remove":
        gallery.remove(ids=[1])
    elif change == "relabel":
        gallery.relabel("cat", "tom")
    elif change == "merge":
        gallery.relabel("cat", "dog")
    else:
        gallery.set_payload("cat", "2")
    delta: list[Operation] = [picture("fox", 4)]
    model.apply(delta, full=False)
    with pytest.raises(FleetContentError, match="version 2 leads to the content") as caught:
        _apply(gallery, 2, delta, model)
    assert caught.value.remedy == "the full file repairs it"
    assert gallery.stats().fleet_version == 1
    full = head(1, None, model.pictures(), ())
    applied = apply_versions(
        gallery, [(full, lines), (head(2, 1, model.pictures(), model.shared_labels()), delta)]
    )
    assert applied.version == 2
    _check(gallery, model)


def test_versions_that_do_not_follow_are_refused(gallery: Gallery) -> None:
    model = Model()
    add = picture("cat", 1)
    model.apply([add], full=True)
    with pytest.raises(FleetContentError, match="version 5 follows 4, but the gallery has 0"):
        _apply(gallery, 5, [add], model)
    _apply(gallery, 5, [add], model, full=True)
    with pytest.raises(FleetContentError, match="version 4 is older than version 5"):
        _apply(gallery, 4, [add], model, full=True)
    with pytest.raises(FleetContentError, match="version 8 follows 7, but the gallery has 5"):
        _apply(gallery, 8, [], model)
    for other in (replace(head(6, 5), model_id="x"), replace(head(6, 5), bits=32)):
        with pytest.raises(FleetModelError, match="version 6 is for galleries of model"):
            apply_version(gallery, other, [])
    with pytest.raises(FleetFormatError):
        apply_version(gallery, head(6, 5), _failing())
    _check(gallery, model)


def _failing() -> Iterable[Operation]:
    yield picture("dog", 2)
    raise FleetFormatError("malformed", where="line 3")


def test_a_board_that_leaves_keeps_the_pictures(gallery: Gallery) -> None:
    lines = [picture("cat", 1), picture("dog", 2)]
    _publish(gallery, 1, lines)
    leave(gallery)
    assert gallery.labels() == {"cat": 2, "dog": 2}
    assert gallery.stats().fleet_version is None
    _publish(gallery, 1, lines)
    assert gallery.stats().pending_pictures == 0


def test_other_readers_see_the_version(gallery: Gallery) -> None:
    _publish(gallery, 1, [picture("cat", 1)])
    with open_gallery(gallery.path) as reader:
        code = np.frombuffer(picture("cat", 1).codes[0], "<u8").astype(np.uint64)
        assert reader.search(code, 1)[0].label == "cat"
        _publish(gallery, 2, [picture("tom", 1)])
        assert reader.search(code, 1)[0].label == "tom"


KILLED = """
import os, sys
from tests.support.fleet import open_gallery, head, picture
from edge_runtime.fleet.apply import apply_version
gallery = open_gallery(sys.argv[1])
adds = [picture(f"label {n % 7}", n) for n in range(400)]
print("begins", flush=True)
apply_version(gallery, head(2, 1, adds), [picture(f"label {n % 7}", n) for n in range(1, 400)])
print("done", flush=True)
"""


@pytest.mark.slow
def test_kill_9_leaves_the_old_version_or_the_new(tmp_path: Path) -> None:
    path = tmp_path / "g.sqlite"
    mine = picture("mine", 1000)
    with open_gallery(path) as gallery:
        _publish(gallery, 1, [picture("label 0", 0)])
        enroll(gallery, mine)
    seen = set()
    for kill in range(12):
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, cwd=ROOT
        )
        assert child.stdout is not None
        child.stdout.readline()
        try:
            child.wait(None if kill == 11 else 0.02 * kill)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        with open_gallery(path) as gallery:
            state = read_fleet(gallery._connection)
            assert state is not None
            seen.add(state.version)
            assert gallery_digest(gallery) == state.content
            assert len(list(shared_content(gallery))) == {1: 1, 2: 400}[state.version]
            assert [add.digest for add in pending_pictures(gallery)] == [mine.digest]
        assert verify(path) == []
    assert 2 in seen


def test_a_full_disk_leaves_the_old_version(small_disk: Path) -> None:
    with open_gallery(small_disk / "g.sqlite") as gallery:
        _publish(gallery, 1, [picture("cat", 1)])
        before = gallery_digest(gallery)
        many = [picture(f"label {number % 3}", number, features=True) for number in range(3000)]
        with pytest.raises(StorageError, match="disk is full"):
            _publish(gallery, 2, many)
        assert gallery_digest(gallery) == before
        assert gallery.stats().fleet_version == 1


def test_a_corrupt_state_means_the_full_file(gallery: Gallery) -> None:
    _publish(gallery, 3, [picture("cat", 1)])
    with sqlite3.connect(gallery.path) as connection:
        connection.execute("UPDATE fleet SET version = 4")
    connection.close()
    assert verify(gallery.path) == ["fleet: the checksum of its version does not match"]
    assert gallery.stats().fleet_version is None
    _publish(gallery, 4, [picture("cat", 1)])
    assert verify(gallery.path) == []


def test_a_delta_of_six_thousand_codes_is_small(tmp_path: Path) -> None:
    """Without features, at most 110 bytes for each photo of six codes."""
    adds = [picture(f"label {number % 12}", number, views=6) for number in range(1000)]
    bare = [replace(add, source="") for add in adds]
    assert len(packed(head(2, 1), bare)) <= 110 * len(bare)
    digest = content_digest(adds, [])
    with open_gallery(tmp_path / "g.sqlite") as gallery:
        apply_version(gallery, head(1, None, adds), adds)
        assert gallery_digest(gallery) == digest


STREAMED = """
import io, resource, sys
from pathlib import Path
from tests.support.fleet import head, open_gallery, packed, picture
from edge_runtime.fleet.apply import apply_version
from edge_runtime.fleet.operations import read_version

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024

path, count = Path(sys.argv[1]), int(sys.argv[2])
def adds():
    return (picture(f"label {n % 50}", n, views=6) for n in range(count))
file = path.with_suffix(".gz")
file.write_bytes(packed(head(1, None, adds()), adds()))
gallery = open_gallery(path)
before = peak()
with file.open("rb") as opened:
    apply_version(gallery, *read_version(opened))
print(peak() - before)
"""


@pytest.mark.slow
def test_a_large_version_streams(tmp_path: Path) -> None:
    """50,000 pictures of six codes take hardly more memory than 5,000."""
    grown = []
    for count in (5_000, 50_000):
        done = subprocess.run(
            [sys.executable, "-c", STREAMED, str(tmp_path / f"{count}.sqlite"), str(count)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=True,
        )
        grown.append(float(done.stdout))
    assert grown[1] < 40
