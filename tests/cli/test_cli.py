"""The command in real processes: real photos, messages and every exit code."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from demo.scenes import read_scene, write_enrollment_photos
from edge_runtime import errors
from edge_runtime.cli import run_command
from edge_runtime.doctor.environment import BUILT_S, cameras, clock, memory_limit
from edge_runtime.gallery import Gallery
from edge_runtime.gallery.maintenance import verify
from edge_runtime.model import MODEL_FILE
from tests.support.media.clips import write_clip
from tests.support.processes import ROOT, run_cli

LABELS = 14
VIEWS = 6
CODES = 3 * LABELS * VIEWS


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    write_enrollment_photos(folder)
    return folder


@pytest.fixture(scope="module")
def enrolled(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    gallery = tmp_path_factory.mktemp("gallery") / "gallery.sqlite"
    done = run_cli("enroll", "--gallery", gallery, photos, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["pictures_added"] == 3 * LABELS
    return gallery


@pytest.fixture
def own(enrolled: Path, tmp_path: Path) -> Path:
    """Return a copy of the gallery that a test may change."""
    return Path(shutil.copy(enrolled, tmp_path / "own.sqlite"))


def _one_line(done: subprocess.CompletedProcess[str], code: int, *parts: str) -> None:
    assert done.returncode == code, (done.stdout, done.stderr)
    assert done.stderr.startswith("edge-runtime: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    for part in parts:
        assert part in done.stderr


def test_query_finds_what_was_enrolled(enrolled: Path, tmp_path: Path) -> None:
    photo = tmp_path / "my cat.jpg"
    cv2.imwrite(str(photo), read_scene("chelsea.png")[10:, 15:])
    done = run_cli("query", "--gallery", enrolled, photo)
    assert done.returncode == 0
    assert done.stdout.startswith(f"{photo}: cat (")
    done = run_cli("query", "--gallery", enrolled, photo, "--json", "-k", 3)
    answer = json.loads(done.stdout)
    assert answer["label"] == "cat"
    assert answer["photo"] == str(photo)
    assert len(answer["matches"]) == 3
    assert Path(answer["matches"][0]["source"]).is_file()
    assert list(answer["stage_ms"]) == ["decode", "fit", "hash", "pack", "lookup", "decide"]
    done = run_cli("query", "--gallery", enrolled, photo, "--explain")
    assert done.stdout.count(" bits  ") == 5
    assert done.stderr == ""


def test_a_radius_beyond_the_width_is_refused(enrolled: Path, photos: Path) -> None:
    done = run_cli("query", "--gallery", enrolled, "--radius", 65, photos / "cat" / "0.jpg")
    _one_line(done, 3, "radius must be between 0 and 64, got 65")


def test_radius_zero_matches_only_an_equal_code(enrolled: Path, photos: Path) -> None:
    same, other = photos / "cat" / "0.jpg", ROOT / "docs" / "demo.jpg"
    done = run_cli("query", "--gallery", enrolled, "--radius", 0, same, other)
    lines = done.stdout.splitlines()
    assert ": cat (" in lines[0]
    assert ": unknown (" in lines[1]


def test_enrolling_again_changes_nothing(own: Path, photos: Path) -> None:
    before = json.loads(run_cli("gallery", "stats", "--gallery", own, "--json").stdout)
    done = run_cli("enroll", "--gallery", own, photos)
    assert f"({3 * LABELS} pictures already enrolled)" in done.stdout
    assert json.loads(run_cli("gallery", "stats", "--gallery", own, "--json").stdout) == before


def test_enroll_single_photos_and_folders_under_a_label(photos: Path, tmp_path: Path) -> None:
    gallery = tmp_path / "new" / "gallery.sqlite"
    cat, moon = photos / "cat" / "0.jpg", photos / "moon"
    done = run_cli("enroll", "--gallery", gallery, "--label", "厨房", cat, moon)
    assert done.returncode == 0
    assert done.stdout == (
        "enrolled 4 pictures (24 codes); the gallery has 4 pictures (24 codes) under 1 label\n"
    )
    done = run_cli("gallery", "list", "--gallery", gallery)
    assert done.stdout.splitlines() == ["pictures     codes  label", "       4        24  厨房"]


def test_enroll_from_a_camera(tmp_path: Path) -> None:
    clip, gallery = tmp_path / "cup.mp4", tmp_path / "gallery.sqlite"
    write_clip(clip, "coffee.png")
    done = run_cli(
        *(
            "enroll",
            "--gallery",
            gallery,
            "--label",
            "cup",
            "--camera",
            clip,
            "--count",
            3,
            "--no-views",
        )
    )
    assert done.stdout == (
        "enrolled 3 pictures (3 codes); the gallery has 3 pictures (3 codes) under 1 label\n"
    )


def test_gallery_list_and_remove(own: Path) -> None:
    listed = json.loads(run_cli("gallery", "list", "--gallery", own, "--json").stdout)
    assert len(listed) == LABELS
    assert {(entry["pictures"], entry["codes"]) for entry in listed} == {(3, 3 * VIEWS)}
    done = run_cli("gallery", "remove", "--gallery", own, "cat")
    assert done.stdout == "removed 3 pictures (18 codes)\n"
    done = run_cli("gallery", "remove", "--gallery", own, "--id", 1, "--json")
    assert json.loads(done.stdout) == {"pictures_removed": 0, "codes_removed": 1}
    _one_line(run_cli("gallery", "remove", "--gallery", own, "cat"), 5, "cat: no such label")
    assert run_cli("gallery", "remove", "--gallery", own).returncode == 2


def test_gallery_maintenance(own: Path, tmp_path: Path) -> None:
    def gallery(command: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        return run_cli("gallery", command, "--gallery", own, *arguments)

    assert gallery("verify").stdout == f"OK: {CODES} codes, {LABELS} labels checked\n"
    assert gallery("relabel", "cat", "tom").stdout == (
        "moved 3 pictures (18 codes) to the label tom\n"
    )
    assert json.loads(gallery("compact", "--json").stdout)["after_bytes"] > 0
    copy, lines = tmp_path / "copy.sqlite", tmp_path / "out.jsonl"
    assert gallery("backup", copy).returncode == 0
    _one_line(gallery("backup", copy), 6, "copy.sqlite: file exists")
    assert gallery("export", lines).stdout == f"exported {CODES} codes to {lines}\n"
    done = run_cli("gallery", "import", "--gallery", tmp_path / "new.sqlite", lines, "--json")
    assert json.loads(done.stdout) == {
        "pictures_added": 3 * LABELS,
        "codes_added": CODES,
        "pictures_known": 0,
        "bad": [],
    }
    with lines.open("a") as file:
        file.write("{}\n")
    _one_line(gallery("import", lines), 3, f"line {CODES + LABELS + 2}: 'code' is missing")
    done = gallery("import", "--skip-bad", lines)
    assert done.returncode == 3
    assert done.stdout == (
        f"imported 0 pictures (0 codes); {3 * LABELS} pictures already enrolled\n"
    )
    assert json.loads(gallery("repair", "--json").stdout)["codes_kept"] == CODES
    data = bytearray(copy.read_bytes())
    copy.write_bytes(bytes(data).replace(b"/cat/1.jpg", b"/cat/9.jpg"))
    done = run_cli("gallery", "verify", "--gallery", copy)
    assert done.returncode == 9
    assert "the checksum does not match" in done.stdout
    done = run_cli("gallery", "repair", "--gallery", copy)
    assert done.stdout.startswith(f"kept {CODES - VIEWS} codes, lost ")
    assert run_cli("gallery", "verify", "--gallery", copy).returncode == 0


def test_run_watches_a_video_file(enrolled: Path, tmp_path: Path) -> None:
    clip = tmp_path / "motorcycle.mp4"
    write_clip(clip, "motorcycle_right.png")
    done = run_cli("run", "--gallery", enrolled, "--camera", clip)
    assert done.returncode == 0, done.stderr
    assert "+ motorcycle" in done.stdout
    assert "12 frames in" in done.stderr
    done = run_cli("run", "--gallery", enrolled, "--camera", clip, "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert (lines[0]["kind"], lines[0]["label"]) == ("enter", "motorcycle")
    assert lines[-1]["kind"] == "summary"
    assert lines[-1]["frames"] == 12


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_with_a_summary(
    enrolled: Path, tmp_path: Path, number: signal.Signals
) -> None:
    pipe = tmp_path / "camera.png"
    cv2.imwrite(str(pipe), read_scene("chelsea.png"))
    folder = tmp_path / "frames"
    folder.mkdir()
    for n in range(3000):
        (folder / f"{n:05}.png").symlink_to(pipe)
    child = subprocess.Popen(
        [sys.executable, "-m", "edge_runtime", "run", "--gallery", enrolled, "--camera", folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert child.stdout is not None
    assert "+ cat" in child.stdout.readline()
    child.send_signal(number)
    _, messages = child.communicate(timeout=120)
    assert child.returncode == 0
    assert "Traceback" not in messages
    assert "frames in" in messages


def test_an_interrupted_enrollment_keeps_committed_batches(photos: Path, tmp_path: Path) -> None:
    folder, gallery = tmp_path / "many" / "cat", tmp_path / "g.sqlite"
    folder.mkdir(parents=True)
    for n in range(3000):
        data = (photos / "cat" / "0.jpg").read_bytes()
        (folder / f"{n}.jpg").write_bytes(data + n.to_bytes(4, "big"))
    child = subprocess.Popen(
        [sys.executable, "-m", "edge_runtime", "enroll", "--gallery", gallery, folder.parent],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    while not (gallery.exists() and _codes(gallery)):
        assert child.poll() is None
    child.send_signal(signal.SIGINT)
    _, messages = child.communicate(timeout=120)
    assert child.returncode == errors.EXIT_INTERRUPTED
    assert messages.strip() == "edge-runtime: interrupted"
    assert 32 <= _codes(gallery) < 3000
    assert verify(gallery) == []


def _codes(path: Path) -> int:
    try:
        with Gallery(path, read_only=True) as gallery:
            return gallery.stats().codes
    except errors.GalleryError:  # it is being created
        return 0


def test_a_closed_output_pipe_is_not_an_error(enrolled: Path) -> None:
    script = f"{sys.executable} -m edge_runtime gallery list --gallery {enrolled} | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1


def test_invalid_photos_do_not_stop_the_others(photos: Path, tmp_path: Path) -> None:
    folder, gallery = tmp_path / "mixed", tmp_path / "g.sqlite"
    shutil.copytree(photos / "cat", folder / "cat")
    (folder / "cat" / "broken.jpg").write_bytes((folder / "cat" / "0.jpg").read_bytes()[:5000])
    (folder / "dog").mkdir()
    (folder / "dog" / "empty.png").touch()
    done = run_cli("enroll", "--gallery", gallery, folder, "--json")
    assert done.returncode == 3
    answer = json.loads(done.stdout)
    assert answer["pictures_added"] == 3
    assert [fault["what"] for fault in answer["faults"]] == ["truncated JPEG", "the file is empty"]
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert "broken.jpg: truncated JPEG (copy the file again)" in lines[0]
    done = run_cli("query", "--gallery", gallery, folder / "dog/empty.png", folder / "cat/0.jpg")
    assert done.returncode == 3
    assert ": cat (" in done.stdout
    assert done.stderr.count("\n") == 1


def test_folders_that_cannot_be_enrolled(tmp_path: Path, photos: Path) -> None:
    gallery = tmp_path / "g.sqlite"
    (tmp_path / "void").mkdir()
    _one_line(run_cli("enroll", "--gallery", gallery, tmp_path / "void"), 3, "no photos")
    _one_line(run_cli("enroll", "--gallery", gallery, tmp_path / "nowhere"), 3, "no such folder")
    _one_line(
        run_cli("enroll", "--gallery", gallery, photos / "cat"), 3, "not in a sub-folder", "--label"
    )
    long = tmp_path / "long" / ("x" * 200)
    long.mkdir(parents=True)
    shutil.copy(photos / "cat" / "0.jpg", long)
    _one_line(run_cli("enroll", "--gallery", gallery, tmp_path / "long"), 3, "got 200")
    for label, what in (("a/b", "contain '/'"), ("", "not be empty"), ("y" * 300, "got 300")):
        done = run_cli("enroll", "--gallery", gallery, "--label", label, photos / "cat")
        _one_line(done, 3, what)
    assert not gallery.exists()


def test_wrong_usage_is_exit_code_2(photos: Path) -> None:
    for arguments in (
        ["enroll"],
        ["enroll", "--camera", "0"],
        ["query"],
        ["nonsense"],
        ["run", "--window", "0"],
        ["query", "--threads", "0", photos / "cat" / "0.jpg"],
    ):
        done = run_cli(*arguments)
        assert done.returncode == 2, arguments
        assert "Traceback" not in done.stderr


def test_galleries_that_cannot_be_used(enrolled: Path, tmp_path: Path, photos: Path) -> None:
    photo = photos / "cat" / "0.jpg"
    none = tmp_path / "none.sqlite"
    _one_line(run_cli("query", "--gallery", none, photo), 5, "no gallery file", "enroll FOLDER")
    _one_line(run_cli("gallery", "list", "--gallery", none), 5, "no gallery file")
    garbage = tmp_path / "garbage.sqlite"
    garbage.write_bytes(os.urandom(5000))
    _one_line(run_cli("enroll", "--gallery", garbage, photos), 5, "corrupt, or not a gallery file")
    other = tmp_path / "other.onnx"
    shipped = (ROOT / "models" / MODEL_FILE).read_bytes()
    version = b"edge.version\x12\x01"
    assert shipped.count(version) == 1
    at = shipped.index(version) + len(version)
    other.write_bytes(shipped[:at] + b"x" + shipped[at + 1 :])  # the same network with another id
    done = run_cli("query", "--gallery", enrolled, "--model", other, photo)
    _one_line(done, 5, "its codes were made by model", "use that model with --model")


def test_a_full_and_a_read_only_disk(small_disk: Path, photos: Path) -> None:
    gallery = small_disk / "g.sqlite"
    filler = small_disk / "filler"
    done = run_cli("enroll", "--gallery", gallery, "--label", "cat", photos / "cat" / "0.jpg")
    assert done.returncode == 0
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    _one_line(run_cli("enroll", "--gallery", gallery, photos), 6, "g.sqlite: the disk is full")
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    _one_line(run_cli("enroll", "--gallery", gallery, photos), 6, "g.sqlite: ")
    done = run_cli("query", "--gallery", gallery, photos / "cat" / "0.jpg")
    assert done.returncode == 0, done.stderr
    assert ": cat (" in done.stdout


def test_models_that_cannot_be_used(enrolled: Path, tmp_path: Path, photos: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"broken")
    photo = photos / "cat" / "0.jpg"
    done = run_cli("query", "--gallery", enrolled, "--model", broken, photo)
    _one_line(done, 4, f'{broken}: this is a text that begins with "broken"')
    done = run_cli("query", "--gallery", enrolled, photo, EDGE_RUNTIME_MODEL="nowhere.onnx")
    _one_line(done, 4, "nowhere.onnx: no such model file")


def test_cameras_that_cannot_be_used(enrolled: Path) -> None:
    for camera, what in (
        ("99", "/dev/video99: no such camera device"),
        ("nowhere.mp4", "nowhere.mp4: no such camera"),
        ("http://127.0.0.1:9/x", "no readable video at this address"),
    ):
        done = run_cli("run", "--gallery", enrolled, "--camera", camera)
        assert done.returncode == 7, done.stderr
        assert f"edge-runtime: {camera if '/' in camera else ''}" in done.stderr
        assert what in done.stderr
        assert "Traceback" not in done.stderr


def test_doctor(enrolled: Path, tmp_path: Path) -> None:
    done = run_cli("doctor", "--gallery", enrolled, "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0, report
    assert report["healthy"]
    names = [finding["name"] for finding in report["findings"]]
    assert names[:9] == [
        *("python", "machine", "libc", "numpy", "cv2", "onnxruntime", "psutil"),
        *("signatures", "model"),
    ]
    assert {"gallery", "disk", "memory"} <= set(names)
    done = run_cli("doctor", "--gallery", tmp_path / "none", "--camera", "/dev/video99")
    assert done.returncode == 9
    assert "warn  gallery" in done.stdout
    assert "FAIL  camera" in done.stdout
    assert "-> connect it" in done.stdout


def test_doctor_checks_what_a_configuration_needs(enrolled: Path, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    write_clip(clip, "motorcycle_right.png")
    config = tmp_path / "edge.toml"
    config.write_text(f'gallery.path = "{enrolled}"\ncamera.source = "clip.mp4"\n[http]\n')
    done = run_cli("doctor", "--config", config)
    assert done.returncode == 0, done.stdout
    assert re.search(r"^ok    uvicorn +\d", done.stdout, re.MULTILINE)
    assert re.search(r"^ok    camera .*clip\.mp4: 5 frames of 640 x 480", done.stdout, re.MULTILINE)
    (tmp_path / "uvicorn.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    done = run_cli("doctor", "--config", config, PYTHONPATH=str(tmp_path))
    assert done.returncode == 9
    assert "FAIL  uvicorn      crashes with an illegal instruction" in done.stdout
    assert "ok    model" in done.stdout
    config.write_text("[nope]")
    assert run_cli("doctor", "--config", config).returncode == 3


def test_doctor_checks_clocks_and_cameras(tmp_path: Path) -> None:
    assert clock(0.0, True).status == "fail"
    assert clock(BUILT_S + 1.0, False).status == "warn"
    assert clock(BUILT_S + 1.0, True).status == "ok"
    (none,) = cameras(tmp_path)
    assert none.status == "warn"
    assert "connect one" in none.remedy
    (tmp_path / "video0").touch()
    (one,) = cameras(tmp_path)
    assert (one.status, one.detail) == ("ok", "video0")


def test_doctor_reports_a_missing_memory_limit(tmp_path: Path) -> None:
    controllers = tmp_path / "cgroup.controllers"
    assert list(memory_limit(controllers)) == []  # without control groups
    controllers.write_text("cpuset cpu io memory pids\n")
    assert list(memory_limit(controllers)) == []
    controllers.write_text("cpuset cpu io pids\n")  # Raspberry Pi OS
    (finding,) = memory_limit(controllers)
    assert finding.status == "warn"
    assert "cgroup_enable=memory" in finding.remedy


@pytest.mark.skipif(os.geteuid() == 0, reason="root may use everything")
def test_doctor_names_the_group_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "video0").touch(mode=0)
    barred, _ = cameras(tmp_path)
    assert (barred.status, barred.name) == ("fail", "permissions")
    assert "usermod -aG" in barred.remedy


def test_doctor_survives_a_package_that_crashes(enrolled: Path, tmp_path: Path) -> None:
    """An illegal instruction at import is reported, with the rest of the findings."""
    (tmp_path / "onnxruntime.py").write_text(
        "import os, signal; os.kill(os.getpid(), signal.SIGILL)"
    )
    done = run_cli("doctor", "--gallery", enrolled, PYTHONPATH=str(tmp_path))
    assert done.returncode == 9
    assert "FAIL  onnxruntime  crashes with an illegal instruction" in done.stdout
    assert "ok    gallery" in done.stdout


def test_exit_runs_handlers_and_does_not_wait_for_threads() -> None:
    script = (
        "import atexit, threading, time\n"
        "from edge_runtime.cli import main\n"
        "threading.Thread(target=time.sleep, args=(600,)).start()\n"
        "atexit.register(print, 'the end')\n"
        "main(['--version'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "the end"


def test_a_very_long_photo_and_a_file_name_that_is_not_utf_8(tmp_path: Path) -> None:
    """A scaled thumbnail would be 0 pixels high, and the file name is in Latin-1."""
    label = tmp_path / "photos" / "wall"
    label.mkdir(parents=True)
    strip = np.random.default_rng(0).integers(0, 255, (40, 14_000, 3), dtype=np.uint8)
    cv2.imwrite(str(label / "strip.png"), strip)
    cv2.imwrite(str(label / "high.png"), strip.transpose(1, 0, 2))
    (label / "high.png").rename(os.fsdecode(os.fsencode(label) + b"/caf\xe9.png"))
    gallery = tmp_path / "g.sqlite"
    done = run_cli("enroll", "--gallery", gallery, label.parent)
    assert done.returncode == 0, done.stderr
    assert "enrolled 2 pictures (12 codes)" in done.stdout
    for target, code in ((tmp_path / "wall.jpg", 0), (tmp_path, 2), (tmp_path / "no" / "w.jpg", 6)):
        done = run_cli("gallery", "thumbnail", "--gallery", gallery, "wall", target)
        assert done.returncode == code, done.stderr
    assert "no such file or folder" in done.stderr


def test_a_folder_without_permission_is_a_storage_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", refuse)
    target = tmp_path / "copy.sqlite"
    assert run_command(["gallery", "backup", "--gallery", str(tmp_path / "g"), str(target)]) == 6
    assert "copy.sqlite: permission denied (check the owner" in capsys.readouterr().err


def test_an_internal_error_is_one_line(enrolled: Path, photos: Path) -> None:
    script = (
        "import sys, edge_runtime.recognition.pipeline as p\n"
        "p.preprocess = lambda *_: 1 / 0\n"
        "from edge_runtime.cli import main\n"
        f"main(['query', '--gallery', {str(enrolled)!r}, {str(photos / 'cat' / '0.jpg')!r}])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False
    )
    _one_line(done, 1, "internal error: ZeroDivisionError", "EDGE_RUNTIME_DEBUG=1")


def test_every_error_has_a_documented_exit_code() -> None:
    documented = (ROOT / "docs" / "ERRORS.md").read_text()
    families = [
        cls
        for cls in vars(errors).values()
        if isinstance(cls, type) and issubclass(cls, errors.EdgeRuntimeError)
    ]
    assert len(families) > 15
    assert errors.__doc__ is not None
    for family in families:
        assert family.__name__ in errors.__doc__, f"{family.__name__} is missing in the tree"
        assert f"| {family.exit_code} |" in documented
    for code in (0, 2, errors.EXIT_CHECK_FAILED, errors.EXIT_INTERRUPTED):
        assert f"| {code} |" in documented
