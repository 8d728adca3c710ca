"""The features, kept pictures and fitted code of a gallery, and the ranking by features."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.code import Embedding
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.errors import GalleryDamagedError, InputError, NotEnrolledError
from edge_runtime.fitting.calibration import SAME
from edge_runtime.fitting.layer import HashLayer
from edge_runtime.fitting.quantized import quantize, unit
from edge_runtime.gallery import Gallery, LabeledCode
from edge_runtime.gallery.backup import backup, restore
from edge_runtime.gallery.features.fitted import read_layer, write_layer
from edge_runtime.gallery.maintenance import verify
from edge_runtime.gallery.rows import begin_generation
from edge_runtime.gallery.upkeep.repair import repair
from edge_runtime.position import Position, QueryPosition

MODEL = FakeEngine().model
FEATURES = 16
JPEG = b"\xff\xd8\xff\xe0 a picture"


def _embedding(seed: int) -> Embedding:
    generator = np.random.default_rng(seed)
    code = generator.integers(0, 2**64, 1, dtype=np.uint64)
    return Embedding(code, generator.standard_normal(FEATURES).astype(np.float32))


def _item(seed: int, label: str = "cat", picture: bytes = b"") -> LabeledCode:
    made = _embedding(seed)
    assert made.features is not None
    digest = seed.to_bytes(32, "big")
    return LabeledCode(
        label, made.code, f"{seed}.jpg", digest, None, quantize(made.features), picture
    )


def _layer() -> HashLayer:
    weight = np.random.default_rng(0).standard_normal((32, FEATURES)).astype(np.float32)
    return HashLayer(weight, np.zeros(32, np.float32))


def _stored(gallery: Gallery) -> dict[int, tuple[str, bytes | None, bytes]]:
    """Return label, features and kept picture of each code."""
    return {
        number: (
            item.label,
            None if item.features is None else item.features.tobytes(),
            item.picture,
        )
        for number, item in gallery.content().codes
    }


def _fill(gallery: Gallery) -> dict[int, tuple[str, bytes | None, bytes]]:
    items = [_item(1, picture=JPEG), _item(2), _item(3, "dog", JPEG + b"!"), _item(4, "owl")]
    gallery.enroll(items)
    return {
        number: (item.label, item.features.tobytes(), item.picture)
        for number, item in enumerate(items, 1)
        if item.features is not None
    }


def _change(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.create_function(
            "flipped", 1, lambda data: data[:5] + bytes([data[5] ^ 4]) + data[6:]
        )
        connection.execute("PRAGMA foreign_keys = OFF")
        for statement in statements:
            connection.execute(statement)
    connection.close()


def _counts(path: Path) -> list[int]:
    connection = sqlite3.connect(path)
    counts = [
        connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        for table in ("feature", "picture", "layer")
    ]
    connection.close()
    return counts


def _fit(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        write_layer(connection, _layer(), {"kept": True})
        begin_generation(connection)
    connection.close()


def test_features_and_pictures_survive_changes(gallery: Gallery) -> None:
    expected = _fill(gallery)
    assert _stored(gallery) == expected
    with Gallery(gallery.path, MODEL, read_only=True) as again:
        assert _stored(again) == expected
    gallery.relabel("dog", "wolf")
    expected[3] = ("wolf", *expected[3][1:])
    assert _stored(gallery) == expected
    gallery.remove(ids=[1])
    gallery.remove(label="owl")
    assert _stored(gallery) == {number: expected[number] for number in (2, 3)}
    assert _counts(gallery.path) == [2, 1, 0]
    assert verify(gallery.path) == []


def test_merge_keeps_features_and_pictures(gallery: Gallery, tmp_path: Path) -> None:
    expected = _fill(gallery)
    with Gallery(tmp_path / "other.sqlite", MODEL, create=True) as other:
        other.enroll([_item(9, "fox"), _item(1)])
        other.merge(gallery)
        merged = _stored(other)
        assert [merged[number] for number in (3, 4, 5)] == [expected[n] for n in (2, 3, 4)]
        assert other.rank(_embedding(9)) is not None
        assert verify(other.path) == []


FAULTS = {
    "UPDATE feature SET value = flipped(value) WHERE item_id = 2": (
        "code 2: the checksum of its features does not match",
        [3, 2, 1],
    ),
    "UPDATE picture SET jpeg = flipped(jpeg) WHERE item_id = 3": (
        "code 3: the checksum of its kept picture does not match",
        [4, 1, 1],
    ),
    "UPDATE layer SET weights = flipped(weights)": (
        "fitted layer: its checksum does not match",
        [4, 2, 0],
    ),
    "UPDATE feature SET item_id = 99 WHERE item_id = 2": (
        "code 99: the checksum of its features does not match",
        [3, 2, 1],
    ),
    "DELETE FROM item WHERE id = 3": ("code 3: it has features, but is missing", [3, 1, 1]),
}


FLEET_TABLES = ("shared", "shared_label", "fleet", "sound")
"""That schema 5 does not have."""
LATER_TABLES = (
    *("feature", "picture", "layer", "metric", "calibration", "refit"),
    *FLEET_TABLES,
)
"""That schema 3 does not have."""


@pytest.mark.parametrize("change", FAULTS)
def test_verify_finds_a_fault_and_repair_keeps_the_rest(gallery: Gallery, change: str) -> None:
    expected = _fill(gallery)
    _fit(gallery.path)
    assert verify(gallery.path) == []
    gallery.close()
    _change(gallery.path, change)
    finding, kept = FAULTS[change]
    assert verify(gallery.path)[0] == finding
    repair(gallery.path)
    assert verify(gallery.path) == []
    assert _counts(gallery.path) == kept
    with Gallery(gallery.path, MODEL) as repaired:
        for number, (label, features, picture) in _stored(repaired).items():
            assert label == expected[number][0]
            assert features in (None, expected[number][1])
            assert picture in (b"", expected[number][2])
    if kept[2]:
        connection = sqlite3.connect(gallery.path)
        layer, details, _ = read_layer(connection)
        connection.close()
        assert layer is not None
        assert layer.to_bytes() == _layer().to_bytes()
        assert details == {"kept": True}


@pytest.mark.parametrize("change", list(FAULTS)[:3])
def test_corrupt_features_are_not_used(gallery: Gallery, change: str) -> None:
    _fill(gallery)
    _fit(gallery.path)
    _change(gallery.path, change)
    with pytest.raises(GalleryDamagedError, match="checksum"):
        gallery.rank(_embedding(1)) if "picture" not in change else gallery.content()


def test_repair_skips_unreadable_pages_of_features(gallery: Gallery) -> None:
    gallery.enroll([_item(seed) for seed in range(2000)])
    gallery.close()
    connection = sqlite3.connect(gallery.path)
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    data = bytearray(gallery.path.read_bytes())
    marked = quantize(np.asarray(_embedding(1000).features)).tobytes()
    page = data.index(marked) // size * size
    data[page : page + 8] = b"\xff" * 8
    gallery.path.write_bytes(data)
    assert repair(gallery.path).codes_kept == 2000
    assert verify(gallery.path) == []
    with Gallery(gallery.path, MODEL) as repaired:
        stored = [features for _, features, _ in _stored(repaired).values()]
    lost = [number for number, features in enumerate(stored) if features is None]
    assert 1000 in lost
    assert len(lost) < 200
    assert lost == list(range(lost[0], lost[-1] + 1))


def test_a_gallery_of_schema_3_answers_as_before(gallery: Gallery) -> None:
    old = [LabeledCode("cat", _item(n).code, f"{n}.jpg", bytes([n])) for n in range(3)]
    gallery.enroll(old)
    expected = gallery.search(old[1].code)
    gallery.close()
    tables = [f"DROP TABLE {table}" for table in LATER_TABLES]
    _change(gallery.path, *tables, "PRAGMA user_version = 3")
    with Gallery(gallery.path, MODEL) as migrated:
        assert migrated.search(old[1].code) == expected
        assert migrated.rank(_embedding(1)) is None
        assert migrated.calibration() is None
        migrated.enroll([_item(7, "dog")])
        assert migrated.rank(_embedding(7)) is None
        assert _stored(migrated)[4] == ("dog", _stored(migrated)[4][1], b"")
    assert verify(gallery.path) == []


@pytest.mark.parametrize("read_only", [False, True])
def test_a_gallery_of_schema_5_follows_no_fleet(gallery: Gallery, read_only: bool) -> None:
    expected = _fill(gallery)
    gallery.close()
    tables = [f"DROP TABLE {table}" for table in FLEET_TABLES]
    _change(gallery.path, *tables, "PRAGMA user_version = 5")
    with Gallery(gallery.path, MODEL, read_only=read_only) as migrated:
        assert _stored(migrated).keys() == expected.keys()
        stats = migrated.stats()
    assert (stats.fleet_version, stats.pending_pictures) == (None, None)
    assert verify(gallery.path) == []


def test_a_restored_backup_has_its_own_features(gallery: Gallery, tmp_path: Path) -> None:
    """Its codes may have the ids of other codes that are in memory."""
    with Gallery(tmp_path / "other.sqlite", MODEL, create=True) as other:
        other.enroll([_item(seed, "fox") for seed in range(20, 24)])
        backup(other.path, tmp_path / "backup.sqlite")
    _fill(gallery)
    assert gallery.rank(_embedding(1)) is not None
    restore(gallery.path, tmp_path / "backup.sqlite")
    ranking = gallery.rank(_embedding(21))
    assert ranking is not None
    assert ranking.matches[0].id == 2
    assert ranking.matches[0].similarity == pytest.approx(1, abs=1e-3)


def test_features_of_another_type_or_length_are_refused(gallery: Gallery) -> None:
    features = quantize(np.asarray(_embedding(1).features))
    wrongs: list[Any] = [features.astype(np.float32), features[np.newaxis], features[:-1]]
    for wrong in wrongs:
        with pytest.raises(InputError, match="features must be int8"):
            gallery.enroll([_item(2), replace(_item(1), features=wrong)])
    assert gallery.labels() == {}


# -- rank -----------------------------------------------------------------------------------------


def test_an_enrolled_picture_wins(gallery: Gallery) -> None:
    """Also where another label has many pictures that are nearly the same."""
    query = _embedding(1)
    assert query.features is not None
    gallery.enroll([replace(_item(n, "near"), features=_close(query, n)) for n in range(10, 20)])
    gallery.enroll([_item(1, "same"), _item(2, "same"), _item(3, "same")])
    ranking = gallery.rank(query)
    assert ranking is not None
    assert [one.label for one in ranking.labels] == ["same", "near"]
    assert ranking.labels[0].similarity == 1
    assert ranking.matches[0].similarity == pytest.approx(1, abs=1e-3)
    assert ranking.matches[0].id == ranking.labels[0].match.id == 11


def _close(query: Embedding, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(FEATURES)
    return quantize(np.asarray(query.features) + 0.15 * noise)


def test_a_ranking_of_some_labels(gallery: Gallery) -> None:
    _fill(gallery)
    ranking = gallery.rank(_embedding(1), labels=["dog", "owl"])
    assert ranking is not None
    assert {match.id for match in ranking.matches} == {3, 4}
    assert {one.label for one in ranking.labels} == {"dog", "owl"}
    with pytest.raises(NotEnrolledError):
        gallery.rank(_embedding(1), labels=["fox"])


def test_a_ranking_near_a_position(gallery: Gallery) -> None:
    here, there = Position(52.0, 4.0), Position(52.1, 4.0)
    copy = replace(_item(1, "there"), position=there)
    gallery.enroll([copy, replace(copy, label="here", position=here), _item(2, "unknown")])
    ranking = gallery.rank(_embedding(1), near=QueryPosition(here, meters_per_bit=1000))
    assert ranking is not None
    first, second = ranking.matches[:2]
    assert (first.label, second.label) == ("here", "there")
    assert second.penalty > first.penalty == 0
    assert first.similarity is not None
    assert second.similarity is not None
    lowered = first.similarity - second.similarity
    assert lowered == pytest.approx(second.penalty / 64, abs=2e-4)
    within = gallery.rank(_embedding(1), near=QueryPosition(here, within_m=100))
    assert within is not None
    assert "there" not in {match.label for match in within.matches}
    nobody = gallery.rank(_embedding(1), labels=["there"], near=QueryPosition(here, within_m=100))
    assert nobody is not None
    assert (nobody.matches, nobody.labels) == ((), ())


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_ranking_equals_that_of_a_full_comparison(data: st.DataObject) -> None:
    """With fewer codes than `CANDIDATES`, the codes do not matter, only the features."""
    seeds = data.draw(st.lists(st.integers(0, 999), min_size=1, max_size=30, unique=True))
    owners = data.draw(st.lists(st.sampled_from("abcd"), min_size=len(seeds), max_size=len(seeds)))
    query = _embedding(data.draw(st.sampled_from([*seeds, 1000, 1001])))
    wanted = data.draw(st.none() | st.sets(st.sampled_from(sorted(set(owners))), min_size=1))
    k = data.draw(st.integers(1, 8))
    items = [_item(seed, label) for seed, label in zip(seeds, owners, strict=True)]
    with (
        TemporaryDirectory() as folder,
        Gallery(Path(folder) / "g.sqlite", MODEL, create=True) as gallery,
    ):
        half = len(items) // 2
        gallery.enroll(items[:half])
        gallery.snapshot()  # the second half is added to the features in memory
        gallery.enroll([*items[half:], _item(2000, "removed")])
        gallery.snapshot()
        gallery.remove(label="removed")
        if data.draw(st.booleans()):
            _fit(gallery.path)
        ranking = gallery.rank(query, k, labels=wanted)
    assert ranking is not None
    units = unit(np.stack([np.asarray(item.features) for item in items]))
    direction = unit(np.asarray(query.features))
    cosines = units @ direction
    passing = [n for n, label in enumerate(owners) if wanted is None or label in wanted]
    by_cosine = sorted(passing, key=lambda n: -cosines[n])
    assert [match.id for match in ranking.matches] == [n + 1 for n in by_cosine[:k]]
    found = [match.similarity for match in ranking.matches]
    assert found == pytest.approx(cosines[by_cosine[:k]].tolist(), abs=1e-4)
    expected = {}
    for label in {owners[n] for n in passing}:
        own = [n for n in passing if owners[n] == label]
        mean = unit(units[own].mean(axis=0))
        best = float(cosines[own].max())
        expected[label] = 1 if best >= SAME else (best + float(mean @ direction)) / 2
    assert {one.label: one.similarity for one in ranking.labels} == pytest.approx(
        expected, abs=2e-3
    )
    assert [one.similarity for one in ranking.labels] == sorted(
        (one.similarity for one in ranking.labels), reverse=True
    )
