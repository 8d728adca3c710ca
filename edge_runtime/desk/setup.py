"""Make a desk: its keys, its gallery, and version 1."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from edge_runtime.desk.folder import Desk
from edge_runtime.desk.publish import FLEET, publish
from edge_runtime.desk.repository import NewFile, create
from edge_runtime.desk.settings import DeskSettings, settings_text
from edge_runtime.desk.signing.keys import write_online_keys, write_root_keys
from edge_runtime.desk.signing.root import first_root
from edge_runtime.errors import DeskError, storage_error
from edge_runtime.gallery import Gallery
from edge_runtime.gallery.backup import backup
from edge_runtime.model import ModelInfo
from edge_runtime.system.durable import make_folder, sync_folder, sync_tree, write_file


def make_desk(
    path: Path,
    root_keys: Path,
    settings: DeskSettings,
    *,
    model: ModelInfo | None = None,
    gallery: Path | None = None,
    passphrase: bytes = b"",
) -> Desk:
    """Make the folder `path` of a new desk, with version 1, and the root keys in `root_keys`.

    The gallery is a copy of `gallery`, or an empty one for `model`. Raises `EdgeRuntimeError`; the
    folder then does not exist.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise DeskError("exists already", where=path, remedy="choose another folder")
    if root_keys.absolute() == path.absolute() or path.absolute() in root_keys.absolute().parents:
        raise DeskError(
            "the root keys must not be in the desk's folder",
            where=root_keys,
            remedy="choose another folder, best on a medium that you disconnect afterwards",
        )
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        make_folder(new)
        new.chmod(0o700)
        _fill(new, settings, model, gallery)
        keys = write_root_keys(root_keys, passphrase)
        online = write_online_keys(new / "keys")
        root = first_root(keys, online, settings.lifetimes)
        files = [NewFile(FLEET, _advertised(settings), {})]
        create(new / "public", new / "keys", new / "root.json", root, files, settings.lifetimes)
        publish(Desk(new), "the first version")
        (new / ".sign.lock").unlink()
        sync_tree(new)
        if path.exists():
            path.rmdir()
        new.rename(path)
        sync_folder(path.absolute().parent)
    except OSError as error:
        raise storage_error(error, error.filename or path) or error from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return Desk(path)


def _advertised(settings: DeskSettings) -> bytes:
    import json

    return json.dumps(settings.advertised(0), sort_keys=True).encode()


def _fill(
    folder: Path, settings: DeskSettings, model: ModelInfo | None, gallery: Path | None
) -> None:
    target = folder / "gallery.sqlite"
    if gallery is not None:
        backup(gallery, target)
    else:
        Gallery(target, model, create=True).close()
    write_file(folder / "desk.json", settings_text(settings))
