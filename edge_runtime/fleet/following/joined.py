"""What a board has joined: kept beside the gallery, in the folder GALLERY.fleet."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge_runtime.errors import FleetError, InputError, NotJoinedError, storage_error
from edge_runtime.redaction import redact
from edge_runtime.system.durable import make_folder, write_file

JOIN_FILE = "join.json"
ROOT_FILE = "root.json"
STATUS_FILE = "status.json"
"""What the follower reported last."""
MOST_ROOT_BYTES = 512_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KEYS = ("board", "url", "fleet", "joined_at", "mqtt_user", "mqtt_password_file", "mqtt_ca_file")


@dataclass(frozen=True)
class Joined:
    """A membership."""

    board: str
    url: str
    """Where the fleet's signed files are: http(s)://, file://, or a path."""
    fleet: str = ""
    """The name in the fleet's own file."""
    joined_at: str = ""
    mqtt_user: str = ""
    mqtt_password_file: str = ""
    mqtt_ca_file: str = ""


def folder_of(gallery: Path) -> Path:
    """Return the folder of the fleet's state beside a gallery, which may be a link to one."""
    place = gallery.resolve()
    return place.with_name(place.name + ".fleet")


def last_status(gallery: Path) -> dict[str, Any]:
    """Return what the follower of this gallery reported last; {} if there is nothing."""
    with suppress(OSError, ValueError):
        value = json.loads((folder_of(gallery) / STATUS_FILE).read_bytes())
        if isinstance(value, dict):
            return value
    return {}


def default_board() -> str:
    """Return this machine's name, as far as a board may have it."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname()).lstrip("._-")
    return name[:64] or "board"


def check_board(name: str) -> str:
    """Return `name` if it can be a part of topics; raises `InputError`."""
    if not _NAME.fullmatch(name):
        raise InputError(
            "a board's name has 1 to 64 letters, digits, dots, dashes or underscores",
            where=repr(name[:70]),
            remedy="name it with --board",
        )
    return name


def read_joined(gallery: Path) -> Joined:
    """Return what the board with this gallery has joined; raises `NotJoinedError`."""
    path = folder_of(gallery) / JOIN_FILE
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise NotJoinedError(
            "this board has not joined a fleet",
            where=gallery,
            remedy="edge-runtime fleet join URL --root root.json",
        ) from error
    except OSError as error:
        raise storage_error(error, path) or error from error
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(values, dict) or not _texts(values):
        raise _damaged(path, "unexpected values")
    return Joined(**{key: values[key] for key in _KEYS if key in values})


def _texts(values: dict[str, Any]) -> bool:
    return {"board", "url"} <= values.keys() and all(
        isinstance(values[key], str) for key in _KEYS if key in values
    )


def _damaged(path: Path, what: str) -> FleetError:
    return FleetError(f"damaged: {what}", where=path, remedy="join again: edge-runtime fleet join")


def write_joined(gallery: Path, joined: Joined, root: bytes) -> None:
    """Store a membership with the root of trust, durably; raises `StorageError`.

    The files belong to the owner of the gallery's folder, so that the service can replace them.
    """
    folder = folder_of(gallery)
    with _stored(folder):
        make_folder(folder)
        write_file(folder / ROOT_FILE, root)
        write_file(folder / JOIN_FILE, json.dumps(asdict(joined), indent=1).encode() + b"\n")
        give_to_owner(gallery)


def give_to_owner(gallery: Path) -> None:
    """As root, give the fleet's folder to the owner of the folder that contains it."""
    if os.geteuid():
        return
    folder = folder_of(gallery)
    owner = folder.parent.stat()
    for place, _, names in os.walk(folder):
        for path in (place, *(os.path.join(place, name) for name in names)):  # noqa: PTH118
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def forget_joined(gallery: Path) -> None:
    """Delete the fleet's folder, the membership first; raises `StorageError`."""
    folder = folder_of(gallery)
    with _stored(folder):
        with suppress(FileNotFoundError):
            (folder / JOIN_FILE).unlink()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _stored(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise storage_error(error, folder) or error from error


def shown_url(url: str) -> str:
    """Return an address without its secrets."""
    return redact(url)


def read_root(path: Path) -> bytes:
    """Return the content of a root of trust; raises `StorageError` or `FleetError`."""
    try:
        with path.open("rb") as file:
            root = file.read(MOST_ROOT_BYTES + 1)
    except OSError as error:
        raise storage_error(error, path) or error from error
    if len(root) > MOST_ROOT_BYTES:
        raise FleetError("not a root of trust: too long", where=path, remedy="name root.json")
    return root
