"""A board with releases that deploy/release.py and deploy/rollout.py change, without systemd."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

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
