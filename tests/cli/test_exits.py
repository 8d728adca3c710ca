"""Exits when the surroundings fail: closed or full streams, no home, long paths, no memory."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from demo.scenes import write_enrollment_photos
from edge_runtime.camera import CameraOptions
from edge_runtime.camera.video import FileSource
from edge_runtime.cli import _environment_fault
from edge_runtime.clips.frames import translated
from edge_runtime.engine import compiled
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.errors import (
    CameraError,
    EngineError,
    InputError,
    ResourceError,
    StorageError,
    storage_error,
)
from edge_runtime.gallery import Gallery
from edge_runtime.image.decode import decode_photo
from edge_runtime.shortage import check_limits, shortage
from tests.support.processes import ROOT

COMMAND = f"{sys.executable} -m edge_runtime"
NO_HOME = """
import os, pwd, sys
def no_entry(*_):
    raise KeyError("uid not found")
pwd.getpwuid = no_entry
from edge_runtime.cli import main
main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    write_enrollment_photos(folder)
    return sorted(folder.rglob("*.jpg"))[0]


@pytest.fixture
def listed(tmp_path: Path, fake_engine: FakeEngine) -> Path:
    """A gallery for commands that need no model."""
    with Gallery(tmp_path / "g.sqlite", fake_engine.model, create=True):
        return tmp_path / "g.sqlite"


def _shell(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", script],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, **variables},
    )  # fmt: skip


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_enroll_with_closed_streams(tmp_path: Path, photo: Path, closed: str) -> None:
    gallery = tmp_path / "g.sqlite"
    done = _shell(f"{COMMAND} enroll --gallery {gallery} --label a {photo} {closed}")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    done = _shell(f"{COMMAND} gallery verify --gallery {gallery}")
    assert done.returncode == 0, done.stdout + done.stderr  # nothing was printed into the file


@pytest.mark.parametrize("command", ["config example", "gallery list --json"])
def test_a_full_standard_output_is_a_storage_error(listed: Path, command: str) -> None:
    named = f"--gallery {listed}" if "gallery" in command else ""
    done = _shell(f"{COMMAND} {command} {named} >/dev/full")
    assert done.returncode == StorageError.exit_code, done.stderr
    assert done.stderr.startswith("edge-runtime: standard output: the disk is full")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("stream", ["2>/dev/full", "2>&-", "2>&1 | true; exit ${PIPESTATUS[0]}"])
def test_a_lost_message_keeps_the_exit_code(tmp_path: Path, stream: str) -> None:
    missing = f"{COMMAND} config check {tmp_path / 'none.toml'} {stream}"
    assert _shell(missing).returncode == 3
    assert _shell(f"{COMMAND} nonsense {stream}").returncode == 2


@pytest.mark.parametrize("command", ["config example", "--help", "gallery list --json"])
def test_a_reader_that_has_gone_is_no_error(listed: Path, command: str) -> None:
    named = f"--gallery {listed}" if "gallery" in command else ""
    done = _shell(f"(sleep 0.2; {COMMAND} {command} {named}) | true; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_broken_pipe_of_something_else_is_not_success() -> None:
    script = (
        "from edge_runtime import cli\n"
        "from edge_runtime.settings import describe\n"
        "def fail():\n"
        "    raise BrokenPipeError(32, 'Broken pipe', '/run/some.socket')\n"
        "describe.example = fail\n"
        "cli.main(['config', 'example'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == StorageError.exit_code
    assert "/run/some.socket" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "code", "output"),
    [
        (["gallery", "list"], 5, "name one with --gallery or EDGE_RUNTIME_GALLERY"),
        (["query", "x.jpg"], 5, "name one with --gallery or EDGE_RUNTIME_GALLERY"),
        (["config", "check", "edge.toml"], 3, "gallery.path: this user has no home folder"),
        (["doctor"], 0, "no gallery is named, and this user has no home folder"),
    ],
)
def test_a_user_without_a_home_or_an_entry(
    tmp_path: Path, command: list[str], code: int, output: str
) -> None:
    (tmp_path / "edge.toml").write_text('[gallery]\npath = "~/g.sqlite"\n')
    gone = ("HOME", "XDG_DATA_HOME", "EDGE_RUNTIME_GALLERY", "USER", "LOGNAME")
    environment = {name: value for name, value in os.environ.items() if name not in gone}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [sys.executable, "-c", NO_HOME, *command],
        capture_output=True, text=True, cwd=tmp_path, env=environment,
    )  # fmt: skip
    text = done.stdout + done.stderr
    assert output in text and "internal error" not in text, text
    if command[0] == "doctor":
        assert done.returncode in (0, 9), text  # other checks of this machine may fail
    else:
        assert done.returncode == code, text
        assert done.stderr.count("\n") == 1


def test_a_gallery_path_over_512_bytes(tmp_path: Path, fake_engine: FakeEngine) -> None:
    folder = tmp_path.joinpath(*(letter * 200 for letter in "abc"))
    folder.mkdir(parents=True)
    with pytest.raises(StorageError, match="more than 500 bytes, and SQLite"):
        Gallery(folder / "g.sqlite", fake_engine.model, create=True)
    done = _shell(f"cd {folder} && PYTHONPATH={ROOT} {COMMAND} gallery repair --gallery g.sqlite")
    assert done.returncode in (5, 6)
    assert "internal error" not in done.stderr
    name = OSError(errno.ENAMETOOLONG, "File name too long", "x" * 300)
    assert "too long" in str(storage_error(name, "x"))


def test_a_current_folder_that_is_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    script = f"mkdir {gone} && cd {gone} && rmdir {gone} && PYTHONPATH={ROOT} {COMMAND}"
    done = _shell(f"{script} config check edge.toml")
    assert done.returncode in (3, 6), done.stderr
    assert "internal error" not in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        Exception("[ONNXRuntimeError] : 1 : FAIL : std::bad_alloc"),
        ImportError("libx.so.1: failed to map segment from shared object"),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
        OSError(errno.EMFILE, os.strerror(errno.EMFILE), "/x"),
        BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)),
        RuntimeError("can't start new thread"),
    ],
)
def test_the_limits_of_the_system_have_an_exit_code(error: Exception) -> None:
    fault = _environment_fault(error)
    assert isinstance(fault, ResourceError)
    assert fault.remedy
    try:
        raise ValueError("a reader gave up") from error
    except ValueError as outer:
        assert isinstance(shortage(outer), ResourceError)


@pytest.mark.parametrize(
    "command",
    ["gallery backup new.sqlite", "gallery export new.npz", "hash --out c.npz ."],
)
def test_too_few_open_files_are_no_fault_of_a_file(
    tmp_path: Path, listed: Path, cat: np.ndarray, command: str
) -> None:
    cv2.imwrite(str(tmp_path / "cat.jpg"), cat)
    variables = {"PYTHONPATH": str(ROOT), "EDGE_RUNTIME_GALLERY": str(listed)}
    done = _shell(f"cd {tmp_path} && ulimit -n 6; {COMMAND} {command}", **variables)
    assert done.returncode == ResourceError.exit_code, done.stderr
    assert "too many open files (raise the limit" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_clip_is_not_blamed_for_the_limits(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"no film")
    source = FileSource(tmp_path / "clip.mp4", CameraOptions())
    with pytest.raises(CameraError, match="not a video file, or damaged"):
        source.open()
    monkeypatch.setattr("edge_runtime.shortage._LITTLE_BYTES", 1 << 60)
    with pytest.raises(ResourceError, match="too little memory"), translated(Path("clip.mp4")):
        source.open()
    with pytest.raises(ResourceError):
        check_limits("clip.mp4")


def test_a_lock_that_is_held_is_no_shortage() -> None:
    try:
        raise InputError("in use") from BlockingIOError(errno.EAGAIN, "busy")
    except InputError as error:
        assert shortage(error, busy=False) is None
        assert shortage(error) is not None


@pytest.mark.parametrize("error", [ValueError("x"), RuntimeError("x"), KeyError("memory")])
def test_a_bug_stays_a_bug(error: Exception) -> None:
    assert _environment_fault(error) is None


def test_a_photo_that_needs_too_much_memory(tmp_path: Path) -> None:
    """Under a limit of the address space, a decoder returns nothing, as for a damaged file."""
    path = tmp_path / "large.png"
    cv2.imwrite(str(path), np.zeros((6000, 6000), np.uint8), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    script = (
        "import resource, sys\n"
        "from edge_runtime.cli import main\n"
        "import edge_runtime.cli.query\n"
        "from edge_runtime.image.decode import read_photo\n"
        "pages = int(open('/proc/self/statm').read().split()[0])\n"
        "limit = pages * resource.getpagesize() + (50 << 20)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "edge_runtime.cli.command.get_command = lambda *_: read_photo(sys.argv[1])\n"
        "main(['query'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == ResourceError.exit_code, done.stderr
    assert "too little memory" in done.stderr and "damaged" not in done.stderr


def test_a_damaged_photo_is_still_damaged(tmp_path: Path, cat: np.ndarray) -> None:
    data = bytearray(cv2.imencode(".png", cat)[1])
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    with pytest.raises(Exception, match=r"damaged|truncated"):
        decode_photo(bytes(data))


def test_a_disk_that_is_mounted_noexec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_NOEXEC))
    text = "/media/lib/cv2.so: failed to map segment from shared object"
    fault = _environment_fault(ImportError(text))
    assert isinstance(fault, StorageError)
    assert re.match(r"/media/lib/cv2\.so: its disk is mounted noexec", str(fault))
    library = tmp_path / "libedge.so"
    library.write_bytes(b"no library")
    with pytest.raises(EngineError, match="mounted noexec") as caught:
        compiled._load(library)
    assert "compile" not in caught.value.remedy
