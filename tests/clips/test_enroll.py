"""Frames of a clip that are worth enrolling."""

from __future__ import annotations

import json
import shutil
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import edge_runtime as er
from demo.scenes import read_scene
from edge_runtime.clips.enroll import DIFFERENT, choose, enroll_clip
from edge_runtime.code import hamming
from edge_runtime.engine import Engine
from edge_runtime.errors import NoPhotosError, PhotoError
from edge_runtime.gallery import Gallery
from tests.support.processes import run_cli


@given(st.lists(st.integers(0, 2**16 - 1), min_size=1, max_size=30), st.integers(1, 8))
def test_what_is_chosen_is_different_and_covers_the_rest(values: list[int], most: int) -> None:
    codes = np.array(values, np.uint64)[:, np.newaxis]
    blurs = [(value % 7) / 7 for value in values]
    kept = choose(codes, blurs, most, different=4)
    assert kept == sorted(set(kept))
    assert 1 <= len(kept) <= most
    for one, other in combinations(kept, 2):
        assert hamming(codes[one], codes[other]) >= 4
    if len(kept) < most:  # nothing that differs was left out
        for code in codes:
            assert min(hamming(code, codes[place]) for place in kept) < 4
    assert any(blurs[place] == min(blurs) for place in kept)


def test_the_sharpest_of_equal_frames_is_chosen() -> None:
    codes = np.zeros((3, 1), np.uint64)
    assert choose(codes, [0.5, 0.2, 0.4]) == [1]


def test_nothing_is_chosen_from_nothing() -> None:
    assert choose(np.zeros((0, 1), np.uint64), []) == []


def _blurred(image: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 9))


def _write(path: Path, images: list[np.ndarray]) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (480, 320))
    for image in images:
        writer.write(np.asarray(cv2.resize(image, (480, 320))))
    writer.release()
    return path


def test_blurred_and_repeated_frames_are_not_enrolled(tmp_path: Path, engine: Engine) -> None:
    cat, cup = read_scene("chelsea.png"), read_scene("coffee.png")
    dark = np.zeros_like(cat)
    shown = [_blurred(cat)] * 5 + [cat] * 10 + [dark] * 5 + [cup] * 10 + [_blurred(cup)] * 5
    path = _write(tmp_path / "film.avi", shown)
    with Gallery(tmp_path / "g.sqlite", engine.model, create=True) as gallery:
        result = enroll_clip(engine, gallery, "things", path)
        assert result.pictures_added == 2
        sources = gallery.sources(result.picture_ids)
        numbers = sorted(int(source.rpartition("#")[2]) for source in sources.values())
        assert 5 <= numbers[0] < 15
        assert 20 <= numbers[1] < 30
        codes = [code.code for _, code in gallery.content().codes if code.digest is not None]
        assert len(codes) == result.codes_added


def test_a_clip_that_shows_nothing_is_refused(tmp_path: Path, engine: Engine) -> None:
    path = _write(tmp_path / "dark.avi", [np.zeros((320, 480, 3), np.uint8)] * 12)
    with Gallery(tmp_path / "g.sqlite", engine.model, create=True) as gallery:
        with pytest.raises(PhotoError, match="none of 3 frames is sharp and bright enough"):
            enroll_clip(engine, gallery, "nothing", path)
        assert gallery.stats().codes == 0


def test_the_command_enrolls_a_clip_once(tmp_path: Path, films: Path) -> None:
    gallery = tmp_path / "g.sqlite"
    options = ["--gallery", gallery, "--label", "cat", "--json"]
    first, again = (
        json.loads(run_cli("enroll", *options, films / "chelsea.mp4").stdout) for _ in range(2)
    )
    assert 1 <= first["pictures_added"] <= 8
    assert first["codes_added"] == 6 * first["pictures_added"]
    assert (again["pictures_added"], again["pictures_known"]) == (0, first["pictures_added"])
    with Gallery(gallery, read_only=True) as opened:
        whole = [
            code.code for _, code in opened.content().codes if code.source and "#" in code.source
        ][::6]
    for one, other in combinations(whole, 2):
        assert hamming(one, other) >= DIFFERENT - 2  # the code of the JPEG may differ by a bit
    done = run_cli("query", "--gallery", gallery, films / "chelsea.mp4")
    assert ": cat (" in done.stdout
    less = json.loads(
        run_cli("enroll", *options, "--frames", "1", "--no-views", films / "rocket.mp4").stdout
    )
    assert (less["pictures_added"], less["codes_added"]) == (1, 1)


def test_a_clip_needs_a_label(films: Path, tmp_path: Path) -> None:
    done = run_cli("enroll", "--gallery", tmp_path / "g.sqlite", films / "chelsea.mp4")
    assert (done.returncode, "a clip requires --label" in done.stderr) == (2, True)


@pytest.fixture
def folder(films: Path, tmp_path: Path) -> Path:
    """Label folders: one with a clip, one with a clip and a photo, one with a damaged clip."""
    folder = tmp_path / "things"
    for label in ("cat", "cup", "broken"):
        (folder / label).mkdir(parents=True)
    shutil.copy(films / "chelsea.mp4", folder / "cat" / "film.MP4")
    (folder / "cup" / "deep").mkdir()
    shutil.copy(films / "coffee.mp4", folder / "cup" / "deep" / "film.mp4")
    cv2.imwrite(str(folder / "cup" / "photo.jpg"), read_scene("coffee.png"))
    (folder / "broken" / "film.mov").write_bytes(b"x" * 1000)
    return folder


def test_clips_in_label_folders_are_enrolled(folder: Path, films: Path, tmp_path: Path) -> None:
    gallery = tmp_path / "g.sqlite"
    options = ["--gallery", gallery, "--frames", "2", "--no-views", "--json"]
    done = run_cli("enroll", *options, folder)
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["pictures_added"], answer["labels"]) == (3, 5, 2)
    (line,) = done.stderr.splitlines()
    assert f"{folder / 'broken' / 'film.mov'}: not a video file, damaged" in line
    again = json.loads(run_cli("enroll", *options, folder).stdout)
    assert (again["pictures_added"], again["pictures_known"]) == (0, 5)
    single = json.loads(run_cli("enroll", *options, "--label", "cat", folder / "cat").stdout)
    assert (single["pictures_added"], single["pictures_known"]) == (0, 2)
    for film, label in (("chelsea", "cat"), ("coffee", "cup")):
        asked = run_cli("query", "--gallery", gallery, films / f"{film}.mp4")
        assert f": {label} (" in asked.stdout


def test_the_python_api_enrolls_folders_with_clips(
    engine: Engine, folder: Path, films: Path, tmp_path: Path
) -> None:
    with er.Recognizer(tmp_path / "g.sqlite", engine=engine) as recognizer:
        added = recognizer.enroll_folder(folder, views=False)
        assert [fault.where for fault in added.faults] == [str(folder / "broken" / "film.mov")]
        pictures = {label: each.pictures for label, each in recognizer.labels().items()}
        assert (set(pictures), sum(pictures.values())) == ({"cat", "cup"}, added.pictures_added)
        known = recognizer.enroll("cat", folder / "cat" / "film.MP4", views=False)
        assert (known.pictures_added, known.pictures_known) == (0, pictures["cat"])
        with pytest.raises(NoPhotosError, match=r"film\.mp4 is not in a sub-folder"):
            recognizer.enroll_folder(folder / "cup" / "deep")


def test_hash_names_the_clips_that_it_leaves_out(folder: Path, tmp_path: Path) -> None:
    done = run_cli("hash", "--out", tmp_path / "codes.jsonl", folder)
    assert done.returncode == 3, done.stderr
    assert "film.MP4: .mp4 files are clips, not photos, and 1 more (use them with" in done.stderr
    assert len((tmp_path / "codes.jsonl").read_text().splitlines()) == 2  # a header and a photo


def test_query_says_what_to_do_with_a_folder(folder: Path, known: Path) -> None:
    done = run_cli("query", "--gallery", known, folder / "cup")
    (line,) = done.stderr.splitlines()
    assert (done.returncode, "a folder" in line) == (3, True)
