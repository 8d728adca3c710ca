"""Reading the sound of real files: WAV without a program, everything else by a real ffmpeg."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.sound import decode
from edge_runtime.sound.decode import MOST_S, read_sound
from edge_runtime.sound.fingerprint import RATE, fingerprints
from edge_runtime.sound.match import find_sounds
from tests.support.media.clips import write_clip
from tests.support.media.sounds import sound_of, write_wav

NEEDS_FFMPEG = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")


def _matches(samples: np.ndarray | None, seed: int) -> bool:
    assert samples is not None
    return find_sounds(fingerprints(samples), [fingerprints(sound_of(seed))])[0].same


@pytest.mark.parametrize(
    ("rate", "channels", "width"), [(RATE, 1, 2), (16000, 2, 2), (44100, 1, 4), (48000, 6, 2)]
)
def test_wav_files(tmp_path: Path, rate: int, channels: int, width: int) -> None:
    sound = sound_of(1)
    times = np.arange(int(len(sound) * rate / RATE)) * RATE / rate
    faster = np.interp(times, np.arange(len(sound)), sound).astype(np.float32)
    sound_read = read_sound(write_wav(tmp_path / "a.wav", faster, rate, channels, width))
    assert sound_read.note == ""
    assert _matches(sound_read.samples, 1)


def test_eight_bits(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", sound_of(1), width=1)
    samples = read_sound(path).samples
    assert samples is not None
    assert np.abs(samples - sound_of(1)).max() < 0.01


def test_only_the_first_seconds_are_read(tmp_path: Path) -> None:
    long = np.resize(sound_of(1), int((MOST_S + 20) * RATE))
    samples = read_sound(write_wav(tmp_path / "a.wav", long)).samples
    assert samples is not None
    assert len(samples) == int(MOST_S * RATE)


@pytest.mark.parametrize("data", [b"", b"RIFF", b"RIFF\x24\0\0\0WAVEfmt ", b"\0" * 100])
def test_damaged_wav_files_are_said(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "clip.wav").write_bytes(data)
    found = read_sound(tmp_path / "clip.mp4")
    assert found.samples is None
    assert found.note.startswith("clip.wav is not used: ")


def test_a_cut_wav_file_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", sound_of(1))
    path.write_bytes(path.read_bytes()[:30001])
    samples = read_sound(path).samples
    assert samples is not None
    assert len(samples) == (30001 - 44) // 2


@NEEDS_FFMPEG
def test_the_track_of_a_film(tmp_path: Path) -> None:
    write_clip(tmp_path / "silent.mp4", "chelsea.png", frames=20)
    write_wav(tmp_path / "track.wav", sound_of(1))
    film = tmp_path / "film.mp4"
    subprocess.run(
        [
            *("ffmpeg", "-v", "error", "-i", tmp_path / "silent.mp4", "-i", tmp_path / "track.wav"),
            *("-c:v", "copy", "-c:a", "aac", "-ar", "44100", film),
        ],
        check=True,
    )
    assert _matches(read_sound(film).samples, 1)
    silent = read_sound(tmp_path / "silent.mp4")
    assert (silent.samples, silent.note) == (None, "")
    write_wav(tmp_path / "film.wav", sound_of(2))  # a file beside the film goes first
    assert _matches(read_sound(film).samples, 2)


@NEEDS_FFMPEG
def test_a_file_that_is_not_a_film_has_no_sound(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(np.random.default_rng(1).bytes(5000))
    assert read_sound(tmp_path / "clip.mp4").samples is None


@NEEDS_FFMPEG
def test_a_playlist_fetches_nothing(tmp_path: Path) -> None:
    """A file that refers to another address must not make the board connect to it."""
    path = tmp_path / "clip.ts"
    path.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    assert read_sound(path).samples is None


def test_a_missing_ffmpeg_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = read_sound(tmp_path / "clip.mp4")
    assert found.samples is None
    assert found.note == (
        "its sound is not used: ffmpeg is not installed "
        "(install it, or put the sound into clip.wav)"
    )


def test_an_ffmpeg_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(decode, "DECODE_S", 0.5)
    assert read_sound(tmp_path / "clip.mp4").note == (
        "its sound is not used: ffmpeg took more than 0.5 s"
    )
