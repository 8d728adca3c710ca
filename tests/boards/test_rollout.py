"""deploy/rollout.py: a model that the fleet rolled out becomes a release, or the old one stays."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.keys import install, make_key, needs_ssh_keygen
from tests.support.power import Disk
from tests.support.systemd import load

release, rollout = load("release"), load("rollout")
ID = "0123456789ab"

DOCTOR = """#!/bin/sh
# The stand-in for doctor: the model's file `says` is what it finds.
for each; do [ "$before" = --model ] && model=$each; before=$each; done
cat "$model/says"
"""
HEALTHY = {"findings": [{"status": "ok", "name": "bundle", "detail": "fine"}]}


def bundle(text: str = "good", says: object = HEALTHY, **change: Any) -> dict[str, bytes]:
    """Return the files of a bundle; `text` is what the stand-in of the service does with it."""
    files = {"model.onnx": text.encode(), "says": json.dumps(says).encode()}
    listed = {name: {"sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()}
    manifest = {"format": 1, "model": {"id": "ab" * 32}, "files": listed, **change}
    return {"manifest.json": json.dumps(manifest).encode(), **files}


class Board:
    """A board with one confirmed release, `base`, and a spool folder."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.prefix = folder, folder / "opt"
        self.spool, self.home = folder / "state" / "rollout", folder / "state" / "gallery.sqlite"
        self.spool.mkdir(parents=True)
        self.home.write_text("gallery")
        self.restarts: list[str] = []
        self.boots = 0
        base = self.prefix / "releases" / "base"
        for name, data in bundle("old").items():
            (base / "model").mkdir(parents=True, exist_ok=True)
            (base / "model" / name).write_bytes(data)
        (base / "venv" / "bin").mkdir(parents=True)
        (base / "venv" / "bin" / "python").write_text(DOCTOR)
        (base / "venv" / "bin" / "python").chmod(0o755)
        (base / "venv" / "bin" / "edge-runtime").write_text(f"#!{base}/venv/bin/python\n")
        (base / "venv" / "pyvenv.cfg").write_text(f"command = python -m venv {base}/venv\n")
        (base / "edge-runtime.service").write_text(
            f"Environment=EDGE_RUNTIME_GALLERY={self.home}\n"
        )
        monkeypatch.setattr(release, "BOOT_ID", folder / "boot_id")
        monkeypatch.setattr(rollout, "TRUST", folder / "no keys")
        monkeypatch.setattr(rollout, "restart", self.restart)
        monkeypatch.setattr(rollout, "manage", lambda *_: None)
        self.boot()
        board = self.board
        board.seal("base")
        board.begin("base", folder / "edge-runtime.service", running=False)
        board.check()
        board.confirm("base", 3)

    @property
    def board(self) -> Any:
        return release.Board(self.prefix)

    @property
    def record(self) -> dict[str, Any]:
        return dict(json.loads((self.prefix / "rollout.json").read_bytes()))

    @property
    def text(self) -> str:
        """What the service would load."""
        return (self.prefix / "current" / "model" / "model.onnx").read_text()

    @property
    def gallery(self) -> Path:
        return Path(rollout.gallery_of((self.prefix / "current").resolve()))

    def boot(self) -> None:
        self.boots += 1
        (self.folder / "boot_id").write_text(f"{self.boots}\n")

    def restart(self) -> str:
        """Stand in for systemd: the unit's check, then the service."""
        self.board.check()
        self.restarts.append(self.board.current)
        return "" if self.text in ("good", "old") else "did not become ready in 60 s"

    def request(
        self, files: dict[str, bytes] | bytes | None = None, **change: object
    ) -> dict[str, Any]:
        """Put a request into the spool, as the follower does."""
        archive = files if isinstance(files, bytes) else packed(files or bundle())
        wanted = {
            "id": ID,
            "attempt": 1,
            "action": "install",
            "sha256": hashlib.sha256(archive).hexdigest(),
            "bytes": len(archive),
            "gallery": "",
            **change,
        }
        (self.spool / f"{wanted['id']}.tar").write_bytes(archive)
        (self.spool / "request.json").write_text(json.dumps(wanted))
        return wanted

    def take(self) -> str:
        """Do what the unit does; return the reason if it fails."""
        try:
            if request := rollout.read_request(self.spool):
                rollout.Rollout(self.prefix, self.spool).take(request)
        except (release.ReleaseError, OSError) as error:
            return str(error)
        return ""


def packed(files: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(f"model/{name}")
            member.size, member.type, member.linkname = len(data), kind, "/etc/passwd"
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    return Board(tmp_path, monkeypatch)


def test_a_model_becomes_a_release_with_its_own_gallery(board: Board) -> None:
    new = board.home.with_name("gallery-abababababab.sqlite")
    new.write_text("the new model's")
    board.request(gallery=new.name)
    assert board.take() == ""
    assert (board.text, board.gallery) == ("good", new)
    name = board.board.current
    assert board.record | {"time": 0} == {
        "id": ID,
        "attempt": 1,
        "action": "install",
        "state": "ready",
        "why": "",
        "release": name,
        "tries": 1,
        "time": 0,
    }
    assert board.board.state.good == [name, "base"]
    assert board.board.fault(name) == ""
    venv = board.prefix / "releases" / name / "venv"
    assert (venv / "bin" / "edge-runtime").read_text() == f"#!{venv}/bin/python\n"
    assert f"{venv}\n" in (venv / "pyvenv.cfg").read_text()
    files = [path for path in venv.parent.rglob("*") if path.is_file()]
    assert {path.lstat().st_nlink for path in files} == {1}  # no other release has them
    unit = (board.folder / "edge-runtime.service").read_text()
    assert unit == f"Environment=EDGE_RUNTIME_GALLERY={board.prefix}/current/gallery.sqlite\n"
    assert not (board.prefix / "rollout").exists()

    assert board.take() == ""  # the same request again: nothing happens
    assert board.restarts == [name]


def test_a_way_back_leads_to_the_gallery_of_the_old_model(board: Board) -> None:
    board.request(gallery="gallery-new.sqlite")
    assert board.take() == ""
    board.request(action="back")
    assert board.take() == ""
    assert (board.text, board.gallery) == ("old", board.home)
    assert board.record["state"] == "back"
    assert board.home.read_text() == "gallery"
    board.request(attempt=2, gallery="gallery-new.sqlite")  # --resume
    assert board.take() == ""
    assert (board.text, board.gallery.name) == ("good", "gallery-new.sqlite")


def test_back_changes_nothing_on_a_board_that_was_deployed_to_since(board: Board) -> None:
    board.request()
    assert board.take() == ""
    shutil.copytree(board.prefix / "releases" / "base", board.prefix / "releases" / "other")
    board.board.begin("other", board.folder / "edge-runtime.service", running=True)
    board.board.check()
    board.board.confirm("other", 3)
    board.request(action="back")
    assert board.take() == ""
    assert board.board.current == "other"
    assert board.record["why"] == "this board was not on it"


def test_a_model_that_never_becomes_ready_is_left(board: Board) -> None:
    board.request(bundle("hangs"), gallery="gallery-new.sqlite")
    assert "did not become ready in 60 s" in board.take()
    assert (board.text, board.gallery) == ("old", board.home)
    assert board.record["state"] == "failed"
    assert board.board.state.good == ["base"]
    assert [path.name for path in (board.prefix / "releases").iterdir()] == ["base"]
    tried = len(board.restarts)
    assert board.take() == ""  # once is enough
    assert len(board.restarts) == tried
    board.request(bundle(), attempt=2)
    assert board.take() == ""
    assert board.text == "good"


REFUSED: dict[str, Callable[[Board], object]] = {
    "differs from its digest": lambda board: board.request(sha256="0" * 64),
    "differs from its digest.": lambda board: board.request(bytes=100),
    "is missing": lambda board: (
        board.request(),
        (board.spool / f"{ID}.tar").rename(board.folder / "gone"),
    ),
    "an entry that no bundle has": lambda board: board.request({"../escape": b"x", **bundle()}),
    "an entry that no bundle has.": lambda board: board.request(
        packed({"x": b""}, tarfile.SYMTYPE)
    ),
    "cannot be read": lambda board: board.request(b"not a tar" * 100),
    "has no bundle": lambda board: board.request({"model.onnx": b""}),
    "model.onnx of the bundle is damaged": lambda board: board.request(
        {**bundle(), "model.onnx": b"changed"}
    ),
    "does not list the files: 'extra.py'": lambda board: board.request(
        {**bundle(), "extra.py": b"changed"}
    ),
    "manifest.json is malformed": lambda board: board.request({"manifest.json": b"[]"}),
    "doctor: bundle: compiled for another CPU": lambda board: board.request(
        bundle(
            says={
                "findings": [
                    {"status": "warn", "name": "bundle", "detail": "compiled for another CPU"}
                ]
            }
        )
    ),
    "doctor: model: corrupt": lambda board: board.request(
        bundle(says={"findings": [{"status": "fail", "name": "model", "detail": "corrupt"}]})
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_used_changes_nothing(board: Board, why: str) -> None:
    REFUSED[why](board)
    assert why.rstrip(".") in board.take()
    assert (board.text, board.record["state"]) == ("old", "failed")
    assert board.restarts == []
    assert [path.name for path in (board.prefix / "releases").iterdir()] == ["base"]
    assert not (board.folder / "escape").exists() and not (board.prefix / "rollout").exists()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        "\0" * 70_000,
        json.dumps({"id": "../../etc", "attempt": 1, "action": "install"}),
        json.dumps({"id": ID, "attempt": 1, "action": "install", "gallery": "../x.sqlite"}),
        json.dumps({"id": ID, "attempt": True, "action": "install"}),
        json.dumps({"id": ID, "attempt": 1, "action": "install", "bytes": 1 << 40}),
        json.dumps({"id": ID, "attempt": 1, "action": "run"}),
        json.dumps({"id": ID, "attempt": 1, "action": "install", "command": "x"}),
    ],
)
def test_a_request_that_is_none_changes_nothing(board: Board, content: str) -> None:
    (board.spool / "request.json").write_text(content)
    assert "request.json" in board.take()
    assert not (board.prefix / "rollout.json").exists()


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_no_header_is_read_into_memory(tmp_path: Path, kind: bytes) -> None:
    """It may announce gigabytes, and this runs as root."""
    member = tarfile.TarInfo("model/x")
    member.type, member.size = kind, 1 << 32
    (tmp_path / "a.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(rollout.RefusedError, match="no bundle has"):
        rollout.unpack(tmp_path / "a.tar", tmp_path / "model")


def test_no_link_of_the_spool_is_followed(board: Board) -> None:
    board.request()
    secret = board.folder / "secret"
    (board.spool / "request.json").rename(secret)
    (board.spool / "request.json").symlink_to(secret)
    assert "Too many levels of symbolic links" in board.take()
    (board.spool / "request.json").unlink()
    os.mkfifo(board.spool / "request.json")
    assert "not a regular file" in board.take()
    board.spool.rename(board.folder / "elsewhere")
    board.spool.symlink_to(board.folder / "elsewhere")
    assert "directory" in board.take()
    assert not (board.prefix / "rollout.json").exists()


def test_a_full_disk_is_said_before_anything_is_written(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(board.folder)._replace(free=10_000_000)
    monkeypatch.setattr(rollout.shutil, "disk_usage", lambda _: usage)
    board.request()
    assert f"10 MB free on {board.prefix}, 50 MB needed" in board.take()
    assert board.record["state"] == "failed"


def test_a_disk_that_fills_up_leaves_the_release_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(tmp_path, megabytes=16)
    try:
        board = Board(disk.place, monkeypatch)
        usage = shutil.disk_usage(board.folder)._replace(free=10**12)
        monkeypatch.setattr(rollout.shutil, "disk_usage", lambda _: usage)
        board.request(bundle("good" * 1_500_000))
        assert "No space left on device" in board.take()
        assert (board.text, board.record["state"]) == ("old", "failed")
        assert [path.name for path in (board.prefix / "releases").iterdir()] == ["base"]
        assert not (board.prefix / "rollout").exists()
        assert board.restart() == ""
    finally:
        disk.remove()


@needs_ssh_keygen
def test_a_board_with_keys_takes_only_signed_bundles(
    board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, other = make_key(tmp_path, "owner"), make_key(tmp_path, "other")
    trust = install(tmp_path / "trust", owner)
    monkeypatch.setattr(rollout, "TRUST", trust)

    def signed(key: Path) -> dict[str, bytes]:
        files = bundle()
        manifest = tmp_path / "manifest.json"
        manifest.write_bytes(files["manifest.json"])
        manifest.with_name("manifest.json.sig").unlink(missing_ok=True)
        command = ["ssh-keygen", "-q", "-Y", "sign", "-n", "edge-runtime-bundle"]
        subprocess.run([*command, "-f", key, manifest], check=True)
        return {**files, "manifest.json.sig": (tmp_path / "manifest.json.sig").read_bytes()}

    def answer(files: dict[str, bytes], attempt: int) -> str:
        board.request(files, attempt=attempt)
        return board.take()

    assert "is not signed, and this board" in answer(bundle(), 1)
    assert "not signed by a key that this board trusts" in answer(signed(other), 2)
    changed = {**signed(owner), "manifest.json": bundle(note=1)["manifest.json"]}
    assert "not signed by a key that this board trusts" in answer(changed, 3)
    trust.chmod(0o777)
    assert "other users can change" in answer(signed(owner), 4)
    trust.chmod(0o755)
    install(trust, owner, revoked=(owner,))
    assert "not signed by a key that this board trusts" in answer(signed(owner), 5)
    (trust / "revoked_keys").unlink()
    assert board.text == "old"
    assert answer(signed(owner), 6) == ""
    assert board.text == "good"


def _cut_at(board: Board, step: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Take the request in a process that dies before its `step`-th change; return whether it did.

    The changes are those that last: files written or removed, the link, the environment's copy.
    """
    if (child := os.fork()) == 0:
        count = 0

        def counted(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                nonlocal count
                if count == step:
                    os._exit(9)
                count += 1
                return function(*arguments, **options)

            return call

        for module, names in (
            (release, ("write_durably", "sync")),
            (release.Board, ("switch", "_install_unit")),
            (rollout, ("write_durably", "unpack", "move_scripts", "link_gallery")),
            (rollout, ("examine", "check_bundle")),
            (rollout.subprocess, ("run",)),
            (shutil, ("rmtree",)),
        ):
            for name in names:
                monkeypatch.setattr(module, name, counted(getattr(module, name)))
        monkeypatch.setattr(rollout, "restart", counted(board.restart))
        board.take()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.parametrize("text", ["good", "hangs", "back"])
def test_a_cut_before_any_step_leaves_a_whole_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    steps = 0
    while True:
        (folder := tmp_path / str(steps)).mkdir()
        board = Board(folder, monkeypatch)
        board.request(bundle("hangs" if text == "hangs" else "good"), gallery="gallery-new.sqlite")
        if text == "back":
            assert board.take() == ""
            board.request(action="back")
        if not _cut_at(board, steps, monkeypatch):
            break
        board.boot()
        fault = board.restart()
        assert not fault and board.board.fault(board.board.current) == ""
        assert board.gallery.name == (
            "gallery-new.sqlite" if board.text == "good" else "gallery.sqlite"
        )
        board.take()  # at boot, and for each new request
        assert board.record["state"] == {"good": "ready", "hangs": "failed"}.get(text, text)
        assert board.text == ("good" if text == "good" else "old")
        assert board.board.fault(board.board.current) == ""
        assert not (board.prefix / "rollout").exists()
        steps += 1
    assert steps > (25 if text != "back" else 6)


def test_a_board_that_fails_in_every_installation_gives_up(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model may be what cuts the power."""
    board.request()
    for _ in range(3):
        assert _cut_at(board, 20, monkeypatch)
        board.boot()
        assert board.restart() == ""
    assert board.take() == "cut short 3 times"
    assert (board.text, board.record["state"]) == ("old", "failed")


def test_the_program_says_one_line(board: Board) -> None:
    shutil.copy(Path(release.__file__), board.prefix)
    shutil.copy(Path(rollout.__file__), board.prefix)
    command = [sys.executable, "-I", str(board.prefix / "rollout.py"), f"--spool={board.spool}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")  # no request
    (board.spool / "request.json").write_text("{}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("deploy: roll-out: request.json is not a request")
    assert done.stderr.count("\n") == 1


def test_the_units_are_valid_for_systemd(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here")
    units = []
    for name in ("edge-runtime-rollout.path", "edge-runtime-rollout.service"):
        text = (Path(rollout.__file__).parent / name).read_text()
        units.append(tmp_path / name)
        units[-1].write_text(text.replace("/usr/bin/python3", sys.executable))
    command = ["systemd-analyze", "verify", *map(str, units)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if "edge-runtime-rollout" in line] == []
