"""What the page may change: nothing that runs programs, reads files or sends secrets elsewhere."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge_runtime.errors import ConfigError, ConfigLockedError
from edge_runtime.settings import parse_settings
from edge_runtime.settings.describe import tables
from edge_runtime.settings.editable import (
    ALLOWED,
    checked,
    described,
    is_local_camera,
    is_this_board,
    region_changes,
)

NOTHING = frozenset[str]()
SECRETS = """
[camera]
source = "rtsp://user@host/stream"
password_file = "p"
[mqtt]
host = "broker"
username = "me"
password_file = "p"
[webhook]
url = "https://example.com/hook/s3cret-part"
token_file = "t"
"""


def _check(changes: dict[str, Any], text: str = "") -> Any:
    return checked(changes, parse_settings(text), NOTHING)


def test_every_allowed_key_exists_and_none_is_dangerous() -> None:
    known = {table.name: {key.name for key in table.keys} for table in tables()}
    for table, keys in ALLOWED.items():
        assert set(keys) <= known[table]
        assert table not in ("model", "gallery", "exec", "http", "log", "output")
        for key in keys:
            assert not key.endswith(("file", "path", "command", "token", "password")), key


@pytest.mark.parametrize(
    "name",
    [
        *("exec.command", "exec.timeout_s", "model.path", "gallery.path", "http.host"),
        *("http.token_file", "mqtt.password_file", "mqtt.ca_file", "webhook.token_file"),
        *("camera.password_file", "cameras.a.password_file", "camera.wait", "log.level"),
        *("decision", "decision.window.x", "decision.", ".window", "", "cameras..fps", "\x1b[2J"),
        *("regions.a.b.area", "cameras.a b.fps", "cameras.é.fps", "__class__.x"),
    ],
)
def test_every_other_key_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(ConfigLockedError) as error:
        _check({name: 1})
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("mqtt.host", "evil"), ("mqtt.port", 1), ("mqtt.username", "x"), ("mqtt.tls", False)),
        *(("webhook.url", "https://evil.example/"), ("camera.source", "rtsp://user@evil/")),
    ],
)
def test_a_secret_is_sent_nowhere_else(key: str, value: Any) -> None:
    with pytest.raises(ConfigLockedError, match="would be sent"):
        _check({key: value}, SECRETS)


def test_a_camera_with_a_password_file_among_several() -> None:
    text = '[cameras.a]\nsource = "rtsp://user@host/"\npassword_file = "p"\n'
    with pytest.raises(ConfigLockedError, match="would be sent"):
        _check({"cameras.a.source": "rtsp://user@evil/"}, text)
    assert _check({"cameras.a.fps": 2, "cameras.b.source": "0"}, text)


@pytest.mark.parametrize(
    "source",
    [
        *("/etc/passwd", "/dev/watchdog", "/dev/v4l/by-id/../../watchdog", "photos", "file:///etc"),
        *("concat:a|b", "tcp://host:1", "ftp://host/", "data:image/png;base64,", "http://"),
        *("http://localhost/", "http://127.1/", "http://[::1]:80/", "rtsp://0.0.0.0/"),
        *("http://169.254.169.254/latest", "http://2130706433/", "http://0x7f.1/", "a\nb", "***"),
        *("http://user@127.0.0.1:8080/", "http://[::ffff:127.0.0.1]/", "http://[", "-1", ""),
    ],
)
def test_sources_that_the_page_may_not_set(source: str) -> None:
    with pytest.raises(ConfigError) as error:
        _check({"camera.source": source})
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    "source",
    [
        *("0", "/dev/video12", "/dev/v4l/by-id/usb-046d_C270-video-index0", "rpicam", "rpicam:1"),
        *("http://192.168.1.9/video", "rtsp://user:pass@camera.local:554/stream1"),
    ],
)
def test_sources_that_the_page_may_set(source: str) -> None:
    assert _check({"camera.source": source}) == {("camera", "source"): source}


def test_webhooks_to_the_board_itself_are_left_to_the_file() -> None:
    with pytest.raises(ConfigError, match="board itself"):
        _check({"webhook.url": "http://127.0.0.1:8123/api"})
    assert _check({"webhook.url": "http://192.168.1.2:8123/api"})
    assert not is_this_board("192.168.1.2") and is_this_board("fe80::1%eth0")
    assert is_local_camera("0") and not is_local_camera("http://host/")


@pytest.mark.parametrize(
    "value", [{}, {"a": 1}, [[1]], float("nan"), float("inf"), "a\0b", "\ud800", "x" * 3000]
)
def test_values_that_no_file_holds(value: Any) -> None:
    with pytest.raises(ConfigError):
        _check({"decision.window": value})


def test_null_restores_a_default_or_turns_a_feature_off() -> None:
    text = '[mqtt]\nhost = "a"\n[regions.door]\n'
    assert _check({"decision.window": None}) == {("decision", "window"): None}
    assert _check({"mqtt.host": None, "regions.door": None}, text) == {
        ("mqtt",): None,
        ("regions", "door"): None,
    }
    assert _check({"mqtt": None}) == {("mqtt",): None}
    with pytest.raises(ConfigLockedError):
        _check({"exec": None, "decision": None})
    with pytest.raises(ConfigError, match="no such table"):
        _check({"regions.window": None}, text)


def test_keys_given_on_the_command_line_are_locked() -> None:
    settings = parse_settings("")
    with pytest.raises(ConfigLockedError, match="command line"):
        checked({"decision.window": 3}, settings, frozenset({"decision.window"}))
    running = parse_settings("[decision]\nwindow = 9\n")
    shown = {t["name"]: t for t in described(settings, running, frozenset({"decision.window"}))}
    key = next(key for key in shown["decision"]["keys"] if key["name"] == "window")
    assert key["value"] == 9 and key["lock"]


def test_no_secret_is_shown() -> None:
    settings = parse_settings(
        SECRETS.replace("user@host", "user:hunter2@host").replace(
            '/stream"\npassword_file = "p"', '/stream"'
        )
    )
    text = json.dumps(list(described(settings, settings, NOTHING)))
    for secret in ("hunter2", "s3cret", "password_file", "token_file"):
        assert f'"{secret}"' not in text and "hunter2" not in text and "s3cret-part" not in text


def test_regions_of_one_camera_are_replaced() -> None:
    text = '[cameras.a]\n[cameras.b]\nsource = "1"\n[regions.x]\ncamera = "a"\n'
    text += '[regions.y]\ncamera = "b"\n'
    settings = parse_settings(text)
    changes = region_changes(settings, "a", {"z": ([0.7, 0.2, 0.3000001, 0.5], ["cat"])})
    assert changes == {
        "regions.x": None,
        "regions.z.camera": "a",
        "regions.z.area": [0.7, 0.2, 0.3, 0.5],
        "regions.z.labels": ["cat"],
    }
    with pytest.raises(ConfigError, match="another camera"):
        region_changes(settings, "a", {"y": ([0, 0, 1, 1], [])})
    with pytest.raises(ConfigError, match="no camera"):
        region_changes(settings, "attic", {})
