"""Gallery: enrollment, search, invalid input, crashes and full disks."""

from __future__ import annotations

import itertools
import os
import sqlite3
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_runtime.code import hamming, words_of
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.errors import (
    CodeError,
    EdgeRuntimeError,
    GalleryBusyError,
    GalleryDamagedError,
    GalleryModelMismatchError,
    GalleryNotFoundError,
    GallerySchemaError,
    LabelError,
    NotEnrolledError,
    StorageError,
)
from edge_runtime.gallery import Gallery, LabeledCode, check_label, default_path, rows
from edge_runtime.gallery.maintenance import verify
from edge_runtime.gallery.pictures import view_digest

MODEL = FakeEngine().model


def _code(value: int) -> np.ndarray:
    return np.array([value], dtype=np.uint64)


def _open(gallery: Gallery, **options: object) -> Gallery:
    return Gallery(gallery.path, MODEL, **options)  # type: ignore[arg-type]


def test_enrolled_codes_are_found_by_another_connection(gallery: Gallery) -> None:
    ids = gallery.enroll(
        [LabeledCode("cat", _code(0b1111)), LabeledCode("dog", _code(0), "dog.jpg")]
    )
    with _open(gallery) as other:
        found = other.search(_code(0b0001), 2)
        assert [(m.id, m.label, m.distance) for m in found] == [
            (ids[1], "dog", 1),
            (ids[0], "cat", 3),
        ]
        assert other.sources([ids[1] or 0, 999]) == {ids[1]: "dog.jpg"}
        assert other.labels() == {"cat": 1, "dog": 1}
        stats = other.stats()
    assert (stats.codes, stats.labels, stats.bits) == (2, 2, 64)
    assert stats.model_id == MODEL.id


def test_the_next_search_includes_changes_by_another_connection(gallery: Gallery) -> None:
    gallery.enroll([LabeledCode("cat", _code(1))])
    with _open(gallery) as reader:
        assert len(reader.search(_code(1))) == 1
        before = reader.stats().generation
        gallery.enroll([LabeledCode("dog", _code(2))])
        assert len(reader.search(_code(1))) == 2
        assert reader.stats().generation == before + 1
        gallery.remove(label="cat")
        assert [match.label for match in reader.search(_code(1))] == ["dog"]


def test_a_label_stores_each_digest_once(gallery: Gallery) -> None:
    item = LabeledCode("cat", _code(1), digest=b"photo")
    assert gallery.enroll([item]) == [1]
    again, other = gallery.enroll([item, replace(item, label="tom")])
    assert again is None
    assert other is not None
    assert gallery.known("cat", b"photo")
    assert not gallery.known("cat", b"other")
    assert gallery.labels() == {"cat": 1, "tom": 1}


def test_pictures_and_codes_are_counted_apart(gallery: Gallery) -> None:
    """A picture's codes share the digest of its file, or the source of a camera frame."""
    digest = bytes(32)
    photo = [LabeledCode("cat", _code(n), "a.jpg", view_digest(digest, n)) for n in range(6)]
    frames = [LabeledCode("cat", _code(n), f"camera#{n % 2}") for n in range(4)]
    assert gallery.enroll_counted(photo[:1]) == (1, 1, 0)
    assert gallery.enroll_counted([*photo, *frames]) == (2, 9, 1)
    assert gallery.enroll_counted([LabeledCode("dog", _code(n)) for n in range(2)]) == (2, 2, 0)
    assert gallery.label_counts() == {"cat": (3, 10), "dog": (2, 2)}
    assert (gallery.stats().pictures, gallery.stats().codes) == (5, 12)
    assert gallery.remove(ids=[2]) == (0, 1)
    assert gallery.remove(ids=[7, 9]) == (1, 2)
    assert gallery.relabel("cat", "dog").counts == (2, 7)
    assert gallery.remove(label="dog") == (4, 9)
    assert gallery.label_counts() == {}


def test_a_change_is_atomic(gallery: Gallery) -> None:
    with pytest.raises(LabelError):
        gallery.enroll([LabeledCode("cat", _code(1)), LabeledCode("a/b", _code(2))])
    with pytest.raises(CodeError):
        gallery.enroll([LabeledCode("cat", _code(1)), LabeledCode("cat", np.zeros(2, np.uint64))])
    assert gallery.labels() == {}
    gallery.enroll([LabeledCode("cat", _code(1))])
    with pytest.raises(NotEnrolledError, match="no code has the id 99"):
        gallery.remove(ids=[1, 99])
    with pytest.raises(NotEnrolledError, match="dog: no such label"):
        gallery.remove(label="dog")
    assert gallery.labels() == {"cat": 1}


@pytest.mark.parametrize("count", [99, 100, 101, 1250])
def test_rows_are_stored_intact_for_every_batch_size(gallery: Gallery, count: int) -> None:
    """Batches below, at and above the number of rows per statement, with unusual texts."""
    texts = ["", "it's", 'a "photo"', "back\\slash\n", "ü", "\0"]
    digests = [bytes([n % 256, n // 256]) if n % 3 else None for n in range(count)]
    items = [
        LabeledCode(f"label {n % 7}", _code(n * 2**40 + n), texts[n % 6], digests[n])
        for n in range(count)
    ]
    assert gallery.enroll(items) == [*range(1, count + 1)]
    assert gallery.enroll(items[:120])[1::3] == [None] * len(items[:120][1::3])
    assert verify(gallery.path) == []
    stored = gallery.content().codes[:count]
    assert [number for number, _ in stored] == [*range(1, count + 1)]
    for item, (_, found) in zip(items, stored, strict=True):
        assert (found.label, found.source, found.digest) == (item.label, item.source, item.digest)
        assert (found.code == item.code).all()


def test_a_large_batch_skips_known_digests_and_is_rolled_back_on_failure(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index is dropped for a large batch and rebuilt afterwards."""
    photos = [LabeledCode(f"label {n % 7}", _code(n), digest=b"%d" % n) for n in range(2000)]
    gallery.enroll(photos[:300])
    with monkeypatch.context() as patch:
        calls = itertools.count()

        def failing_crc32(data: bytes) -> int:
            if next(calls) == 1500:
                raise RuntimeError("in the middle of the batch")
            return zlib.crc32(data)

        patch.setattr(rows, "crc32", failing_crc32)
        with pytest.raises(RuntimeError, match="middle"):
            gallery.enroll(photos)
    assert gallery.enroll(photos).count(None) == 300
    assert gallery.enroll([*photos, photos[5]]) == [None] * 2001
    assert gallery.known("label 3", b"1249")
    with sqlite3.connect(gallery.path) as other, pytest.raises(sqlite3.IntegrityError):
        other.execute("UPDATE item SET digest = '7' WHERE label_id = 1")
    other.close()
    assert verify(gallery.path) == []


def test_ids_of_removed_codes_are_not_reused(gallery: Gallery) -> None:
    assert gallery.enroll([LabeledCode("cat", _code(n)) for n in range(3)]) == [1, 2, 3]
    assert gallery.remove(ids=[3]).codes == 1
    assert gallery.enroll([LabeledCode("cat", _code(9))]) == [4]
    assert gallery.remove(label="cat").codes == 3
    assert gallery.labels() == {}
    assert gallery.search(_code(0)) == ()


def test_ties_go_to_the_code_that_was_enrolled_first(gallery: Gallery) -> None:
    gallery.enroll([LabeledCode(f"label {n}", _code(1 << n)) for n in range(20)])
    assert [match.id for match in gallery.search(_code(0), 4)] == [1, 2, 3, 4]


operations = st.lists(
    st.one_of(
        st.tuples(st.just("enroll"), st.sampled_from(["a", "b", "c"]), st.integers(0, 2**256 - 1)),
        st.tuples(st.just("remove label"), st.sampled_from(["a", "b", "c"])),
        st.tuples(st.just("remove id"), st.integers(1, 15)),
        st.tuples(st.just("relabel"), st.sampled_from(["a", "b", "c"]), st.sampled_from("abc")),
        st.tuples(st.just("search"), st.integers(0, 2**256 - 1), st.integers(0, 12)),
    ),
    max_size=40,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(operations, st.sampled_from([0, 1000]), st.sampled_from([16, 32, 48, 64, 128, 256]))
def test_random_operations_match_a_plain_python_implementation(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    steps: list[tuple[Any, ...]],
    few: int,
    bits: int,
) -> None:
    """`few` is the number of dead rows that cause no copy; 0 tests the copying."""
    monkeypatch.setattr("edge_runtime.gallery.snapshot.packed.FEW", few)
    path = tmp_path_factory.mktemp("model") / "gallery.sqlite"
    model = replace(MODEL, bits=bits)
    expected_items: dict[int, tuple[str, int]] = {}
    enrolled = 0

    def code_of(value: int) -> np.ndarray:
        return np.frombuffer((value % 2**bits).to_bytes(8 * words_of(bits), "little"), "<u8")

    with Gallery(path, model, create=True) as gallery, Gallery(path, model) as reader:
        for kind, *arguments in steps:
            if kind == "enroll":
                label, value = arguments
                enrolled += 1
                assert gallery.enroll([LabeledCode(label, code_of(value))]) == [enrolled]
                expected_items[enrolled] = (label, value)
            elif kind == "search":
                value, k = arguments
                expected = sorted(
                    (int(hamming(code_of(v), code_of(value))), n, label)
                    for n, (label, v) in expected_items.items()
                )[:k]
                found = reader.search(code_of(value), k)
                assert [(m.distance, m.id, m.label) for m in found] == expected
            elif kind == "relabel":
                old, new = arguments
                moved = [n for n, (label, _) in expected_items.items() if label == old]
                if moved and old != new:
                    assert gallery.relabel(old, new).counts.codes == len(moved)
                    for number in moved:
                        expected_items[number] = (new, expected_items[number][1])
                else:
                    with pytest.raises((NotEnrolledError, LabelError)):
                        gallery.relabel(old, new)
            else:
                (key,) = arguments
                gone = [n for n, (label, _) in expected_items.items() if key in (n, label)]
                wanted = {"label": key} if kind == "remove label" else {"ids": [key]}
                if gone:
                    assert gallery.remove(**wanted).codes == len(gone)
                    for number in gone:
                        del expected_items[number]
                else:
                    with pytest.raises(NotEnrolledError):
                        gallery.remove(**wanted)


def test_a_gallery_of_another_model_is_refused(gallery: Gallery) -> None:
    other = FakeEngine("other").model
    with pytest.raises(GalleryModelMismatchError, match=f"{MODEL.id[:12]}, not by {other.id[:12]}"):
        Gallery(gallery.path, other)
    with Gallery(gallery.path) as unchecked:
        assert unchecked.model_id == MODEL.id


def test_a_missing_gallery(tmp_path: Path) -> None:
    with pytest.raises(GalleryNotFoundError, match=r"no gallery file .*enroll"):
        Gallery(tmp_path / "none.sqlite", MODEL)
    assert not (tmp_path / "none.sqlite").exists()


def test_files_that_are_not_a_gallery(tmp_path: Path) -> None:
    path = tmp_path / "gallery.sqlite"
    path.write_bytes(b"hello " * 1000)
    with pytest.raises(GalleryDamagedError, match="corrupt, or not a gallery file"):
        Gallery(path, MODEL, create=True)
    assert path.read_bytes() == b"hello " * 1000
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE holiday (photo)")
    connection.close()
    with pytest.raises(GalleryDamagedError, match="another program"):
        Gallery(path, MODEL, create=True)
    path.write_bytes(b"")
    with pytest.raises(GalleryDamagedError, match="empty"):
        Gallery(path, MODEL)
    with Gallery(path, MODEL, create=True) as gallery:
        assert gallery.labels() == {}


def test_a_newer_schema_is_refused(gallery: Gallery) -> None:
    with sqlite3.connect(gallery.path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(GallerySchemaError, match=r"schema 99 is newer.*update"):
        _open(gallery)


def test_a_modified_code_or_label_is_detected(gallery: Gallery) -> None:
    gallery.enroll([LabeledCode("cat", _code(1))])
    for change, what in (
        ("UPDATE item SET code = zeroblob(8)", "code 1"),
        ("UPDATE label SET name = 'cut'", "label 1"),
    ):
        with _open(gallery) as reader:
            connection = sqlite3.connect(gallery.path, isolation_level=None)
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(change)
            connection.execute("COMMIT")
            connection.close()
            with pytest.raises(GalleryDamagedError, match=f"checksum of {what}"):
                reader.search(_code(1))


def test_a_lock_by_another_writer_is_reported(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_runtime.gallery.schema.BUSY_TIMEOUT_S", 0.05)
    blocker = sqlite3.connect(gallery.path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with _open(gallery) as writer:
        with pytest.raises(GalleryBusyError, match="locked by another process"):
            writer.enroll([LabeledCode("cat", _code(1))])
        assert writer.search(_code(1)) == ()
        blocker.execute("ROLLBACK")
        blocker.close()
        assert writer.enroll([LabeledCode("cat", _code(1))]) == [1]


ENROLL_FOREVER = """
import os, sys, numpy as np
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.gallery import Gallery, LabeledCode
gallery = Gallery(sys.argv[1], FakeEngine().model, create=True)
while True:
    (number,) = gallery.enroll([LabeledCode("cat", np.array([7], np.uint64))])
    os.write(1, b"%d\\n" % number)
"""


@pytest.mark.parametrize("lines", [1, 3, 20])
def test_acknowledged_codes_survive_kill_9(tmp_path: Path, lines: int) -> None:
    path = tmp_path / "gallery.sqlite"
    child = subprocess.Popen([sys.executable, "-c", ENROLL_FOREVER, path], stdout=subprocess.PIPE)
    assert child.stdout is not None
    acknowledged = [int(child.stdout.readline()) for _ in range(lines)]
    child.kill()
    acknowledged += [int(line) for line in child.stdout.read().split()]
    child.stdout.close()
    child.wait()
    with Gallery(path, MODEL) as gallery:
        stored = {match.id for match in gallery.search(_code(7), 10**6)}
    assert set(acknowledged) <= stored
    assert len(stored) <= len(acknowledged) + 1


def test_a_full_disk_is_reported_and_loses_nothing(small_disk: Path) -> None:
    with Gallery(small_disk / "g.sqlite", MODEL, create=True) as gallery:
        count = 0
        with pytest.raises(StorageError, match=r"g\.sqlite: the disk is full .*free some space"):
            while count < 10_000:
                gallery.enroll([LabeledCode("cat", _code(count + n), "x" * 100) for n in range(50)])
                count += 50
        assert count
    with Gallery(small_disk / "g.sqlite", MODEL, read_only=True) as gallery:
        assert gallery.labels() == {"cat": count}
        assert len(gallery.within(_code(0), MODEL.bits)) == count


LIMITED = """
import resource, sys, numpy as np
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.errors import StorageError
from edge_runtime.gallery import Gallery, LabeledCode
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
gallery = Gallery(sys.argv[1], FakeEngine().model, create=True)
count = 0
try:
    while count < 10_000:
        items = [LabeledCode("cat", np.array([n], np.uint64), "x" * 100) for n in range(50)]
        gallery.enroll(items)
        count += 50
except StorageError as error:
    print(count, error)
"""


def test_a_file_size_limit_acts_as_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "g.sqlite"
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, path], capture_output=True, text=True, check=True
    )
    count, error = done.stdout.split(" ", 1)
    assert str(path) in error
    with Gallery(path, MODEL) as gallery:
        assert gallery.labels() == {"cat": int(count)}


def test_a_read_only_disk(small_disk: Path) -> None:
    path = small_disk / "g.sqlite"
    with Gallery(path, MODEL, create=True) as gallery:
        gallery.enroll([LabeledCode("cat", _code(1))])
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with Gallery(path, MODEL, read_only=True) as gallery:
        assert gallery.search(_code(1))[0].label == "cat"
    with (
        pytest.raises(StorageError, match=r"g\.sqlite: .*(written|permission)"),
        Gallery(path, MODEL, create=True) as gallery,
    ):
        gallery.enroll([LabeledCode("dog", _code(1))])
    with pytest.raises(StorageError, match=r"new\.sqlite"):
        Gallery(small_disk / "new.sqlite", MODEL, create=True)


def test_a_path_below_a_file_is_refused(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.touch()
    with pytest.raises(EdgeRuntimeError, match="not a folder"):
        Gallery(blocker / "g.sqlite", MODEL, create=True)


VALID_LABELS = ["Kitchen", "  trimmed ", "厨房", "Käsetheke", "مطبخ", "a" * 128, "Room 4.01 (left)"]
INVALID_LABELS = {
    "": "empty",
    "   ": "empty",
    "..": "must not be '..'",
    "a" * 300: "got 300",
    "a/b": "contain '/'",
    "a\\b": "contain",
    "a\nb": "control",
    "a\x00b": "control",
    "\u202egnp.exe": "control",
}


@pytest.mark.parametrize("label", VALID_LABELS)
def test_valid_labels_are_stored_unchanged(gallery: Gallery, label: str) -> None:
    gallery.enroll([LabeledCode(label, _code(1))])
    assert gallery.search(_code(1))[0].label == label.strip()


def test_labels_are_normalized_to_form_c() -> None:
    assert check_label("Cafe\u0301") == check_label("Caf\u00e9")


@pytest.mark.parametrize("label", INVALID_LABELS)
def test_invalid_labels_are_refused(label: str) -> None:
    with pytest.raises(LabelError, match=INVALID_LABELS[label]) as caught:
        check_label(label)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_default_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert default_path() == Path(os.environ["XDG_DATA_HOME"]) / "edge-runtime/gallery.sqlite"
    monkeypatch.setenv("EDGE_RUNTIME_GALLERY", str(tmp_path / "own.sqlite"))
    assert default_path() == tmp_path / "own.sqlite"
