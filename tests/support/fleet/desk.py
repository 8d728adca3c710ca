"""A desk in a scratch folder, and what boards would send to it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from edge_runtime.desk.folder import Desk
from edge_runtime.desk.intake import Taken, limits_of, take
from edge_runtime.desk.settings import DeskSettings
from edge_runtime.desk.setup import make_desk
from edge_runtime.fleet.operations import Add, to_object
from edge_runtime.fleet.waves import Rollout, parse_rollout
from edge_runtime.gallery import Gallery
from tests.support.fleet import MODEL, enroll

PASSPHRASE = b"correct horse battery staple"


def new_desk(folder: Path, *pictures: Add, **settings: object) -> Desk:
    """Make `folder`/desk with these pictures in version 1, and the root keys in `folder`/root."""
    options = DeskSettings(fleet="shop", **{"name_again_s": 0.0, **settings})  # type: ignore[arg-type]
    source = folder / "source.sqlite"
    with Gallery(source, MODEL, create=True) as gallery:
        enroll(gallery, *pictures)
    desk = make_desk(folder / "desk", folder / "root", options, gallery=source)
    source.unlink()
    return desk


def proposal(board: str, add: Add, model_id: str = MODEL.id) -> bytes:
    """The line that a board sends."""
    return json.dumps({"board": board, "model_id": model_id, **to_object(add)}).encode()


def propose(desk: Desk, board: str, *adds: Add) -> Taken:
    return take(desk.store, [(board, proposal(board, add)) for add in adds], limits_of(desk))


def status(board: str, version: int, **more: object) -> bytes:
    """The state that a board reports."""
    return json.dumps({"board": board, "version": version, **more}).encode()


def make_plain_bundle(folder: Path, model_id: str = MODEL.id, text: str = "network") -> Path:
    """Write a bundle for rpi4 that nothing can open, with a whole manifest."""
    folder.mkdir(exist_ok=True)
    (folder / "model.onnx").write_text(text)
    manifest = {
        "format": 1,
        "model": {"id": model_id},
        "target": {"name": "rpi4"},
        "files": {
            "model.onnx": {
                "sha256": hashlib.sha256(text.encode()).hexdigest(),
                "bytes": len(text),
            }
        },
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def rolled(desk: Desk) -> Rollout:
    """The roll-out that boards see."""
    return parse_rollout(desk.repository().read("rollout.json"))
