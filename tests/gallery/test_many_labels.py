"""What changes and first queries of large galleries cost; and the labels stay right."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.cli import run_command
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.enroll import rehash_gallery
from edge_runtime.errors import EdgeRuntimeError
from edge_runtime.gallery import Gallery, LabeledCode, changes
from edge_runtime.gallery.backup import backup
from edge_runtime.gallery.maintenance import compact, verify
from edge_runtime.gallery.snapshot import update
from edge_runtime.gallery.snapshot.file import snapshot_path
from edge_runtime.web.gallery_files import take_place

MODEL = FakeEngine().model


def _code(label: str, value: int, digest: bytes | None = None) -> LabeledCode:
    return LabeledCode(label, np.array([value], np.uint64), digest=digest)


def _steps(path: Path, act: object) -> int:
    """Return how many thousand instructions of SQLite `act` and the next search need."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    with Gallery(path, MODEL) as writer, Gallery(path, MODEL, read_only=True) as reader:
        reader.search(np.array([1], np.uint64))
        for gallery in (writer, reader):
            gallery._connection.set_progress_handler(count, 1000)
        act(writer)  # type: ignore[operator]
        reader.search(np.array([1], np.uint64))
    return steps


def test_a_change_reads_what_changed_and_not_all_labels(tmp_path: Path) -> None:
    path, labels = tmp_path / "gallery.sqlite", 20_000
    with Gallery(path, MODEL, create=True) as gallery:
        gallery.enroll([_code(f"label {n}", n) for n in range(labels)])
    acts = {
        "a code of a known label": lambda gallery: gallery.enroll([_code("label 7", 3)]),
        "a code of a new label": lambda gallery: gallery.enroll([_code("new", 4)]),
        "a removed code": lambda gallery: gallery.remove(ids=[100]),
        "a removed label": lambda gallery: gallery.remove(label="label 9"),
        "another label": lambda gallery: gallery.relabel("label 8", "eight"),
        "a merged label": lambda gallery: gallery.relabel("label 10", "label 11"),
        "a payload": lambda gallery: gallery.set_payload("label 12", "{}"),
    }
    for what, act in acts.items():
        assert _steps(path, act) <= 3, what  # reading all labels takes more than a hundred
    assert verify(path) == []


def _change(generator: random.Random, gallery: Gallery) -> None:
    name, other = (f"l{generator.randrange(5)}" for _ in range(2))
    digest = bytes([generator.randrange(4)]) if generator.random() < 0.5 else None
    kind = generator.randrange(9)
    with suppress(EdgeRuntimeError):
        if kind == 0:
            gallery.remove(label=name)
        elif kind == 1:
            gallery.relabel(name, other)
        elif kind == 2:
            nearest = gallery.search(np.array([1], np.uint64), 2)
            gallery.remove(ids=[match.id for match in nearest])
        elif kind == 3:
            compact(gallery.path)
        else:
            gallery.enroll([_code(name, generator.randrange(99), digest)])


@pytest.mark.parametrize("many", [1000, 0])
def test_labels_equal_those_of_a_fresh_process(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    monkeypatch.setattr(update, "MANY", many)
    everything = np.array([0], np.uint64), 64

    @settings(max_examples=15, deadline=None)
    @given(st.integers(0, 2**32))
    def compare(seed: int) -> None:
        generator = random.Random(seed)
        path = tmp_path_factory.mktemp("labels") / "gallery.sqlite"
        with (
            Gallery(path, MODEL, create=True) as writer,
            Gallery(path, MODEL, read_only=True) as reader,
        ):
            for _ in range(25):
                _change(generator, writer)
                if generator.random() < 0.5:
                    with Gallery(path, MODEL, read_only=True) as fresh:
                        assert reader.snapshot().labels == fresh.snapshot().labels
                        assert reader.within(*everything) == fresh.within(*everything)

    compare()


def test_the_source_of_many_codes_is_examined_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking for secrets takes a large part of a code's time, and views share their source."""
    examined: list[str] = []

    def redact(text: str) -> str:
        examined.append(text)
        return text

    monkeypatch.setattr(changes, "redact", redact)
    codes = [
        replace(_code("label", number, bytes([number])), source=f"photo{number % 2}.jpg")
        for number in range(12)
    ]
    with Gallery(tmp_path / "gallery.sqlite", MODEL, create=True) as gallery:
        gallery.enroll(codes)
        assert {code.source for _, code in gallery.content().codes} == {"photo0.jpg", "photo1.jpg"}
    assert sorted(examined) == ["photo0.jpg", "photo1.jpg"]


@pytest.mark.parametrize("way", ["restore", "page", "repair", "rehash"])
def test_the_first_query_after_all_codes_were_replaced_is_fast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Without the snapshot file, every query reads all codes from the database."""
    monkeypatch.setattr("edge_runtime.gallery.features.memory.SNAPSHOT_FROM", 0)
    path, copy = tmp_path / "gallery.sqlite", tmp_path / "copy.sqlite"
    with Gallery(path, MODEL, create=True) as gallery:
        gallery.enroll([_code(f"label {n}", n) for n in range(20)])
    backup(path, copy)
    snapshot_path(path).unlink(missing_ok=True)
    if way == "rehash":
        rehash_gallery(FakeEngine(), path)
    elif way == "page":
        take_place(path, copy, MODEL)
    else:
        source = [str(copy)] if way == "restore" else []
        assert run_command(["gallery", way, "--gallery", str(path), *source]) == 0
    assert snapshot_path(path).exists()
    assert verify(path) == []
