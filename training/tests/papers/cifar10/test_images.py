"""Both forms of the set, its faults, and the split."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from training.data.photo_sets import DataError
from training.papers.cifar10.images import open_images
from training.papers.cifar10.split import split_images


def test_both_forms_hold_the_same_images_in_the_same_order(tree: Path, official: Path) -> None:
    one, other = open_images(tree), open_images(official)
    assert len(one) == len(other) == 90
    assert one.classes == other.classes == ("ant", "bee", "cat")
    np.testing.assert_array_equal(one.labels, other.labels)
    np.testing.assert_array_equal(one.test, other.test)
    for index in range(90):
        np.testing.assert_array_equal(one[index], other[index])
    assert other.lossless and not one.lossless
    assert one.stamp == open_images(tree).stamp != other.stamp


def test_the_folder_above_the_official_one_is_found(official: Path) -> None:
    assert open_images(official.parent).stamp == open_images(official).stamp


def test_the_split_takes_a_tenth_of_each_class(official: Path) -> None:
    images = open_images(official)
    split = split_images(images)
    assert np.bincount(images.labels[split.queries]).tolist() == [1, 1, 1]
    assert np.bincount(images.labels[split.training]).tolist() == [2, 2, 2]
    assert images.test[split.queries].all() and not images.test[split.training].any()
    assert not images.test[split.validation].any()
    assert len(split.database) == 87 and set(split.training) <= set(split.database)
    assert not set(split.queries) & set(split.database)
    assert not set(split.validation) & set(split.training)
    for part in ("queries", "training", "database", "validation"):
        again = getattr(split_images(images), part)
        np.testing.assert_array_equal(getattr(split, part), again)


def test_the_real_set_has_the_split_of_the_papers(cifar10: Path) -> None:
    images = open_images(cifar10)
    split = split_images(images)
    assert len(images) == 60_000
    assert [len(split.queries), len(split.training), len(split.database)] == [1000, 5000, 59_000]
    assert np.bincount(images.labels[split.training]).tolist() == [500] * 10
    assert images[0].shape == (32, 32, 3)


def test_faults_name_the_file_and_the_remedy(tree: Path, official: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent: not a folder"):
        open_images(tmp_path / "absent")
    (tree / "test" / "dog").mkdir()
    with pytest.raises(DataError, match="do not hold the same classes"):
        open_images(tree)
    (official / "data_batch_3").write_bytes(b"\x80\x04 damaged")
    with pytest.raises(DataError, match="data_batch_3: cannot be read"):
        open_images(official)
    (official / "data_batch_3").write_bytes(pickle.dumps({b"data": 1, b"labels": [1]}))
    with pytest.raises(DataError, match="data_batch_3: not a batch of CIFAR-10"):
        open_images(official)


def test_a_batch_file_runs_no_code(official: Path) -> None:
    (official / "data_batch_1").write_bytes(b"cposix\nsystem\n(S'false'\ntR.")
    with pytest.raises(DataError, match="is not expected"):
        open_images(official)


def test_a_class_with_too_few_images_is_refused(tree: Path) -> None:
    for path in sorted((tree / "test" / "bee").iterdir())[5:]:
        path.unlink()
    with pytest.raises(DataError, match="20 training and 5 test images of bee"):
        split_images(open_images(tree), tree)


def test_a_picture_of_another_size_is_refused(tree: Path) -> None:
    path = tree / "train" / "ant" / "0000.png"
    path.write_bytes((tree / "train" / "ant" / "0001.png").read_bytes()[:60])
    with pytest.raises(DataError, match=r"0000\.png"):
        _ = open_images(tree)[0]
