"""The command with an unusual home folder, terminal, disk or file name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

import cv2
import numpy as np
import psutil
import pytest

from edge_runtime.camera.fake import FakeSource
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.errors import StorageError
from edge_runtime.gallery import Gallery
from edge_runtime.image.lazy_jpeg import Picture
from edge_runtime.profiler.run import Profile
from edge_runtime.report import read_report
from edge_runtime.system import memory
from tests.support.processes import ROOT, run_cli

SHORT = ("--samples", 4, "--seconds", 0, "--cold-starts", 1)


@pytest.fixture
def photo(tmp_path: Path, cat: np.ndarray) -> Path:
    path = tmp_path / "cat.jpg"
    cv2.imwrite(str(path), cat)
    return path


def _command(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edge_runtime", *map(str, arguments)],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.parametrize("writable", [True, False])
def test_onnx_runtime_stores_no_id_and_sends_no_telemetry(writable: bool, tmp_path: Path) -> None:
    home = tmp_path / "home"
    if writable:
        home.mkdir()
    script = (
        "from edge_runtime.engine import open_engine; import numpy as np\n"
        "open_engine().hash(np.zeros((224, 224, 3), np.uint8))\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, env=environment
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not writable or not list(home.rglob("*"))


def test_a_terminal_with_a_limited_character_set(tmp_path: Path, photo: Path) -> None:
    gallery = tmp_path / "gallery.sqlite"
    assert run_cli("enroll", "--gallery", gallery, "--label", "Кухня", photo).returncode == 0
    for encoding, label in (
        ("iso-8859-1", "\\u041a\\u0443\\u0445\\u043d\\u044f"),
        ("utf-8", "Кухня"),
    ):
        done = _command("query", "--gallery", gallery, photo, PYTHONIOENCODING=encoding)
        assert (done.returncode, done.stderr) == (0, "")
        assert f": {label} (100%" in done.stdout
        done = _command("query", "--json", "--gallery", gallery, photo, PYTHONIOENCODING=encoding)
        assert json.loads(done.stdout)["label"] == "Кухня"
    golden = ROOT / "tests" / "data" / "report-2.json"
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for environment in ({"PYTHONIOENCODING": "iso-8859-1"}, ascii_only):
        done = _command("report", "show", golden, **environment)
        assert (done.returncode, done.stderr) == (9, "")


def test_a_report_with_file_names_that_are_not_utf_8(tmp_path: Path, photo: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    photo.rename(folder / "cat.jpg")
    path = tmp_path / "report.json"
    done = run_cli("profile", *SHORT, "--out", path, folder)
    assert done.returncode in (0, 9), done.stderr
    assert read_report(path).program.arguments[-1].endswith("caf\\udce9")


@pytest.mark.parametrize("name", ["report.json", "export.jsonl", "backup.sqlite"])
def test_an_output_path_that_cannot_be_written_is_one_line(
    name: str, tmp_path: Path, photo: Path, fake_engine: FakeEngine
) -> None:
    gallery = tmp_path / "gallery.sqlite"
    with Gallery(gallery, fake_engine.model, create=True):
        pass
    path = photo / name  # below a file, so that removing it fails too
    done = run_cli(
        *{
            "report.json": ("profile", "--seconds", 600, "--out", path, photo),
            "export.jsonl": ("gallery", "export", "--gallery", gallery, path),
            "backup.sqlite": ("gallery", "backup", "--gallery", gallery, path),
        }[name]
    )  # profile reports it before it measures for ten minutes
    assert done.returncode == StorageError.exit_code, done.stderr
    assert done.stderr.count("\n") == 1
    assert "internal error" not in done.stderr


def test_a_failed_profile_leaves_the_old_report_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("the one before")
    done = run_cli("profile", "--out", path, "--model", tmp_path / "none", tmp_path / "none.jpg")
    assert done.returncode == 3
    assert path.read_text() == "the one before"
    assert list(tmp_path.glob("*.new")) == []


def test_a_system_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any) -> NoReturn:
        raise FileNotFoundError(2, "No such file or directory", "/proc/meminfo")

    def gone(*_: Any) -> NoReturn:
        raise psutil.NoSuchProcess(os.getpid())

    monkeypatch.setattr(psutil, "virtual_memory", missing)
    monkeypatch.setattr(psutil, "Process", gone)
    assert memory.rss_bytes() > 1 << 20
    assert memory.total_bytes() > 1 << 20
    assert 0 <= memory.available_bytes() <= memory.total_bytes()


def test_a_machine_without_a_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", refuse)
    source = FakeSource([Picture(np.zeros((64, 64, 3), np.uint8))])
    profile = Profile(FakeEngine(), source)
    assert not profile.run().met
    assert str(profile.cause).endswith("(set TMPDIR to a folder with free space)")
    assert isinstance(profile.cause, StorageError)
