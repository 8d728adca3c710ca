from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from training.data.photo_sets import (
    DataError,
    duplicate_labels,
    read_set,
    read_sets,
    warnings_about,
)
from training.data.pixel_cache import open_cache
from training.data.splits import (
    class_split,
    default_split,
    describe_splits,
    random_split,
    stretch_split,
)
from training.eval.retrieval import CodeSet, best_possible_map, retrieve
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
        "label lone has one photo: it can be learned but not evaluated",
        "labels label0 and lone share 1 identical photos",
    ]


def test_corrupt_photo_is_skipped_with_its_name(tmp_path: Path) -> None:
    draw_photos(tmp_path / "set", each=2)
    (tmp_path / "set" / "label0" / "000.png").write_bytes(b"not an image")
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
    with pytest.raises(DataError, match="no photo to hold out"):
        default_split([photo("a.jpg", "a", "train")])


def test_tiny_set(tiny: Path) -> None:
    photos = read_set(tiny)
    assert len(photos) == 320 and len({p.label for p in photos}) == 18
    database, queries, _ = default_split(photos)
    assert (len(database), len(queries)) == (204, 116)


def test_labels_of_the_same_photos_are_twins_and_lower_the_ceiling(tmp_path: Path) -> None:
    draw_photos(tmp_path / "set", labels=3, each=4)
    shutil.copytree(tmp_path / "set" / "label1", tmp_path / "set" / "twin")
    (tmp_path / "set" / "lone").mkdir()
    shutil.copy(tmp_path / "set" / "label0" / "000.png", tmp_path / "set" / "lone")
    photos = read_set(tmp_path / "set")
    alike = duplicate_labels(photos)
    assert alike == {"twin": "label1"}
    database, queries = (
        CodeSet(part, np.zeros((len(part), 1), np.uint64))
        for part in ([p for p in photos if p.name.endswith(("0.png", "1.png", "2.png"))],
                     [p for p in photos if p.name.endswith("3.png")])
    )  # fmt: skip
    ranking = retrieve(database, queries)
    assert best_possible_map(ranking, {}) == 100
    assert (
        70 < best_possible_map(ranking, alike) < 85
    )  # two of four queries find half of what is theirs


HEAD = "path,label,split,seq"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{HEAD}\na.png,a,train,1\nb.png,a,trial,2", r"manifest\.csv:3: the split \"trial\""),
        (f"{HEAD}\na.png,a,train,IMG1", r"manifest\.csv:2: seq is \"IMG1\""),
        (f"{HEAD}\na.png,a", r"manifest\.csv:2: the first line names 4 fields, this one has 2"),
        (
            f"{HEAD}\na.png,a,b,train,1",
            r"manifest\.csv:2: the first line names 4 fields, this one has 5",
        ),
        (
            "path,label,distinct\na.png,a,1",
            r"manifest\.csv:1: .*distinct without column interleaved",
        ),
        (f"{HEAD}\na.png,a,train,1\nb.png,caf\xe9,train,2", r"manifest\.csv:3: not UTF-8"),
        (f"{HEAD}\na.png,a,train,1\nb.png, ,train,2", r"manifest\.csv:3: its label is empty"),
        (f"{HEAD}\n,a,train,1", r"manifest\.csv:2: its path is empty"),
        ("path,place\na.png,", r"manifest\.csv:2: its place is empty"),
        (HEAD, "lists no photos"),
    ],
)
def test_faulty_manifest_is_one_line_with_its_place(
    tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "manifest.csv").write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=message):
        read_set(tmp_path)


def test_manifest_of_a_spreadsheet_and_its_split_words(tmp_path: Path) -> None:
    words = ["Training", "validation", "VALID", "dev", "testing", "Test ", "query", ""]
    rows = [f"{index}.png,a,{word}" for index, word in enumerate(words)]
    content = "\r\n".join(["path,label,split", *rows])
    (tmp_path / "manifest.csv").write_text(content, encoding="utf-8-sig")
    splits = [each.split for each in read_set(tmp_path)]
    assert splits == ["train", "val", "val", "val", "test", "test", "query", ""]


def test_photos_of_other_kinds_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a/1.HEIC", "a/2.HEIC", "b/3.gif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"2 \.HEIC files and 1 \.gif file .*convert them"):
        read_set(tmp_path)
    draw_photos(tmp_path)
    assert len(read_set(tmp_path)) == 18
    assert "left out: 2 .HEIC files and 1 .gif file" in capsys.readouterr().err


def test_labels_too_deep_are_hinted_at(tmp_path: Path) -> None:
    draw_photos(tmp_path / "set" / "train")
    with pytest.raises(DataError, match=r"one level too deep, in train \(.*give .*set/train"):
        read_set(tmp_path / "set")


def test_cut_cache_is_decoded_again(tmp_path: Path) -> None:
    draw_photos(tmp_path / "set", labels=1)
    photos = read_set(tmp_path / "set")
    whole = np.array(open_cache(photos)[5])
    (pixels,) = (tmp_path / "build" / "cache").glob("*.bin")
    pixels.write_bytes(pixels.read_bytes()[:-1])
    np.testing.assert_array_equal(open_cache(photos)[5], whole)


def test_a_set_is_parted_alike_alone_and_beside_others() -> None:
    one = [photo(f"{label}{i}.jpg", label, source="one") for label in "ab" for i in range(20)]
    two = [photo(f"{label}{i}.jpg", label, source="two") for label in "cd" for i in range(20)]
    own = [photo(f"{i}.jpg", "e", "test" if i else "train", "own") for i in range(4)]
    held = [default_split(part)[1] for part in (one, two, own, [*one, *two, *own])]
    assert held[0] + held[1] + held[2] == held[3] and len(held[3]) == 8 + 8 + 3


def test_a_split_stays_when_photos_of_it_turn_out_unreadable() -> None:
    photos = [photo(f"{label}{i:02}.jpg", label) for label in "ab" for i in range(20)]
    kept, held, words = default_split(photos)
    again = default_split(kept[3:] + held[1:])
    assert again[:2] == (kept[3:], held[1:])
    assert describe_splits(kept, held, words)["set"]["split"] == words
    assert describe_splits(kept, held, words) != describe_splits(*again[:2], words)
