"""Clips as queries of a running daemon: real video files over real HTTP."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from demo.scenes import read_scene
from edge_runtime.image.preprocess import preprocess
from tests.support.media.clips import write_clip
from tests.support.media.sounds import sound_of, write_wav
from tests.support.processes import patience, run_cli
from tests.support.web import Answer, Client, check_answer, encoded, start

LIMIT_MB = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, known: Path) -> Path:
    """The daemon's folder, with a gallery."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copy(known, folder / "g.sqlite")
    return folder


@pytest.fixture(scope="module")
def site(folder: Path, films: Path) -> Iterator[Client]:
    http = f"port = 0\nrequests_per_minute = 100000\nmax_clip_mb = {LIMIT_MB}"
    process = start(folder, films / "moon.mp4", http=http)
    client = Client(process)
    client.until_ready()
    yield client
    assert process.end() < 2 * patience()
    assert "Traceback" not in "".join(process.log_lines)


def _ask(site: Client, clip: Path | bytes, kind: str = "video/mp4") -> Answer:
    data = clip if isinstance(clip, bytes) else clip.read_bytes()
    return site.ask("POST", "/api/query", data, Content_Type=kind)


def test_a_clip_gets_the_answer_of_the_command(site: Client, known: Path, films: Path) -> None:
    document = site.ask("GET", "/openapi.json").json()
    for name in ("chelsea", "coffee", "grass"):
        clip = films / f"{name}.mp4"
        answer = _ask(site, clip)
        assert answer.status == 200, answer.body
        found = answer.json()
        check_answer(document, "POST", "/api/query", 200, found)
        said = json.loads(run_cli("query", "--gallery", known, "--json", clip).stdout)
        assert found["label"] == (None if name == "grass" else name)
        assert found.keys() == said.keys() - {"clip"}
        for key in ("label", "frames", "seconds", "sure", "sound", "distance"):
            assert found[key] == said[key], key
        assert found["confidence"] == pytest.approx(said["confidence"], abs=1e-6)
        assert {"decode", "hash", "lookup"} <= found["stage_ms"].keys()
        assert len(found["frame_answers"]) == found["frames"]


@pytest.mark.parametrize(
    ("code", "suffix", "kind"),
    [("MJPG", "avi", "video/x-msvideo"), ("mp4v", "mkv", "video/x-matroska"),
     ("VP80", "webm", "video/webm"), ("mp4v", "mov", "video/quicktime")],
)  # fmt: skip
def test_kinds_of_files(site: Client, tmp_path: Path, code: str, suffix: str, kind: str) -> None:
    path = tmp_path / f"clip.{suffix}"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 4, (320, 240))
    image = np.asarray(cv2.resize(read_scene("rocket.jpg"), (320, 240)))
    for _ in range(4):
        writer.write(image)
    writer.release()
    answer = _ask(site, path, kind)
    assert (answer.status, answer.json()["label"]) == (200, "rocket"), answer.body


def test_a_square_of_the_child_is_what_the_network_sees() -> None:
    square = preprocess(read_scene("rocket.jpg"), 224)
    assert np.array_equal(preprocess(square, 224), square)


def test_bad_clips_are_one_line(site: Client, films: Path, folder: Path, tmp_path: Path) -> None:
    whole = (films / "chelsea.mp4").read_bytes()
    sound = tmp_path / "sound.mkv"
    bad: list[tuple[bytes, str, int, str]] = [
        (b"", "video/mp4", 422, "the clip is empty"),
        (b"x" * 3000, "video/mp4", 422, "not an MP4, MOV, MKV, WebM or AVI file"),
        (b"#EXTM3U\n/etc/passwd\n", "video/mp4", 422, "not an MP4"),
        (whole[: len(whole) // 3], "video/mp4", 422, "clip: not a video file, damaged"),
        (b"\x1a\x45\xdf\xa3" + bytes(3000), "video/webm", 422, "clip: not a video file, damaged"),
        (whole, "video/ogg", 415, "unsupported content type"),
    ]
    if shutil.which("ffmpeg"):
        write_wav(tmp_path / "sound.wav", sound_of(1))
        subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "sound.wav", sound], check=True)
        bad.append((sound.read_bytes(), "video/x-matroska", 422, "without pictures"))
    for data, kind, status, what in bad:
        answer = _ask(site, data, kind)
        assert (answer.status, what in answer.json()["error"]) == (status, True), answer.body
        assert "\n" not in answer.json()["error"]
        assert str(folder) not in answer.json()["error"]
    assert not list(folder.glob("*.upload*"))
    head = b"POST /api/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: video/mp4\r\n"
    told = site.raw(head + b"Content-Length: 999999999\r\nConnection: close\r\n\r\nx")
    assert told.startswith(b"HTTP/1.1 413")  # before it is sent
    assert b"larger than 4000000 bytes" in told
    assert _ask(site, films / "chelsea.mp4").json()["label"] == "chelsea"


def test_clips_that_are_too_long_or_have_large_frames(site: Client, tmp_path: Path) -> None:
    for name, size, rate, frames, what in (
        ("long.avi", (64, 48), 1, 70, "it is too long: 70 s, at most 60 s are accepted"),
        ("large.avi", (4000, 3000), 10, 1, "its frames are too large: 4000 x 3000 pixels"),
    ):
        path = tmp_path / name
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate, size)
        for _ in range(frames):
            writer.write(np.full((size[1], size[0], 3), 90, np.uint8))
        writer.release()
        answer = _ask(site, path, "video/x-msvideo")
        assert answer.status == 422
        assert what in answer.json()["error"]
        assert "ffmpeg" in answer.json()["remedy"]


def test_the_sound_of_a_clip_counts(site: Client, folder: Path, tmp_path: Path) -> None:
    if not shutil.which("ffmpeg"):
        pytest.skip("ffmpeg is not installed")
    silent, clip = tmp_path / "silent.mp4", tmp_path / "clip.mp4"
    write_clip(silent, "coffee.png", frames=20)
    write_wav(tmp_path / "track.wav", sound_of(7))
    subprocess.run(
        ["ffmpeg", "-v", "error", "-i", silent, "-i", tmp_path / "track.wav", "-c:v", "copy", clip],
        check=True,
    )
    gallery = folder / "g.sqlite"
    assert _ask(site, clip).json()["sound"] is None  # the gallery has none yet
    done = run_cli("enroll", "--gallery", gallery, "--label", "coffee", "--frames", "1", clip)
    assert " and 1 sound" in done.stdout, done.stderr
    (heard,) = _ask(site, clip).json()["sound"]["heard"]
    assert heard["label"] == "coffee"


def test_slow_uploads_do_not_keep_others_waiting(site: Client, films: Path) -> None:
    head = b"POST /api/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: video/mp4\r\n"
    head += b"Content-Length: 900000\r\n\r\nxxxx"
    slow = [site.connect() for _ in range(2)]
    try:
        for line in slow:
            line.sendall(head)
        refused = site.process
        refused.until(lambda: _ask(site, films / "chelsea.mp4").status == 503)
        answer = site.ask("POST", "/api/query", encoded(read_scene("coffee.png")),
                          Content_Type="image/jpeg")  # fmt: skip
        assert answer.json()["label"] == "coffee"
    finally:
        for line in slow:
            line.close()
    site.process.until(lambda: _ask(site, films / "chelsea.mp4").status == 200)


def test_clips_at_once_are_answered_in_turn(site: Client, films: Path) -> None:
    with ThreadPoolExecutor(2) as threads:
        asked = [threads.submit(_ask, site, films / f"{name}.mp4") for name in ("coffee", "rocket")]
        assert [each.result().json()["label"] for each in asked] == ["coffee", "rocket"]
