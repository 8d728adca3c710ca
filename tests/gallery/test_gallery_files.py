"""Gallery files: snapshots, backups, export and import, corruption, crashes."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.engine.fake import FakeEngine
from edge_runtime.errors import (
    EdgeRuntimeError,
    GalleryDamagedError,
    GalleryModelMismatchError,
    InputError,
    NotEnrolledError,
    StorageError,
)
from edge_runtime.gallery import Gallery, LabeledCode
from edge_runtime.gallery.backup import backup, restore
from edge_runtime.gallery.content import Content
from edge_runtime.gallery.exchange.export import export_codes
from edge_runtime.gallery.exchange.reading import import_codes
from edge_runtime.gallery.maintenance import compact, verify
from edge_runtime.gallery.rows import Meta
from edge_runtime.gallery.snapshot.file import load_snapshot, snapshot_path
from edge_runtime.gallery.upkeep.repair import repair
from tests.support.processes import ROOT

MODEL = FakeEngine().model
META = Meta(MODEL.id, MODEL.bits)
KILLS = int(os.environ.get("EDGE_RUNTIME_KILLS", "20"))
"""Number of kills. The long run uses EDGE_RUNTIME_KILLS=500."""
FLIP_EVERY = int(os.environ.get("EDGE_RUNTIME_FLIP_EVERY", "97"))
"""Step in bytes. The long run uses EDGE_RUNTIME_FLIP_EVERY=1."""

CONCURRENT_S = float(os.environ.get("EDGE_RUNTIME_TOGETHER_S", "3"))
"""Duration in seconds. The long run uses EDGE_RUNTIME_TOGETHER_S=60."""


def _code(value: int) -> np.ndarray:
    return np.array([value], dtype=np.uint64)


def _items(first: int, last: int, label: str = "cat") -> list[LabeledCode]:
    return [
        LabeledCode(label, _code(n * 0x9E3779B97F4A7C15 % 2**64), f"{n}.jpg", n.to_bytes(4, "big"))
        for n in range(first, last)
    ]


def _content(path: Path) -> list[tuple[int, str, int]]:
    """Return all codes that a new connection finds by searching."""
    with Gallery(path, MODEL, read_only=True) as gallery:
        found = gallery.within(_code(0), MODEL.bits)
        return sorted((match.id, match.label, match.distance) for match in found)


@pytest.fixture
def always_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save a snapshot file for galleries of any size."""
    monkeypatch.setattr("edge_runtime.gallery.features.memory.SNAPSHOT_FROM", 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gallery.sqlite"


def _fill(path: Path, *, search: bool = True) -> None:
    with Gallery(path, MODEL, create=True) as gallery:
        gallery.enroll(_items(0, 30))
        gallery.enroll(_items(30, 40, "dog"))
        gallery.remove(ids=[3])
        if search:
            gallery.search(_code(0))


def _without_snapshot(path: Path) -> list[tuple[int, str, int]]:
    snapshot_path(path).unlink(missing_ok=True)
    return _content(path)


def test_a_snapshot_is_saved_and_used(path: Path, always_saved: None) -> None:
    _fill(path)
    snapshot = load_snapshot(snapshot_path(path), MODEL.id, MODEL.bits)
    assert snapshot is not None
    assert len(snapshot.ids) == 39
    assert _content(path) == _without_snapshot(path)


def test_a_stale_snapshot_is_updated(path: Path, always_saved: None) -> None:
    _fill(path)
    old = snapshot_path(path).read_bytes()
    with Gallery(path, MODEL) as gallery:
        gallery.enroll(_items(100, 110, "owl"))
        gallery.remove(ids=[1, 39])
        gallery.relabel("dog", "wolf")
    snapshot_path(path).write_bytes(old)
    stale = _content(path)
    assert stale == _without_snapshot(path)
    assert {label for _, label, _ in stale} == {"cat", "wolf", "owl"}


def test_a_snapshot_of_another_history_is_not_used(path: Path, always_saved: None) -> None:
    """Such as that of a restored backup with the same number of changes."""
    _fill(path)
    backup(path, path.with_name("backup.sqlite"))
    with Gallery(path, MODEL) as gallery:
        gallery.enroll(_items(200, 210, "fox"))
        gallery.search(_code(0))
    shutil.move(path.with_name("backup.sqlite"), path)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    with Gallery(path, MODEL) as gallery:
        gallery.enroll(_items(300, 310, "elk"))
        labels = {match.label for match in gallery.search(_code(0), 100)}
    assert labels == {"cat", "dog", "elk"}
    assert _content(path) == _without_snapshot(path)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "other"])
def test_a_corrupt_snapshot_is_rebuilt(path: Path, always_saved: None, damage: str) -> None:
    _fill(path)
    expected = _content(path)
    file = snapshot_path(path)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(
        {
            "cut": bytes(data[: len(data) // 2]),
            "flip": bytes(data),
            "empty": b"",
            "other": b"x" * 999,
        }[damage]
    )
    assert verify(path) == ["gallery.sqlite.codes: corrupt (it will be rebuilt)"]
    assert _content(path) == expected
    assert repair(path).codes_kept == 39
    assert verify(path) == []


def test_a_snapshot_of_an_older_version_is_ignored_and_replaced(
    path: Path, always_saved: None
) -> None:
    _fill(path)
    expected, file = _content(path), snapshot_path(path)
    file.write_bytes(b"edgecod2" + file.read_bytes()[8:])
    assert load_snapshot(file, MODEL.id, MODEL.bits) is None
    assert verify(path) == []
    assert _content(path) == expected
    with Gallery(path, MODEL) as gallery:
        gallery.search(_code(0))
    assert load_snapshot(file, MODEL.id, MODEL.bits) is not None


def test_relabel_and_merge(path: Path) -> None:
    with Gallery(path, MODEL, create=True) as gallery:
        gallery.enroll(_items(0, 10))
        gallery.enroll(_items(5, 12, "dog"))
        assert gallery.relabel("dog", "Hund").counts.codes == 7
        assert gallery.labels() == {"Hund": 7, "cat": 10}
        assert {match.label for match in gallery.search(_code(0), 99)} == {"Hund", "cat"}
        assert (
            gallery.relabel("Hund", "cat").counts.codes == 2
        )  # five were already enrolled under both
        assert gallery.labels() == {"cat": 12}
        assert len(gallery.search(_code(0), 99)) == 12
        with pytest.raises(NotEnrolledError):
            gallery.relabel("dog", "x")
        with pytest.raises(InputError, match="old and the new label are the same"):
            gallery.relabel("cat", "cat")
    assert verify(path) == []


def test_a_payload_is_stored(path: Path) -> None:
    with Gallery(path, MODEL, create=True) as gallery:
        gallery.enroll(_items(0, 1))
        gallery.set_payload("cat", '{"floor": 3}')
        assert gallery.payload("cat") == '{"floor": 3}'
    assert verify(path) == []


def test_compact_releases_space_and_keeps_the_content(path: Path) -> None:
    with Gallery(path, MODEL, create=True) as gallery:
        gallery.enroll([LabeledCode("cat", _code(n), "x" * 200) for n in range(5000)])
        gallery.remove(ids=range(1, 4900))
    expected = _content(path)
    before, after = compact(path)
    assert after < before / 5
    assert _content(path) == expected
    assert verify(path) == []


def test_readers_continue_during_a_compaction(path: Path) -> None:
    _fill(path)
    with Gallery(path, MODEL, read_only=True) as reader:
        before = reader.search(_code(0), 99)
        compact(path)
        assert reader.search(_code(0), 99) == before
        with Gallery(path, MODEL) as writer:
            writer.enroll(_items(500, 501, "new"))
        assert len(reader.search(_code(0), 99)) == len(before) + 1


def test_backup_while_in_use(path: Path) -> None:
    _fill(path)
    target = path.with_name("copy.sqlite")
    with Gallery(path, MODEL) as gallery:
        gallery.enroll(_items(50, 60))
        backup(path, target)
        gallery.enroll(_items(60, 70))
    assert len(_content(target)) == 49
    assert verify(target) == []
    with pytest.raises(StorageError, match="file exists"):
        backup(path, target)
    with pytest.raises(StorageError, match="no such file or folder"):
        backup(path, path.with_name("none") / "copy.sqlite")
    assert sorted(file.name for file in path.parent.glob("*.tmp")) == []


def test_restore_while_in_use(path: Path) -> None:
    _fill(path)
    before, copy = _content(path), path.with_name("copy.sqlite")
    backup(path, copy)
    with Gallery(path, MODEL, read_only=True) as reader, Gallery(path, MODEL) as writer:
        writer.relabel("cat", "tom")
        writer.enroll(_items(100, 110))
        assert len(reader.search(_code(0), 1000)) == len(before) + 10
        assert restore(path, copy) is None
        found = reader.search(_code(0), 1000)
        assert sorted((m.id, m.label, m.distance) for m in found) == sorted(before)
        writer.enroll(_items(110, 111))
        assert len(reader.search(_code(0), 1000)) == len(before) + 1
    assert verify(path) == []


def test_restore_replaces_a_missing_and_a_corrupt_gallery(path: Path) -> None:
    _fill(path)
    before, copy = _content(path), path.with_name("copy.sqlite")
    backup(path, copy)
    path.unlink()
    assert restore(path, copy) is None
    assert _content(path) == before
    path.write_bytes(b"rubbish" * 100)
    old = restore(path, copy)
    assert old and old.read_bytes() == b"rubbish" * 100
    assert _content(path) == before


def test_restore_refuses_invalid_sources(path: Path) -> None:
    _fill(path)
    before, other = _content(path), path.with_name("other.sqlite")
    with pytest.raises(InputError, match="from itself"):
        restore(path, path)
    with pytest.raises(EdgeRuntimeError, match="no gallery file"):
        restore(path, other)
    other.write_bytes(b"rubbish" * 100)
    with pytest.raises(
        GalleryDamagedError, match=r"other\.sqlite: corrupt, or not a gallery file: file is"
    ):
        restore(path, other)
    other.unlink()
    another = FakeEngine("another").model
    with Gallery(other, another, create=True) as gallery:
        gallery.enroll(_items(1, 2))
    with pytest.raises(GalleryModelMismatchError):
        restore(path, other)
    assert _content(path) == before


@pytest.mark.parametrize("put", [shutil.move, shutil.copy])
def test_a_replaced_file_is_read_without_the_old_log(
    path: Path, put: Callable[[Path, Path], object]
) -> None:
    """Replacing the file of a gallery in use must not mix it with the previous log."""
    _fill(path)
    before, copy = _content(path), path.with_name("copy.sqlite")
    backup(path, copy)
    with Gallery(path, MODEL, read_only=True) as reader:
        reader.search(_code(0))
        with Gallery(path, MODEL) as writer:
            writer.relabel("cat", "tom")
            writer.enroll(_items(100, 110))
        put(copy, path)
        assert _content(path) == before
        assert verify(path) == []


FAISS_FLAT = (  # written by faiss 1.15: IndexBinaryFlat(64) of three codes
    "494278464000000008000000030000000000000001010000001800000000000000"
    "000706050403020101070605040302010207060504030201"
)


def test_a_flat_index_of_faiss_is_read(path: Path) -> None:
    file = path.with_suffix(".faiss")
    file.write_bytes(bytes.fromhex(FAISS_FLAT))
    with pytest.raises(InputError, match="the file of labels is missing"):
        import_codes(file, META)
    file.with_name(file.name + ".labels").write_text("a\nb\nc\n")
    items, notes = import_codes(file, META)
    assert notes == {}
    assert [item.label for item in items] == ["a", "b", "c"]
    assert [int(item.code[0]) for item in items] == [0x0102030405060700 + n for n in range(3)]
    file.with_name(file.name + ".labels").write_text("a\nb\n")
    with pytest.raises(InputError, match="2 labels for 3 codes"):
        import_codes(file, META)
    for length in range(0, 57, 5):
        file.write_bytes(bytes.fromhex(FAISS_FLAT)[:length])
        with pytest.raises(InputError, match="not an exported gallery"):
            import_codes(file, META)


def test_a_faiss_index_is_written_byte_for_byte(path: Path) -> None:
    """The file equals what faiss 1.15 writes for an IndexBinaryIDMap, and faiss can read it."""
    file = path.with_suffix(".faiss")
    items = [(7 + n, LabeledCode("x", _code(0x0102030405060700 + n))) for n in range(3)]
    export_codes(file, META, Content(items, {}))
    header = "400000000800000003000000000000000101000000"
    flat = FAISS_FLAT[8:]
    ids = "0300000000000000" + "".join(f"{n:02x}00000000000000" for n in (7, 8, 9))
    assert header[:42] == flat[:42]
    assert file.read_bytes().hex() == "49424d70" + flat[:42] + "49427846" + flat + ids
    faiss = pytest.importorskip("faiss", reason="faiss comes with: make setup-bench")
    index = faiss.read_index_binary(str(file))
    _, found = index.search(np.frombuffer(bytes.fromhex("0207060504030201"), np.uint8)[None], 1)
    assert found.tolist() == [[9]]


@pytest.mark.parametrize("suffix", [".jsonl", ".npz"])
def test_export_and_import_preserve_codes_and_labels(path: Path, suffix: str) -> None:
    _fill(path)
    file, other = path.with_suffix(suffix), path.with_name("other.sqlite")
    with Gallery(path, MODEL, read_only=True) as gallery:
        assert export_codes(file, META, gallery.content()) == 39
    with Gallery(other, MODEL, create=True) as gallery:
        assert None not in gallery.enroll(*import_codes(file, META))
        assert gallery.enroll(*import_codes(file, META)) == [None] * 39
        assert gallery.labels() == {"cat": 29, "dog": 10}
        assert gallery.sources([1]) == {1: "0.jpg"}
    plain = [(label, distance) for _, label, distance in _content(path)]
    assert [(label, distance) for _, label, distance in _content(other)] == plain
    with pytest.raises(GalleryModelMismatchError, match="made by model"):
        import_codes(file, Meta("f" * 64, 64))


INVALID_LINES = {
    '{"label": "x"}': "'code' is missing",
    '{"code": "0000000000000000"}': "'label' is missing",
    '{"label": "x", "code": "00"}': "expected a code of 8 bytes, got 1",
    '{"label": "x", "code": "zz"}': "malformed",
    '{"label": "a/b", "code": "0000000000000000"}': "label must not contain '/': 'a/b'",
    "nonsense": "malformed",
    "[]": "malformed",
    "[" * 100_000: "malformed",
}


@pytest.mark.parametrize("line", INVALID_LINES)
def test_an_invalid_line_is_reported_with_its_number(path: Path, line: str) -> None:
    file = path.with_suffix(".jsonl")
    good = json.dumps({"label": "x", "code": "00" * 8})
    head = json.dumps({"edge_runtime_gallery": 1, **META._asdict()})
    file.write_text("\n".join([head, good, line, good]) + "\n")
    with pytest.raises(InputError, match=r"line 3: ") as caught:
        import_codes(file, META)
    assert INVALID_LINES[line] in str(caught.value)
    bad: list[str] = []
    assert len(import_codes(file, META, bad)[0]) == 2
    assert len(bad) == 1


def test_a_corrupt_npz_is_refused(path: Path) -> None:
    """Corruption of the directory, a name, a compression method or the compressed arrays."""
    _fill(path)
    file = path.with_suffix(".npz")
    with Gallery(path, MODEL, read_only=True) as gallery:
        export_codes(file, META, gallery.content())
    data = file.read_bytes()
    generator = random.Random(1)
    refused = 0
    for _ in range(300):
        corrupt = bytearray(data)
        for _ in range(generator.choice((1, 20))):
            corrupt[generator.randrange(len(data))] = generator.randrange(256)
        file.write_bytes(corrupt)
        try:
            import_codes(file, META)
        except EdgeRuntimeError:
            refused += 1
    assert refused > 200
    with file.open("wb") as single:
        np.save(single, np.zeros(3))
    with pytest.raises(InputError, match="not an exported gallery"):
        import_codes(file, META)


def test_a_source_that_is_not_utf_8_is_stored_with_replacements(path: Path) -> None:
    """A file name may contain any bytes; Python represents them as surrogates."""
    with Gallery(path, MODEL, create=True) as gallery:
        ids = gallery.enroll(
            [LabeledCode("cat", _code(1), "caf\udce9.jpg"), LabeledCode("cat", _code(2), "\ud800")]
        )
        assert gallery.sources([i for i in ids if i]) == {1: "caf?.jpg", 2: "?"}
    assert verify(path) == []


def test_files_that_are_not_an_export(path: Path) -> None:
    for name, content in (("a.jsonl", b"hello"), ("b.jsonl", b""), ("c.npz", b"x"), ("d.csv", b"")):
        file = path.with_name(name)
        file.write_bytes(content)
        with pytest.raises(InputError, match=r"not an exported gallery|unknown format"):
            import_codes(file, META)
    with pytest.raises(EdgeRuntimeError, match="no such file"):
        import_codes(path.with_name("none.jsonl"), META)
    with pytest.raises(EdgeRuntimeError):
        export_codes(Path("/proc/none.jsonl"), META, Content([], {}))


def test_repair_keeps_intact_codes(path: Path) -> None:
    _fill(path)
    expected = _content(path)
    backup(path, path.with_name("one-file.sqlite"))
    shutil.move(path.with_name("one-file.sqlite"), path)
    data = bytearray(path.read_bytes())
    at = data.index(b"17.jpg")
    data[at] ^= 4
    path.write_bytes(data)
    assert verify(path) == ["code 18: the checksum does not match"]
    outcome = repair(path)
    assert outcome.codes_lost == [18]
    assert outcome.codes_kept == 38
    assert Path(outcome.old).exists()
    assert verify(path) == []
    assert _content(path) == [row for row in expected if row[0] != 18]
    with Gallery(path, MODEL) as gallery:
        assert gallery.enroll(_items(900, 901)) == [41]


def test_every_flipped_byte_is_detected_or_harmless(path: Path) -> None:
    """Detected by an error or by verify; harmless if every search result is unchanged."""
    _fill(path)
    backup(path, path.with_name("small.sqlite"))
    original = path.with_name("small.sqlite").read_bytes()
    expected = _content(path)
    victim = path.with_name("victim.sqlite")
    generator = random.Random(7)
    harmless = 0
    for at in range(generator.randrange(FLIP_EVERY), len(original), FLIP_EVERY):
        data = bytearray(original)
        data[at] ^= 1 << generator.randrange(8)
        for file in victim.parent.glob("victim*"):
            file.unlink()
        victim.write_bytes(data)
        try:
            if verify(victim):
                continue
        except EdgeRuntimeError:
            continue
        harmless += 1
        assert _content(victim) == expected, f"byte {at}"
    assert harmless


@pytest.mark.parametrize("part", ["gallery.sqlite", "gallery.sqlite.codes"])
def test_truncation_at_any_length_is_detected_or_harmless(
    path: Path, always_saved: None, part: str
) -> None:
    _fill(path)
    with Gallery(path, MODEL):
        pass  # closing empties the log
    expected = _content(path)
    whole = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    for length in range(0, len(whole[part]), max(1, FLIP_EVERY * 7)):
        for name, data in whole.items():
            (path.parent / name).write_bytes(data[:length] if name == part else data)
        try:
            found = _content(path)
        except EdgeRuntimeError:
            assert verify(path)
        else:
            assert found == expected or verify(path), length


WRITER = """
import os, sys, numpy as np
import edge_runtime.gallery.features.memory as memory
import edge_runtime.gallery.store as store
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.gallery.maintenance import compact
memory.SNAPSHOT_FROM = 0
store.changes.MANY = 100  # so that the largest batches rebuild the index
model, path, seed = FakeEngine().model, __import__('pathlib').Path(sys.argv[1]), int(sys.argv[2])
generator = np.random.default_rng(seed)
while True:
    with store.Gallery(path, model, create=True) as gallery:
        for _ in range(6):
            labels = gallery.labels()
            choice = generator.integers(0, 4)
            if choice == 0 and labels.get("cat", 0) > 20:
                mine = [match.id for match in gallery.search(np.zeros(1, np.uint64), 1000)]
                gone = mine[int(generator.integers(0, len(mine)))]
                os.write(1, b"?%d\\n" % gone)
                gallery.remove(ids=[gone])
                os.write(1, b"-%d\\n" % gone)
            else:
                count = int(generator.choice([1, 7, 30, 250]))  # 250: more than one statement
                codes = generator.integers(0, 2**63, (count, 1))
                items = [store.LabeledCode("cat", code.astype(np.uint64)) for code in codes]
                ids = gallery.enroll(items)
                os.write(1, b"".join(b"+%d\\n" % i for i in ids))
            gallery.search(np.zeros(1, np.uint64))
    if generator.integers(0, 3) == 0:
        compact(path)
"""


@pytest.mark.slow
def test_kill_9_at_any_moment_loses_nothing_that_was_acknowledged(path: Path) -> None:
    generator = random.Random(3)
    alive: set[int] = set()
    for kill in range(KILLS):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, path, str(kill)], stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(generator.randrange(1, 60))]
        time.sleep(generator.random() * 0.003)  # kills at a random moment
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.readlines()
        child.stdout.close()
        child.wait()
        requested: set[int] = set()
        for line in lines:
            number = int(line[1:])
            {b"+": alive.add, b"-": alive.discard, b"?": requested.add}[line[:1]](number)
        assert verify(path) == []
        stored = {item_id for item_id, _, _ in _content(path)}
        lost = alive - stored
        assert lost <= requested, f"lost although acknowledged: {lost - requested}"
        assert len(lost) <= 1, (
            "at most one removal may be committed without having been acknowledged"
        )
        assert len(stored - alive) in (0, 1, 7, 30, 250), (
            "at most one batch may be committed without having been acknowledged"
        )
        alive = stored


READ_OR_WRITE = """
import sys, time, numpy as np
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.gallery import Gallery, LabeledCode
role, path, number, until = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
turns = 0
with Gallery(path, FakeEngine().model, read_only=role == "read") as gallery:
    seen = 0
    while not turns or time.time() < until:
        if role == "write":
            code = np.array([number * 1000 + turns], np.uint64)
            gallery.enroll([LabeledCode(f"w{number}", code), LabeledCode(f"w{number}", code)])
        else:
            found = gallery.search(np.zeros(1, np.uint64), 10**6)
            assert len(found) >= seen and len(found) % 2 == 0, (len(found), seen)
            seen = len(found)
        turns += 1
print(turns)
"""


def test_two_writers_and_ten_readers_while_another_reader_is_killed(path: Path) -> None:
    with Gallery(path, MODEL, create=True):
        pass
    until = time.time() + 1 + CONCURRENT_S
    roles = [("write", 1), ("write", 2), *(("read", n) for n in range(11))]
    children = [
        subprocess.Popen(
            [sys.executable, "-c", READ_OR_WRITE, role, path, str(number), str(until)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for role, number in roles
    ]
    time.sleep(CONCURRENT_S / 2)
    victim = children.pop()
    victim.kill()
    victim.communicate()
    turns = []
    for child in children:
        out, messages = child.communicate(timeout=CONCURRENT_S + 120)
        assert child.returncode == 0, messages.decode()
        turns.append(int(out))
    assert len(_content(path)) == 2 * sum(turns[:2])
    assert min(turns[:2]) > 0
    assert verify(path) == []


@pytest.fixture
def failing_disk(tmp_path: Path) -> Iterator[Callable[[int], subprocess.CompletedProcess[str]]]:
    """Enroll in a process whose n-th write, fsync or rename fails."""
    source = ROOT / "tests" / "support" / "failing_disk.c"
    library = tmp_path / "failing_disk.so"
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to build the failing disk with")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)

    def run(fail_at: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", ENROLL_AND_PRINT, str(tmp_path / "gallery.sqlite")],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "LD_PRELOAD": str(library), "FAIL_AT": str(fail_at)},
        )

    yield run


ENROLL_AND_PRINT = """
import os, sys, numpy as np
import edge_runtime.gallery.features.memory as memory
import edge_runtime.gallery.store as store
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.errors import EdgeRuntimeError
memory.SNAPSHOT_FROM = 0
store.changes.MANY = 1
try:
    with store.Gallery(sys.argv[1], FakeEngine().model, create=True) as gallery:
        for count in (1, 2, 1, 2):  # as single codes and as large batches
            ids = gallery.enroll([store.LabeledCode("cat", np.array([7], np.uint64))] * count)
            print(ids[0], flush=True)
            gallery.search(np.array([7], np.uint64))
except EdgeRuntimeError as error:
    print("error:", error, file=sys.stderr)
"""


@pytest.mark.slow
def test_io_errors_are_reported_and_lose_nothing(
    failing_disk: Callable[[int], subprocess.CompletedProcess[str]], path: Path
) -> None:
    stored: set[int] = set()
    faults = 0
    for fail_at in range(1, 60):
        done = failing_disk(fail_at)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        faults += "error:" in done.stderr
        stored |= {int(line) for line in done.stdout.split()}
        if path.exists() and path.stat().st_size:
            findings = verify(path)
            if findings:  # creating the file failed, so nothing was acknowledged
                assert not stored, (fail_at, findings)
            else:
                assert stored <= {item_id for item_id, _, _ in _content(path)}, fail_at
    assert faults > 10
    assert stored


def test_maintenance_of_a_missing_or_corrupt_gallery(path: Path) -> None:
    for act in (verify, repair, compact):
        with pytest.raises(EdgeRuntimeError, match="no gallery file"):
            act(path)
    path.write_bytes(b"rubbish" * 100)
    assert len(verify(path)) == 1
    with pytest.raises(GalleryDamagedError):
        repair(path)
    assert path.read_bytes() == b"rubbish" * 100
