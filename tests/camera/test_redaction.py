"""Secrets of addresses never show, whatever form the address has."""

from __future__ import annotations

import string
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edge_runtime.errors import CameraNotFoundError, EdgeRuntimeError
from edge_runtime.redaction import redact, redact_source

SECRETS = st.text(
    st.sampled_from(string.ascii_letters + string.digits + "@:/?#&=%;!$*+,.-_~\\ '\"äß"), min_size=6
).map(lambda text: f"Zq{text}7Kx")
"""No part of an address is like these: a letter follows another case, a digit is in the middle."""
FORMS = (
    "rtsp://admin:{}@cam.local:554/stream1",
    "rtsp://{}:pw@cam.local/stream1",
    "rtsp://{}@cam.local/stream1",
    "RTSP://admin:{}@[fe80::1]:554/stream1?channel=1",
    "http://admin:pa@{}@10.0.0.7/video",
    "http://10.0.0.7/video?user=admin&pwd={}",
    "http://10.0.0.7/video?{}",
    "http://10.0.0.7/video?channel=1&sess={}&subtype=0",
    "http://10.0.0.7/video#{}",
    "http://10.0.0.7/video;jsessionid={}/live",
    "rtsp://10.0.0.7:554/user=admin&password={}&channel=1&stream=0.sdp?real_stream",
    "rtsps://10.0.0.7:7441/{}?enableSrtp",
    "http://10.0.0.7/live/{}/main.m3u8",
    "rtmp://10.0.0.7/app/{}",
    "srt://10.0.0.7:9000?passphrase={}&mode=caller",
    "admin:{}@cam.local:554/stream1",
    "rtsp:/admin:{}@cam.local/stream1",
    "rtsp:admin:{}@cam.local/stream1",
)


def _parts(secret: str) -> list[str]:
    """Return what must not show: the secret, its encodings, and its longer parts."""
    parts = [part for part in secret.replace("@", " ").replace("/", " ").split() if len(part) > 5]
    return [secret, quote(secret, safe=""), quote(secret, safe="").lower(), *parts]


@given(st.sampled_from(FORMS), SECRETS, st.booleans())
def test_no_form_shows_a_secret(form: str, secret: str, encoded: bool) -> None:
    address = form.format(quote(secret, safe="") if encoded else secret)
    name = redact_source(address)
    for part in _parts(secret):
        assert part not in name
        assert "admin" not in name
    assert redact_source(name) == name
    assert redact(name) == name


@given(st.sampled_from(FORMS), st.text(string.ascii_letters + string.digits + "@:%!", min_size=8))
def test_no_message_shows_a_secret(form: str, text: str) -> None:
    """In a message nobody knows where an address ends, so the secrets have no spaces here."""
    secret = f"Zq{text}7Kx"
    for encoded in (secret, quote(secret, safe="")):
        message = f"camera {form.format(encoded)}: no readable video (check the network)"
        shown = redact(message)
        for part in _parts(secret):
            assert part not in shown
        assert redact(shown) == shown
        error = EdgeRuntimeError(message, where=form.format(encoded), remedy=message)
        assert secret not in str(error)


@given(st.text(max_size=80))
def test_redacting_twice_changes_nothing(text: str) -> None:
    assume("\\" not in text)
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("rtsp://user:secret@camera/stream", "rtsp://camera/stream"),
        ("rtsp://10.0.0.7:554/Streaming/Channels/101", "rtsp://10.0.0.7:554/Streaming/Channels/101"),
        ("rtsp://c/h264Preview_01_main", "rtsp://c/h264Preview_01_main"),
        ("http://c/axis-cgi/mjpg/video.cgi?fps=10", "http://c/axis-cgi/mjpg/video.cgi?fps=10"),
        ("http://c/cam/realmonitor?channel=1&subtype=0", "http://c/cam/realmonitor?channel=1&subtype=0"),
        ("http://c/video?user=a&pwd=b&channel=2", "http://c/video?***&***&channel=2"),
        ("http://[::1]:8080/video.mjpg", "http://[::1]:8080/video.mjpg"),
        ("rtsp://a:pass/word@camera/stream", "rtsp://***"),
        ("http://camera/video#12", "http://camera/video#12"),
        ("/dev/video0", "/dev/video0"),
        ("0", "0"),
        ("film.mp4", "film.mp4"),
    ],
)  # fmt: skip
def test_what_identifies_a_camera_stays(address: str, name: str) -> None:
    assert redact_source(address) == name


@pytest.mark.parametrize(
    "text",
    [
        "the gallery is empty: every result will be unknown",
        "watching rtsp://camera/stream for 3 labels (18 codes), engine portable: no bundle",
        "the page is at http://127.0.0.1:8080/",
        "camera rtsp://c:554/stream: STARTING -> RUNNING after 0.1 s: receiving frames",
        "edge.toml:3: mqtt.password_file: a password needs a username (set username)",
        "join the group video: sudo usermod -aG video $USER, then log in again",
    ],
)
def test_messages_without_secrets_stay(text: str) -> None:
    assert redact(text) == text


def test_parameters_and_headers_outside_of_addresses_are_hidden() -> None:
    assert redact("sent token=abc&ch=1") == "sent token=***&ch=1"
    assert redact("sent Authorization: Bearer abcdefgh.ijk") == "sent Authorization: Bearer ***"
    error = CameraNotFoundError("not found: http://a:bcd@h/video", where="http://a:bcd@h/video")
    assert str(error) == "http://h/video: not found: http://h/video"
    assert error.what == "not found: http://h/video"
