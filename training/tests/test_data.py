from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from training.cache import open_cache
from training.data import DataError, read_set, read_sets, twins, warnings_about
from training.judge import Side, ceiling, retrieve
from training.splits import class_split, official, random_split, stretch_split
from training.tests.conftest import draw_photos, photo


def test_tree_and_manifest_give_the_same_photos(tmp_path: Path) -> None:
    draw_photos(tmp_path / "set")
    tree = read_set(tmp_path / "set")
    lines = [f"{p.name},{p.label},train" for p in tree]
    (tmp_path / "set" / "manifest.csv").write_text("\n".join(["path,label,split", *lines]))
    listed = read_set(tmp_path / "set")
    assert [(p.name, p.label) for p in tree] == [(p.name, p.label) for p in listed]
    assert {p.split for p in listed} == {"train"}


def test_labels_of_two_sets_are_kept_apart(tmp_path: Path) -> None:
    draw_photos(tmp_path / "one")
    draw_photos(tmp_path / "two")
    labels = {p.label for p in read_sets([tmp_path / "one", tmp_path / "two"])}
    assert len(labels) == 6 and "one/label0" in labels


@pytest.mark.parametrize("content", ["", "path,other\nx.jpg,1\n"])
def test_manifest_without_labels_is_one_clear_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.csv").write_text(content)
    with pytest.raises(DataError, match=r"manifest\.csv.*path"):
        read_set(tmp_path)


def test_empty_or_absent_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no photo"):
        read_set(tmp_path)
    with pytest.raises(DataError, match="not a folder"):
        read_set(tmp_path / "absent")


def test_oddities_are_reported(tmp_path: Path) -> None:
    draw_photos(tmp_path / "set", each=2)
    (tmp_path / "set" / "lone").mkdir()
    first = tmp_path / "set" / "label0" / "000.png"
    (tmp_path / "set" / "lone" / "copy.png").write_bytes(first.read_bytes())
    lines = warnings_about(read_set(tmp_path / "set"))
    assert lines == [
        "label lone has one photo: it can be learnt but not be judged",
        "labels label0 and lone share 1 identical photos",
    ]


def test_corrupt_photo_is_skipped_with_its_name(tmp_path: Path) -> None:
    draw_photos(tmp_path / "set", each=2)
    (tmp_path / "set" / "label0" / "000.png").write_bytes(b"no picture")
    cache = open_cache(read_set(tmp_path / "set"))
    assert len(cache) == 5
    assert len(cache.skipped) == 1 and "label0/000.png" in cache.skipped[0]
    assert cache[0].shape == (64, 80, 3)


def test_stretch_holds_out_contiguous_photos() -> None:
    photos = [photo(f"{i:02}.jpg", "a") for i in range(10)] + [photo("b.jpg", "b")]
    kept, held = stretch_split(photos, 0.3, seed=4)
    numbers = [int(p.name[:2]) for p in held]
    assert numbers == list(range(numbers[0], numbers[0] + 3))
    assert len(kept) == 8 and photos[-1] in kept


def test_other_splits_part_without_overlap() -> None:
    photos = [photo(f"{label}{i}.jpg", label) for label in "abcde" for i in range(5)]
    for kept, held in (random_split(photos, 0.2, 1), class_split(photos, 0.2, 1)):
        assert len(held) == 5 and len(kept) == 20 and not set(kept) & set(held)
    assert len({p.label for p in class_split(photos, 0.2, 1)[1]}) == 1


def test_split_without_queries_is_an_error() -> None:
    with pytest.raises(DataError, match="official"):
        official([photo("a.jpg", "a", "train")])


def test_tiny_set(tiny: Path) -> None:
    photos = read_set(tiny)
    assert len(photos) == 320 and len({p.label for p in photos}) == 18
    database, queries = official(photos)
    assert (len(database), len(queries)) == (204, 116)


def test_labels_of_the_same_photos_are_twins_and_lower_the_ceiling(tmp_path: Path) -> None:
    draw_photos(tmp_path / "set", labels=3, each=4)
    shutil.copytree(tmp_path / "set" / "label1", tmp_path / "set" / "twin")
    (tmp_path / "set" / "lone").mkdir()
    shutil.copy(tmp_path / "set" / "label0" / "000.png", tmp_path / "set" / "lone")
    photos = read_set(tmp_path / "set")
    alike = twins(photos)
    assert alike == {"twin": "label1"}
    database, queries = (
        Side(part, np.zeros((len(part), 1), np.uint64))
        for part in ([p for p in photos if p.name.endswith(("0.png", "1.png", "2.png"))],
                     [p for p in photos if p.name.endswith("3.png")])
    )  # fmt: skip
    ranking = retrieve(database, queries)
    assert ceiling(ranking, {}) == 100
    assert 70 < ceiling(ranking, alike) < 85  # two of four queries find half of what is theirs
