"""Clips as queries: real video files, the shipped network, and the command in real processes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

import edge_runtime as er
from edge_runtime.camera.video import FileSource
from edge_runtime.clips.frames import ClipOptions, samples
from edge_runtime.clips.query import ClipFusion, query_clip
from edge_runtime.engine import Engine
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.errors import InputError, PhotoError
from edge_runtime.gallery import Gallery, LabeledCode
from edge_runtime.recognition.pipeline import Pipeline
from tests.support.processes import run_cli


@pytest.fixture
def pipeline(engine: Engine, known: Path) -> Iterator[Pipeline]:
    with Gallery(known, engine.model, read_only=True) as gallery:
        yield Pipeline(engine, gallery)


def _write(path: Path, images: list[np.ndarray], rate: float = 10) -> Path:
    height, width = images[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, (width, height))
    for image in images:
        writer.write(image)
    writer.release()
    return path


@pytest.mark.parametrize("name", ["chelsea", "coffee", "astronaut"])
def test_a_clip_is_answered_as_soon_as_it_is_sure(
    pipeline: Pipeline, films: Path, name: str
) -> None:
    result = query_clip(pipeline, films / f"{name}.mp4", sure=0.9)
    assert result.label == name
    assert result.sure == (result.confidence >= 0.9)
    assert all(each.fused.confidence < 0.9 for each in result.frames[:-1])
    assert [each.seconds for each in result.frames] == [
        0.5 * place for place in range(len(result.frames))
    ]


def test_a_stranger_stays_unknown_to_the_end(pipeline: Pipeline, films: Path) -> None:
    result = query_clip(pipeline, films / "grass.mp4")
    assert (result.label, result.confidence, result.sure) == (None, 0, False)
    assert len(result.frames) == 4  # two seconds


def test_more_frames_are_surer_than_one(pipeline: Pipeline, films: Path) -> None:
    """On average over the films; all frames are used."""
    options = ClipOptions(every_s=0.2)
    ones, alls = [], []
    for name in ("chelsea", "coffee", "astronaut", "rocket"):
        result = query_clip(pipeline, films / f"{name}.mp4", options, sure=1.0)
        assert len(result.frames) == 10
        assert 1 <= result.frames[-1].independent <= 10
        ones.append(result.frames[0].fused.confidence)
        alls.append(result.confidence)
    assert sum(alls) > sum(ones)


def test_the_first_frame_is_a_single_picture(pipeline: Pipeline, films: Path) -> None:
    result = query_clip(pipeline, films / "chelsea.mp4", ClipOptions(most_frames=1))
    (only,) = result.frames
    assert only.fused.label == only.alone.label
    assert only.fused.confidence == pytest.approx(only.alone.confidence)


def test_sampling_reads_what_reading_every_frame_gives(films: Path) -> None:
    with samples(films / "coffee.mp4", ClipOptions(most_frames=100, every_s=0)) as taken:
        every = [(each.number, each.frame.image) for each in taken]
    with samples(films / "coffee.mp4", ClipOptions(most_frames=100, every_s=0.35)) as taken:
        some = [(each.number, each.frame.image) for each in taken]
    assert [number for number, _ in every] == list(range(40))
    assert [number for number, _ in some] == list(range(0, 40, 7))
    for number, image in some:
        assert np.array_equal(image, every[number][1])


def test_no_more_of_a_long_clip_is_read_than_is_used(
    films: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grabbed = []
    skip = FileSource.skip

    def counted(self: FileSource) -> bool:
        grabbed.append(1)
        return skip(self)

    monkeypatch.setattr(FileSource, "skip", counted)
    with samples(films / "coffee.mp4", ClipOptions(most_frames=2, every_s=0.25)) as taken:
        assert len(list(taken)) == 2
    assert len(grabbed) <= 3 * 4  # the next frames wait in the thread


def test_a_gallery_without_features_votes(fake_engine: FakeEngine, gallery: Gallery) -> None:
    images = [np.full((40, 40, 3), 10 * value, np.uint8) for value in range(3)]
    for image in images:
        gallery.enroll([LabeledCode("cat", fake_engine.hash(image))])
    pipeline = Pipeline(fake_engine, gallery)
    if pipeline.gallery.calibration() is not None:
        pytest.skip("the fake engine has features")
    fusion = ClipFusion(pipeline)
    for count in range(1, 6):
        fusion.add(pipeline.query(images[0]))
        assert fusion.verdict.label == "cat"
        assert fusion.is_sure == (count == 5)


def test_bad_clips_are_one_line(tmp_path: Path, known: Path, films: Path) -> None:
    whole = (films / "chelsea.mp4").read_bytes()
    os.mkfifo(tmp_path / "endless.mp4")
    bad = {
        "empty.mp4": (b"", "the file is empty"),
        "noise.mkv": (np.random.default_rng(1).bytes(5000), "not a video file, damaged"),
        "cut.mp4": (whole[: len(whole) // 3], "not a video file, damaged"),
        "endless.mp4": (None, "not a regular file"),
        "missing.mov": (None, "no such file or directory"),
    }
    for name, (data, _) in bad.items():
        if data is not None:
            (tmp_path / name).write_bytes(data)
    paths = [tmp_path / name for name in bad]
    for verb in (["query"], ["enroll", "--label", "x"]):
        target = tmp_path / "other.sqlite" if verb[0] == "enroll" else known
        done = run_cli(*verb, "--gallery", target, *paths, films / "chelsea.mp4")
        assert done.returncode == InputError.exit_code
        lines = done.stderr.splitlines()
        assert len(lines) == len(bad), done.stderr
        for line, path, (_, what) in zip(lines, paths, bad.values(), strict=True):
            assert line.startswith(f"edge-runtime: {path}: {what}")
        assert "1 label" in done.stdout or ": chelsea (" in done.stdout


def test_a_damaged_clip_is_read_where_it_can_be(
    pipeline: Pipeline, tmp_path: Path, films: Path
) -> None:
    data = bytearray((films / "chelsea.mp4").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(2000)
    (tmp_path / "damaged.mp4").write_bytes(data)
    assert query_clip(pipeline, tmp_path / "damaged.mp4").label == "chelsea"


def test_frames_that_are_too_large_are_refused(pipeline: Pipeline, tmp_path: Path) -> None:
    path = _write(tmp_path / "huge.avi", [np.zeros((3000, 4000, 3), np.uint8)])
    with pytest.raises(PhotoError, match="too large: 4000 x 3000 pixels"):
        query_clip(pipeline, path)


@pytest.mark.parametrize("wrong", [{"most_frames": 0}, {"every_s": -1}, {"every_s": float("nan")}])
def test_options_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="must be"):
        ClipOptions(**wrong)  # type: ignore[arg-type]


def test_the_command_explains_each_frame(known: Path, films: Path) -> None:
    clip = films / "chelsea.mp4"
    done = run_cli("query", "--gallery", known, "--sure", "1", "--explain", clip)
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.splitlines()
    assert first.startswith(f"{clip}: chelsea (")
    assert "not sure after 4 frames, 1.5 s of the clip" in first
    assert len([line for line in rest if " alone)  ->  chelsea (" in line]) == 4
    answer = json.loads(run_cli("query", "--gallery", known, "--json", clip).stdout)
    assert answer["label"] == "chelsea"
    assert answer["frames"] == len(answer["frame_answers"])
    assert answer["clip"] == str(clip)
    assert answer["label_scores"][0]["label"] == "chelsea"


def test_photos_and_clips_are_answered_in_order(known: Path, films: Path, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    with samples(films / "coffee.mp4", ClipOptions(most_frames=1)) as taken:
        cv2.imwrite(str(photo), next(taken).frame.image)
    done = run_cli("query", "--gallery", known, films / "rocket.mp4", photo)
    assert [line.split(": ")[1].split()[0] for line in done.stdout.splitlines()] == [
        "rocket",
        "coffee",
    ]
    wrong = run_cli("query", "--gallery", known, "--together", films / "rocket.mp4", photo)
    assert (wrong.returncode, "--together" in wrong.stderr) == (2, True)


def test_the_python_api(engine: Engine, known: Path, films: Path, tmp_path: Path) -> None:
    with er.Recognizer(known, engine=engine, read_only=True) as recognizer:
        result = recognizer.query_clip(films / "coffee.mp4", every_s=0.2, sure=0.99)
        assert isinstance(result, er.ClipResult)
        assert result.label == "coffee"
    with er.Recognizer(tmp_path / "own.sqlite", engine=engine) as recognizer:
        added = recognizer.enroll_clip("cup", films / "coffee.mp4", frames=2, views=False)
        assert (added.pictures_added, added.codes_added) == (2, 2)
        with pytest.raises(InputError):
            recognizer.enroll_clip("cup", films / "coffee.mp4", frames=0)
