"""Read the configuration; every error names the file, the line and the key."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from msgspec import structs

from edge_runtime.errors import ConfigError, storage_error
from edge_runtime.settings.camera import CameraSettings
from edge_runtime.settings.schema import HttpSettings, Settings
from edge_runtime.settings.sinks import speech_contradictions, webhook_contradictions
from edge_runtime.settings.table import Table
from edge_runtime.system.files import open_regular

MAX_BYTES = 1 << 16
MOST_PARTS = 8
"""Parts of a key, such as 2 in camera.fps. tomllib takes minutes for a key of 50,000 parts."""
LITERAL = re.compile(
    r'"""(?:\\.|[^\\])*?"""|' r"'''.*?'''|" r'"(?:\\.|[^"\\\n])*"|' r"'[^'\n]*'|#[^\n]*", re.DOTALL
)
"""Texts and comments, which may contain any number of dots."""
_LONG_KEY = re.compile(r'(?:\.[ \t]*(?:[A-Za-z0-9_-]+|"")[ \t]*){' f"{MOST_PARTS}}}")
_LONG_NUMBER = re.compile(r"\d[\d_]{4299}")
"""More digits than Python reads."""
_TABLE = re.compile(r"\s*\[\s*([A-Za-z0-9_.-]+)\s*\]")
_KEY = re.compile(r"\s*([A-Za-z0-9_.-]+)\s*=")
_PLACE = re.compile(r"^(.*) - at `\$\.?(.*?)`$")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")
_MISSING = re.compile(r"Object missing required field `(.*)`")
_PATHS = (
    ("model", "path"),
    ("gallery", "path"),
    ("history", "path"),
    ("mqtt", "password_file"),
    ("mqtt", "ca_file"),
    ("webhook", "token_file"),
    ("http", "token_file"),
    ("http", "reader_token_file"),
    ("http", "certificate_file"),
    ("http", "key_file"),
    ("server", "token_file"),
)


def read_settings(path: Path) -> Settings:
    """Read the configuration file `path`; raises `ConfigError`.

    Relative paths in it are relative to its folder.
    """
    try:
        with open_regular(path) as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ConfigError(f"larger than {MAX_BYTES >> 10} KiB: not a configuration", where=path)
        text = data.decode("utf-8-sig")  # some editors write a byte order mark
    except OSError as error:
        fault = storage_error(error, path)
        raise ConfigError(
            fault.what if fault else str(error),
            where=path,
            remedy="create one with: edge-runtime config example",
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError("not UTF-8 text", where=path, remedy="save it as UTF-8") from error
    return _with_absolute_paths(parse_settings(text, where=path), path.absolute().parent)


def parse_settings(text: str, *, where: object = "configuration") -> Settings:
    """Parse the configuration in the TOML `text`.

    Raises `ConfigError` with a location that begins with `where`.
    """
    bare = LITERAL.sub(_blank, text)
    if long := _LONG_KEY.search(bare):
        line = bare.count("\n", 0, long.start()) + 1
        raise ConfigError(
            f"a key has more than {MOST_PARTS} parts", where=f"{where}:{line}", remedy=_LIST
        )
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of 5,000 digits
        what, _, place = str(error).partition(" (at ")
        what = _printable(what)
        if digits := _LONG_NUMBER.search(text):
            what, place = (
                "a number is too long",
                f"line {text.count(chr(10), 0, digits.start()) + 1}",
            )
        number = re.match(r"line (\d+)", place)
        line = int(number[1]) if number else text.count("\n", 0, len(text.rstrip())) + 1
        raise ConfigError(
            f"not valid TOML: {what}", where=f"{where}:{line}", remedy="see toml.io"
        ) from error
    try:
        settings = msgspec.convert(tables, Settings)
    except (msgspec.ValidationError, OverflowError, RecursionError) as error:
        raise _explained(str(error), text, where) from error
    for key, what, remedy in _contradictions(settings):
        raise ConfigError(f"{key}: {what}", where=_at(text, key, where), remedy=remedy)
    return settings


def _blank(literal: re.Match[str]) -> str:
    """Return what replaces a text: an empty one with the same lines; nothing for a comment."""
    return "" if literal[0][0] == "#" else '""' + "\n" * literal[0].count("\n")


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text)[:200]


def _explained(message: str, text: str, where: object) -> ConfigError:
    match = _PLACE.match(message)
    what, key = (match[1], match[2]) if match else (message, "")
    remedy = _LIST
    if unknown := _UNKNOWN.match(what):
        if meant := _nearest(key, unknown[1]):
            remedy = f"did you mean {meant}? {_LIST}"
        key, what = ".".join(filter(None, (key, unknown[1]))), "unknown key"
    elif missing := _MISSING.match(what):
        at = _at(text, key, where)
        return ConfigError(
            f"{key}.{missing[1]}: this key is required in [{key}]", where=at, remedy=_LIST
        )
    what = what.replace("`object`", "a table").replace("Expected", "expected")
    what = _printable(f"{key}: {what}" if key else what)
    return ConfigError(what, where=_at(text, key, where), remedy=remedy)


def _nearest(table: str, name: str) -> str:
    """Return the key of `table` whose name is most like `name`, or "" if none is like it."""
    from difflib import get_close_matches

    from edge_runtime.settings.describe import tables

    known = {each.name.removesuffix(".NAME"): [key.name for key in each.keys] for each in tables()}
    names = known.get(re.split(r"\W", table)[0], []) if table else list(known)
    return next(iter(get_close_matches(name[:100], names, 1, 0.7)), "")


_LIST = "docs/CONFIGURATION.md lists all keys"


def _at(text: str, key: str, where: object) -> str:
    """Return `where` with the line that sets `key`, or else the line that opens its table.

    `key` is dotted and may end in [n].
    """
    wanted = re.sub(r"\[.*", "", key)
    best, line_of_best = -1, 0
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if opened := _TABLE.match(line):
            table = name = opened[1]
        elif assigned := _KEY.match(line):
            name = f"{table}.{assigned[1]}" if table else assigned[1]
        else:
            continue
        if (wanted == name or wanted.startswith(name + ".")) and len(name) > best:
            best, line_of_best = len(name), number
    return f"{where}:{line_of_best}" if line_of_best else str(where)


def _contradictions(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Yield key, error and remedy for rules that involve more than a key's type and range."""
    yield from _invalid_texts(settings)
    for table, camera in _camera_tables(settings):
        yield from _camera_contradictions(table, camera)
    yield from _region_contradictions(settings)
    if settings.mqtt and settings.mqtt.password_file and not settings.mqtt.username:
        yield "mqtt.password_file", "a password needs a username", "set username"
    if settings.webhook and (fault := _address_fault(settings.webhook.url)):
        yield "webhook.url", *fault
    if settings.server and (fault := _address_fault(settings.server.url)):
        yield "server.url", *fault
    if settings.webhook:
        yield from webhook_contradictions(settings.webhook)
    if settings.speech:
        yield from speech_contradictions(settings.speech)
    if settings.http:
        yield from http_contradictions(settings.http)


def http_contradictions(http: HttpSettings) -> Iterator[tuple[str, str, str]]:
    """Yield key, error and remedy for keys of [http] that do not fit together."""
    if http.reader_token_file and not http.token_file:
        yield "http.reader_token_file", "a read-only token needs a full one", "set token_file"
    if bool(http.certificate_file) != bool(http.key_file):
        given, missing = ("certificate_file", "key_file")[:: 1 if http.certificate_file else -1]
        yield f"http.{given}", "a certificate and its key are needed", f"set {missing}"
    if not is_this_machine(http.host) and not http.token_file:
        yield (
            "http.host",
            f"other machines can reach {http.host}, so a token is required",
            "set token_file, or listen on 127.0.0.1",
        )


def _camera_tables(settings: Settings) -> Iterator[tuple[str, CameraSettings]]:
    """Yield all tables of cameras by name."""
    yield "camera", settings.camera
    for name, camera in settings.cameras.items():
        yield f"cameras.{name}", camera


def _camera_contradictions(table: str, camera: CameraSettings) -> Iterator[tuple[str, str, str]]:
    if camera.retry_shortest_s > camera.retry_longest_s:
        yield (
            f"{table}.retry_shortest_s",
            f"{camera.retry_shortest_s:g} is greater than retry_longest_s "
            f"({camera.retry_longest_s:g})",
            "swap them",
        )
    if camera.password_file and not re.match(r"[A-Za-z0-9+.-]+://[^/?#:@]+@", camera.source):
        yield (
            f"{table}.password_file",
            "it needs a URL with a user and without a password",
            "write source as rtsp://USER@HOST/...",
        )


def _region_contradictions(settings: Settings) -> Iterator[tuple[str, str, str]]:
    if settings.cameras and settings.camera != CameraSettings():
        yield "camera", "not used, because there are tables [cameras.NAME]", "remove one of both"
    cameras = settings.all_cameras()
    for name, region in settings.regions.items():
        if not region.camera and len(cameras) > 1:
            yield (
                f"regions.{name}.camera",
                "there are several cameras",
                f"name one of {', '.join(cameras)}",
            )
        elif region.camera and region.camera not in cameras:
            yield (
                f"regions.{name}.camera",
                f"there is no camera {region.camera!a:.40}",
                f"name one of {', '.join(cameras)}",
            )
        left, top, width, height = region.area
        if not width or not height or left + width > 1 or top + height > 1:
            yield (
                f"regions.{name}.area",
                "it does not lie within the picture",
                "give left, top, width and height, each from 0 to 1",
            )


def _invalid_texts(settings: Settings) -> Iterator[tuple[str, str, str]]:
    for table, part in _all_tables(settings):
        for key, value in structs.asdict(part).items():
            if any("\0" in text for text in _texts(value)):
                yield f"{table}.{key}", "contains a NUL character", "remove it"
    for table, part, key in _paths(settings, "source"):
        value = getattr(part, key)
        try:
            Path(value).expanduser()
        except RuntimeError:
            own = value.split("/")[0] == "~"
            who = "this user has no home folder" if own else "no user of that name on this machine"
            yield f"{table}.{key}", who, "give the full path"


def _all_tables(settings: Settings) -> Iterator[tuple[str, Table]]:
    """Yield every table that the file may have, by name."""
    for name, part in structs.asdict(settings).items():
        if isinstance(part, dict):
            yield from ((f"{name}.{key}", value) for key, value in part.items())
        elif part is not None:
            yield name, part


def _texts(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]


def _paths(settings: Settings, *more: str) -> Iterator[tuple[str, Table, str]]:
    """Yield table, its values and key of each path; of cameras, those of the keys `more` too."""
    for table, key in _PATHS:
        if (part := getattr(settings, table)) is not None:
            yield table, part, key
    for table, camera in _camera_tables(settings):
        for key in ("password_file", *more):
            yield table, camera, key


def _address_fault(url: str) -> tuple[str, str] | None:
    """Return why events cannot be sent to `url`, and the remedy; None if they can."""
    try:
        parts = urlsplit(url)
        valid = bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        return "not a valid address", "write http://HOST:PORT/PATH"
    if parts.username is not None:
        return "a user and password in the address are not sent", "set token_file"
    if not url.isascii() or not url.isprintable() or " " in url:
        return "contains characters that are not allowed in an address", "percent-encode them"
    return None


def is_this_machine(host: str) -> bool:
    """Return whether only programs on this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _with_absolute_paths(settings: Settings, folder: Path) -> Settings:
    """Return `settings` with relative paths resolved against `folder`."""
    for table, key in _PATHS:
        part = getattr(settings, table)
        if part is not None and getattr(part, key):
            value = str(folder / Path(getattr(part, key)).expanduser())
            changed = msgspec.structs.replace(part, **{key: value})
            settings = msgspec.structs.replace(settings, **{table: changed})
    cameras = {name: _with_paths_of(each, folder) for name, each in settings.cameras.items()}
    camera = _with_paths_of(settings.camera, folder)
    return msgspec.structs.replace(settings, camera=camera, cameras=cameras)


def _with_paths_of(camera: CameraSettings, folder: Path) -> CameraSettings:
    if camera.password_file:
        file = folder / Path(camera.password_file).expanduser()
        camera = msgspec.structs.replace(camera, password_file=str(file))
    source = folder / Path(camera.source).expanduser()
    if not camera.source.isdecimal() and _exists(source):
        camera = msgspec.structs.replace(camera, source=str(source))
    return camera


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:  # opening it reports the error
        return True
    except OSError:  # not a valid file name
        return False
