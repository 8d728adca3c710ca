"""Sound beside the picture: real films with sound, enrolled and queried by the command."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.clips.fusion import fuse_frames
from edge_runtime.clips.sound import ODDS, HeardLabel, SoundEvidence
from edge_runtime.fitting.calibration import Calibration
from edge_runtime.types import LabelSimilarity, Match
from tests.support.media.clips import write_clip
from tests.support.media.sounds import sound_of, write_wav
from tests.support.processes import run_cli

CALIBRATION = Calibration(0.5, 0.05, 20, 0.8, 0.1, trust=0.8)
RATE = 0.02
EVIDENCE = SoundEvidence((HeardLabel("cat", 0.1, "cat.mp4"),))
NEEDS_FFMPEG = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")


def _frame(**similarities: float) -> list[LabelSimilarity]:
    found = [
        LabelSimilarity(name, value, Match(ord(name[0]), name, 9))
        for name, value in similarities.items()
    ]
    return sorted(found, key=lambda one: (-one.similarity, one.label))


def test_sound_tells_look_alikes_apart() -> None:
    frame = _frame(cat=0.8, dog=0.8)
    silent = fuse_frames([frame], np.eye(1), CALIBRATION, RATE)
    heard = fuse_frames([frame], np.eye(1), CALIBRATION, RATE, sound=EVIDENCE.log_odds)
    assert heard.verdict.label == "cat"
    assert heard.verdict.confidence > 0.9 > silent.verdict.confidence
    assert heard.shares["cat"] / heard.shares["dog"] == pytest.approx(
        ODDS * silent.shares["cat"] / silent.shares["dog"]
    )


def test_sound_helps_a_picture_that_is_nearly_known_and_no_other() -> None:
    limit = CALIBRATION.threshold(RATE)
    for similarity, label in ((limit - 0.02, "cat"), (0.45, None)):
        frame = [_frame(cat=similarity, dog=0.4)]
        assert fuse_frames(frame, np.eye(1), CALIBRATION, RATE).verdict.label is None
        heard = fuse_frames(frame, np.eye(1), CALIBRATION, RATE, sound=EVIDENCE.log_odds)
        assert heard.verdict.label == label


def test_a_sound_of_a_label_that_the_picture_does_not_resemble_names_nothing() -> None:
    frame = [_frame(dog=0.9)]
    plain = fuse_frames(frame, np.eye(1), CALIBRATION, RATE)
    heard = fuse_frames(frame, np.eye(1), CALIBRATION, RATE, sound=EVIDENCE.log_odds)
    assert plain.verdict == heard.verdict
    assert EVIDENCE.log_odds == {"cat": math.log(ODDS)}


def _film(path: Path, photo: str, seed: int, later: int = 0) -> Path:
    """Write a film with the sound in its track."""
    silent, track = path.with_name("silent.mp4"), path.with_name("track.wav")
    write_clip(silent, photo, frames=20)
    write_wav(track, sound_of(seed)[later:])
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-i", silent, "-i", track, "-c:v", "copy", path], check=True
    )
    return path


@pytest.mark.slow
@NEEDS_FFMPEG
def test_two_labels_with_one_picture_are_told_apart_by_sound(tmp_path: Path) -> None:
    gallery = tmp_path / "g.sqlite"
    options = ["--gallery", gallery, "--no-views", "--json"]
    for seed, label in ((1, "left machine"), (2, "right machine")):
        clip = _film(tmp_path / f"{seed}.mp4", "coffee.png", seed)
        done = json.loads(run_cli("enroll", *options, "--label", label, clip).stdout)
        assert done["sounds_added"] == 1
        again = json.loads(run_cli("enroll", *options, "--label", label, clip).stdout)
        assert (again["sounds_added"], again["pictures_added"]) == (0, 0)
    query = _film(tmp_path / "query.mp4", "coffee.png", 2, later=1000)
    answer = json.loads(run_cli("query", "--gallery", gallery, "--json", query).stdout)
    assert answer["label"] == "right machine"
    assert [each["label"] for each in answer["sound"]["heard"]] == ["right machine"]
    told = run_cli("query", "--gallery", gallery, "--explain", query).stdout
    assert "sound of right machine (" in told
    mute = json.loads(run_cli("query", "--gallery", gallery, "--no-sound", "--json", query).stdout)
    assert mute["sound"] is None
    assert mute["confidence"] < answer["confidence"]
    stats = json.loads(run_cli("gallery", "stats", "--gallery", gallery, "--json").stdout)
    assert stats["sounds"] == 2


def test_a_wav_file_beside_the_clip_needs_no_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    gallery = tmp_path / "g.sqlite"
    clip = tmp_path / "cup.mp4"
    write_clip(clip, "coffee.png", frames=20)
    write_wav(tmp_path / "cup.wav", sound_of(1))
    done = run_cli("enroll", "--gallery", gallery, "--no-views", "--label", "cup", clip)
    assert done.returncode == 0, done.stderr
    assert " and 1 sound" in done.stdout
    (tmp_path / "cup.wav").rename(tmp_path / "gone")
    done = run_cli("query", "--gallery", gallery, clip)
    assert done.returncode == 0
    assert ": cup (" in done.stdout  # the picture alone
    assert done.stderr == (
        f"edge-runtime: {clip}: its sound is not used: ffmpeg is not installed "
        "(install it, or put the sound into cup.wav)\n"
    )
