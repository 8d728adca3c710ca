"""`edge-runtime hash` on this machine: what it finds, writes and refuses."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.batch.output import failures_path
from edge_runtime.batch.run import HashOptions, HashProgress, hash_photos
from edge_runtime.engine import open_engine
from edge_runtime.errors import (
    EdgeRuntimeError,
    GalleryModelMismatchError,
    InputError,
    LabelError,
    NoPhotosError,
    StorageError,
)
from edge_runtime.fitting.quantized import quantize
from edge_runtime.gallery import Gallery
from edge_runtime.gallery.exchange.reading import import_codes, import_into
from edge_runtime.gallery.rows import Meta
from edge_runtime.image.decode import read_photo
from edge_runtime.image.preprocess import views_of
from edge_runtime.recognition.pipeline import embedding_of
from tests.support.batch import (
    hash_into,
    photo,
    read_lines,
)
from tests.support.tiny_onnx import BITS, TinyModel, weights


def test_codes_are_those_of_the_engine(photos: Path, tmp_path: Path, model: Path) -> None:
    output = tmp_path / "codes.jsonl"
    result = hash_into(photos, output, model)
    assert (result.photos, result.hashed, result.codes, result.failed) == (12, 12, 12, 0)
    engine = open_engine(model)
    head, *lines = read_lines(output)
    assert head == {"edge_runtime_gallery": 2, "model_id": engine.model.id, "bits": BITS}
    assert [line["source"] for line in lines] == sorted(map(str, photos.rglob("*.jpg")))
    for line in lines:
        path = Path(line["source"])
        code = embedding_of(engine, read_photo(path)).code
        assert line["label"] == path.parent.name
        assert line["code"] == code.astype("<u8").tobytes()[: BITS // 8].hex()
        assert line["digest"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not failures_path(output).exists()


def test_views_and_features_are_those_of_enrollment(photos: Path, tmp_path: Path) -> None:
    engine = open_engine()
    one = next(photos.rglob("*.jpg"))
    for name in ("codes.jsonl", "codes.npz"):
        hash_photos((one,), tmp_path / name, HashOptions(views=True, features=True))
    embeddings = [embedding_of(engine, view) for view in views_of(read_photo(one))]
    with np.load(tmp_path / "codes.npz") as arrays:
        for row, each in enumerate(embeddings):
            assert each.features is not None
            assert np.array_equal(arrays["codes"][row], each.code)
            assert np.array_equal(arrays["features"][row], quantize(each.features))
        assert arrays["model_id"] == engine.model.id
    both = [
        import_codes(tmp_path / name, Meta(engine.model.id, engine.model.bits))[0]
        for name in ("codes.jsonl", "codes.npz")
    ]
    assert len(both[0]) == 6
    for left, right in zip(*both, strict=True):
        assert (left.label, left.source, left.digest) == (right.label, right.source, right.digest)
        assert np.array_equal(left.code, right.code)


@pytest.mark.parametrize("name", ["codes.jsonl", "codes.npz"])
def test_the_output_can_be_imported(photos: Path, tmp_path: Path, model: Path, name: str) -> None:
    hash_into(photos, tmp_path / name, model)
    info = open_engine(model).model
    with Gallery(tmp_path / "gallery.sqlite", info, create=True) as gallery:
        counts = import_into(gallery, tmp_path / name)
        assert counts.pictures_added == 12
        assert {each: tuple(n) for each, n in gallery.label_counts().items()} == {
            f"label {number}": (3, 3) for number in range(4)
        }


def test_a_second_run_hashes_only_what_changed(photos: Path, tmp_path: Path, model: Path) -> None:
    output = tmp_path / "codes.jsonl"
    hash_into(photos, output, model)
    before = output.read_bytes()
    assert hash_into(photos, output, model).hashed == 0
    assert output.read_bytes() == before
    changed, removed = photos / "label 0" / "0.jpg", photos / "label 1" / "1.jpg"
    changed.write_bytes(photo(100))
    removed.unlink()
    (photos / "label 2" / "new.jpg").write_bytes(photo(101))
    result = hash_into(photos, output, model)
    assert (result.hashed, result.codes) == (2, 12)
    shutil.copytree(photos, tmp_path / "elsewhere" / "photos")
    fresh = tmp_path / "fresh.jsonl"
    hash_into(photos, fresh, model)
    assert output.read_bytes() == fresh.read_bytes()
    removed.write_bytes(photo(1))  # its code is still known, but its time has changed
    assert hash_into(photos, output, model).hashed == 1


def test_copies_are_counted_and_written_once(photos: Path, tmp_path: Path, model: Path) -> None:
    shutil.copy(photos / "label 3" / "3.jpg", photos / "label 0" / "copy.jpg")
    (photos / "label 3" / "again").mkdir()
    shutil.copy(photos / "label 3" / "3.jpg", photos / "label 3" / "again" / "copy.jpg")
    states: list[tuple[int, int]] = []
    output = tmp_path / "codes.jsonl"
    options = HashOptions(str(model), workers=2)

    def progress(state: HashProgress) -> None:
        states.append((state.done, state.duplicates))

    result = hash_photos((photos,), output, options, progress)
    assert (result.photos, result.digests, result.duplicates) == (14, 12, 2)
    assert states[-1] == (14, 2)
    digests = [line["digest"] for line in read_lines(output)[1:]]
    assert len(set(digests)) == len(digests) == 12
    first = [line for line in read_lines(output)[1:] if line["source"].endswith("copy.jpg")]
    assert [line["label"] for line in first] == ["label 0"]


def test_what_cannot_be_used_is_listed(photos: Path, tmp_path: Path, model: Path) -> None:
    (photos / "damaged.jpg").write_bytes(photo(1)[:300])
    (photos / "other.heic").write_bytes(b"1")
    (photos / "third.HEIC").write_bytes(b"1")
    (photos / "bad\\label").mkdir()
    (photos / "bad\\label" / "a.jpg").write_bytes(photo(50))
    (photos / "link").symlink_to(photos / "label 1")
    os.mkfifo(photos / "fifo.jpg")
    (photos / ".hidden.jpg").write_bytes(b"1")
    output = tmp_path / "codes.jsonl"
    result = hash_into(photos, output, model)
    assert (result.hashed, result.codes, result.failed) == (12, 12, 5)
    failures = {
        Path(each["photo"]).name: each["what"] for each in read_lines(failures_path(output))
    }
    assert failures == {
        "a.jpg": "label must not contain '\\': 'bad\\\\label'",
        "damaged.jpg": "truncated JPEG",
        "fifo.jpg": "this is a FIFO, not a regular file",
        "link": "this is a link to a folder, which is not followed",
        "other.heic": ".heic files are not supported, and 1 more",
    }
    (photos / "damaged.jpg").write_bytes(photo(1))
    assert hash_into(photos, output, model, label="one").failed == 3
    for name in ("other.heic", "third.HEIC", "link", "fifo.jpg"):
        (photos / name).unlink()
    assert hash_into(photos, output, model, label="one").failed == 0
    assert {line["label"] for line in read_lines(output)[1:]} == {"one"}
    assert not failures_path(output).exists()


def test_file_names_of_any_bytes(tmp_path: Path, model: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, name in enumerate([b"\xff\xfe.jpg", "ж 'x\".jpg".encode(), b"line\nbreak.jpg"]):
        (photos / os.fsdecode(name)).write_bytes(photo(number))
    for output in (tmp_path / "codes.jsonl", tmp_path / "codes.npz"):
        assert hash_into(photos, output, model).codes == 3
        codes, _ = import_codes(output, Meta(open_engine(model).model.id, BITS))
        assert {code.label for code in codes} == {"photos"}
    assert hash_into(photos, tmp_path / "codes.jsonl", model).hashed == 0


def test_photos_and_folders_can_be_mixed_and_overlap(
    photos: Path, tmp_path: Path, model: Path
) -> None:
    (tmp_path / "one.jpg").write_bytes(photo(90))
    paths = (
        photos / "label 1",
        tmp_path / "one.jpg",
        photos,
        photos / "label 0" / ".." / "label 2",
    )
    result = hash_photos(paths, tmp_path / "codes.jsonl", HashOptions(str(model)))
    assert (result.photos, result.codes, result.duplicates) == (13, 13, 0)


def test_bad_input_is_one_clear_line(photos: Path, tmp_path: Path, model: Path) -> None:
    def fails(
        error: type[EdgeRuntimeError], text: str, *paths: Path, out: str, **more: str
    ) -> None:
        with pytest.raises(error, match=text):
            hash_photos(paths, tmp_path / out, HashOptions(**({"model": str(model)} | more)))  # type: ignore[arg-type]

    (tmp_path / "empty").mkdir()
    fails(NoPhotosError, "empty: no photos in this folder", tmp_path / "empty", out="a.jsonl")
    fails(InputError, "unknown format '.txt'", photos, out="a.txt")
    fails(LabelError, "label must not contain '/'", photos, out="a.jsonl", label="a/b")
    missing = hash_photos((tmp_path / "no.jpg",), tmp_path / "b.jsonl", HashOptions(str(model)))
    assert [fault.what for fault in missing.failures] == ["no such file or folder"]
    hash_into(photos, tmp_path / "a.jsonl", model)
    other = TinyModel(weights(1)).write(tmp_path / "other" / "model.onnx")
    fails(GalleryModelMismatchError, "made by model", photos, out="a.jsonl", model=str(other))
    with pytest.raises(InputError, match=r"other options \(1 view, without features\)"):
        hash_into(photos, tmp_path / "a.jsonl", model, views=True)
    (tmp_path / "mine.jsonl").write_text("{}\n")
    fails(InputError, "the file exists, and there is no journal", photos, out="mine.jsonl")
    assert (tmp_path / "mine.jsonl").read_text() == "{}\n"
    fails(StorageError, "not a folder", photos, out="mine.jsonl/a.jsonl")


def test_an_unreadable_folder_is_listed(photos: Path, tmp_path: Path, model: Path) -> None:
    if not os.geteuid():
        pytest.skip("root can read everything")
    (photos / "label 0").chmod(0)
    try:
        result = hash_into(photos, tmp_path / "codes.jsonl", model)
    finally:
        (photos / "label 0").chmod(0o755)
    assert (result.codes, [fault.what for fault in result.failures]) == (9, ["permission denied"])
