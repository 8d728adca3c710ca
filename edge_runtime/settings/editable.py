"""Which keys the page may change, and what it needs to know about them.

Everything that could run a program, read a file of the page's choice, send a secret elsewhere, or
lock the owner out is missing here: docs/THREAT_MODEL.md says why.
"""

from __future__ import annotations

import ipaddress
import math
import re
import socket
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import inspect as shape

from edge_runtime.errors import ConfigError, ConfigLockedError
from edge_runtime.redaction import HIDDEN, redact
from edge_runtime.settings.describe import Key, Table, tables
from edge_runtime.settings.schema import Settings

_CAMERA = ("source", "width", "height", "fps")
ALLOWED: dict[str, tuple[str, ...]] = {
    "board": ("name",),
    "camera": _CAMERA,
    "cameras.NAME": _CAMERA,
    "regions.NAME": ("camera", "area", "labels"),
    "gate": ("enabled", "threshold", "refresh_s"),
    "decision": ("window", "neighbors", "radius", "false_name_rate", "second_look", "cooldown_s"),
    "heat": ("hot_c", "fps"),
    "mqtt": ("host", "port", "topic", "client_id", "username", "tls", "queue"),
    "webhook": ("url", "timeout_s", "attempts", "queue"),
    "history": ("days", "megabytes", "snapshots", "snapshot_side"),
    "unknowns": ("pictures", "days", "megabytes", "least"),
}
"""The keys of each table that the page may change."""
_GUARDED = {
    "mqtt": ("password_file", ("host", "port", "username", "tls")),
    "webhook": ("token_file", ("url",)),
    "camera": ("password_file", ("source",)),
    "cameras": ("password_file", ("source",)),
}
"""The key of a secret, and the keys that decide who receives it."""
_LOCAL_CAMERA = re.compile(
    r"\d{1,3}|/dev/video\d{1,3}|/dev/v4l/by-(?:id|path)/[\w.:+-]{1,200}|rpicam(?::\d)?|"
    r"picamera2(?::\d)?"
)
_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")
_SCHEMES = ("http", "https", "rtsp", "rtsps")
_LIST = "the keys that the page may change are in GET /api/settings"
Path = tuple[str, ...]


def is_local_camera(source: str) -> bool:
    """Return whether `source` is a camera of this board, and no other device, file or address."""
    return _LOCAL_CAMERA.fullmatch(source) is not None


def described(
    settings: Settings, running: Settings, overridden: frozenset[str]
) -> Iterator[dict[str, Any]]:
    """Yield the tables with the keys that may be changed, and their values, without secrets.

    `settings`: as in the file. `overridden`: keys that options on the command line replace; their
    values are those of `running`.
    """
    for table in tables():
        if table.name not in ALLOWED or (table.name == "camera" and settings.cameras):
            continue
        group, _, named = table.name.partition(".")
        part = getattr(settings, group)
        names = [f"{group}.{name}" for name in part] if named else [table.name]
        for name in names:
            values = part[name.partition(".")[2]] if named else part
            yield {
                "name": name,
                "text": " ".join(table.text.split()),
                "present": values is not None,
                "optional": table.optional,
                "reloadable": table.reloadable,
                "keys": [
                    _described(
                        key,
                        getattr(running, group) if f"{name}.{key.name}" in overridden else values,
                        _lock(settings, name, key.name, overridden),
                    )
                    for key in _keys(table)
                ],
            }


def _keys(table: Table) -> Iterator[Key]:
    return (key for key in table.keys if key.name in ALLOWED[table.name])


def _described(key: Key, values: Any, lock: str) -> dict[str, Any]:
    value = None if values is None else getattr(values, key.name)
    return {
        "name": key.name,
        **_limits(key.shape),
        "required": key.default is None,
        "default": key.default,
        "value": redact(value) if isinstance(value, str) else value,
        "text": key.text,
        "lock": lock or None,
    }


def _limits(kind: shape.Type) -> dict[str, Any]:
    """Return type and range of a key."""
    while isinstance(kind, shape.Metadata):
        kind = kind.type
    found: dict[str, Any] = {"type": "text", "minimum": None, "above": None, "maximum": None}
    found["choices"] = None
    if isinstance(kind, (shape.IntType, shape.FloatType)):
        found["type"] = "integer" if isinstance(kind, shape.IntType) else "number"
        found |= {"minimum": kind.ge, "above": kind.gt, "maximum": kind.le}
    elif isinstance(kind, shape.BoolType):
        found["type"] = "boolean"
    elif isinstance(kind, shape.LiteralType):
        found |= {"type": "choice", "choices": list(kind.values)}
    elif isinstance(kind, shape.ListType):
        numbers = _limits(kind.item_type)["type"] == "number"
        found["type"] = "numbers" if numbers else "texts"
    return found


def checked(
    changes: Mapping[str, Any], settings: Settings, overridden: frozenset[str]
) -> dict[Path, Any]:
    """Return the changes by path, if the page may make them; raises `ConfigError`.

    `changes`: {"decision.window": 7, "mqtt.host": None, "regions.door": None}. None restores the
    default. It removes a table with a name of the user's, and turns a feature off by its table
    ({"mqtt": None}) or a required key of it. `settings`: as in the file.
    """
    required = {
        (table.name, key.name): True
        for table in tables()
        for key in table.keys
        if key.default is None
    }
    features = {table.name for table in tables() if table.optional and table.name in ALLOWED}
    found: dict[Path, Any] = {}
    for name, value in changes.items():
        path = tuple(name.split("."))
        if name in features and value is None:
            found[path] = None
            continue
        if len(path) == 2 and path[0] in ("cameras", "regions") and value is None:
            if path[1] not in getattr(settings, path[0]):
                raise ConfigError("there is no such table", where=f"{name!a:.60}", remedy=_LIST)
            found[path] = None
            continue
        table, key = ".".join(path[:-1]), path[-1]
        general = f"{path[0]}.NAME" if len(path) == 3 and _NAME.fullmatch(path[1]) else table
        if key not in ALLOWED.get(general, ()):
            raise ConfigLockedError(
                "the page may not change this key", where=f"{name!a:.60}", remedy=_LIST
            )
        if lock := _lock(settings, table, key, overridden):
            raise ConfigLockedError(lock, where=name, remedy="change it in the file")
        if value is None:
            found[path[:-1] if (general, key) in required else path] = None
        else:
            _check_value(name, key, value)
            found[path] = value
    return found


def _lock(settings: Settings, table: str, key: str, overridden: frozenset[str]) -> str:
    """Return why the page may not change a key; empty if it may."""
    group, _, name = table.partition(".")
    if f"{table}.{key}" in overridden:
        return "an option on the daemon's command line sets this"
    secret, keys = _GUARDED.get(group, ("", ()))
    part = getattr(settings, group)
    if isinstance(part, dict):
        part = part.get(name)
    if key in keys and part is not None and getattr(part, secret):
        return f"{secret} would be sent to another place"
    return ""


def _check_value(name: str, key: str, value: Any) -> None:
    fault = ""
    texts = value if isinstance(value, list) else [value]
    if any(isinstance(part, (dict, list)) for part in texts):
        fault = "expected a value or a list of values"
    elif any(isinstance(part, float) and not math.isfinite(part) for part in texts):
        fault = "not a finite number"
    elif any(isinstance(part, str) and not _is_text(part) for part in texts):
        fault = "contains characters that are not text"
    elif key in ("source", "url") and isinstance(value, str):
        fault = _address_fault(value, is_camera=key == "source")
    if fault:
        raise ConfigError(fault, where=name)


def _is_text(text: str) -> bool:
    return len(text) <= 2000 and text.isprintable()


def _address_fault(text: str, *, is_camera: bool) -> str:
    """Return why the page may not set this address; empty if it may."""
    if HIDDEN in text:
        return f"{HIDDEN} stands for a secret: write the whole address"
    if is_camera and is_local_camera(text):
        return ""
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
    except ValueError:
        return "not a valid address"
    if is_camera and (parts.scheme not in _SCHEMES or not host):
        return "the page accepts cameras of this board, and http and rtsp addresses"
    if is_this_board(host):
        return "the page accepts no address of the board itself: change it in the file"
    return ""


def is_this_board(host: str) -> bool:
    """Return whether `host` is written as an address of this machine, or of its link alone.

    Names are not looked up.
    """
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost") or name == socket.gethostname().lower():
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        try:  # 127.1 and 0x7f000001 are addresses, too
            address = ipaddress.ip_address(socket.inet_aton(name))
        except OSError:
            return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback or address.is_link_local or address.is_unspecified


def changed_keys(before: Settings, after: Settings) -> list[str]:
    """Return the dotted names of the keys and tables whose values differ."""

    def flat(settings: Settings) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, part in msgspec.structs.asdict(settings).items():
            tables = part.items() if isinstance(part, dict) else [("", part)]
            for key, table in tables:
                full = f"{name}.{key}" if key else name
                for field, value in msgspec.structs.asdict(table).items() if table else ():
                    found[f"{full}.{field}"] = value
        return found

    old, new = flat(before), flat(after)
    return sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))


def region_changes(
    settings: Settings, camera: str, regions: Mapping[str, tuple[list[float], list[str]]]
) -> dict[str, Any]:
    """Return the changes that give `camera` these regions (area and labels by name) and no others.

    Raises `ConfigError`.
    """
    cameras = settings.all_cameras()
    if camera not in cameras:
        raise ConfigError(
            f"there is no camera {camera!a:.40}", remedy=f"name one of {', '.join(cameras)}"
        )
    own = {name for name, each in settings.regions.items() if each.camera in ("", camera)}
    changes: dict[str, Any] = {f"regions.{name}": None for name in own - regions.keys()}
    for name, (area, labels) in regions.items():
        if name in settings.regions and name not in own:
            raise ConfigError("another camera has a region with this name", where=f"regions.{name}")
        table = f"regions.{name}"
        if len(cameras) > 1 or (name in own and settings.regions[name].camera):
            changes[f"{table}.camera"] = camera
        changes[f"{table}.area"] = _rounded(area)
        changes[f"{table}.labels"] = labels or None
    return changes


def _rounded(area: list[float]) -> list[float]:
    """Return `area` with four digits, within the picture; other lists as they are."""
    if len(area) != 4:
        return area
    left, top, width, height = (round(float(part), 4) for part in area)
    if 1 < left + width < 1.0005:
        width = round(1 - left, 4)
    if 1 < top + height < 1.0005:
        height = round(1 - top, 4)
    return [left, top, width, height]
