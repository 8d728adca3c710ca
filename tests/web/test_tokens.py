"""Tokens, their roles and their revocation, and TLS; with the real daemon."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import ssl
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime.errors import ConfigError
from edge_runtime.settings import parse_settings
from edge_runtime.settings.schema import HttpSettings
from edge_runtime.settings.secrets import check_private, read_secret, read_token
from edge_runtime.web.access import Access, Tokens, read_tokens
from edge_runtime.web.clients import Rate, client_of
from edge_runtime.web.endpoint import Role
from edge_runtime.web.tls import open_tls
from tests.support.processes import ROOT, patience, run_cli
from tests.support.service import CONFIG
from tests.support.web import READER, TOKEN, Client, start, write_secret

TLS = ROOT / "tests/data/tls"
READABLE = ("/metrics", "/api/status", "/api/events", "/openapi.json", "/live.mjpg", "/api/stream")
NEW = "another-token-of-the-owner"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("closed")


@pytest.fixture(scope="module")
def closed(folder: Path, film: Path) -> Iterator[Client]:
    """Start a daemon that other machines can reach, with a token for each role."""
    write_secret(folder / "token", TOKEN)
    write_secret(folder / "reader", READER)
    http = 'host = "0.0.0.0"\nport = 0\ntoken_file = "token"\nreader_token_file = "reader"\n'
    process = start(folder, film, http=http)
    client = Client(process)
    client.until_ready()
    yield client
    assert process.end() < 2 * patience()
    log = "".join(process.log_lines)
    assert "Traceback" not in log
    assert not any(secret in log for secret in (TOKEN, READER, NEW))


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _session(client: Client, token: str) -> str:
    answer = client.ask("POST", "/api/session", json.dumps({"token": token}).encode())
    assert answer.status == 200, answer.body
    return str(answer.headers["Set-Cookie"]).split(";")[0]


def test_a_reader_may_only_look(closed: Client) -> None:
    for path in READABLE:
        assert closed.status_of(path, token=READER) == 200, path
        assert closed.status_of(path) == 401, path
    for method, path in (
        ("GET", "/api/labels"),
        ("GET", "/api/labels/x/photo"),
        ("GET", "/api/advice"),
        ("POST", "/api/query"),
        ("POST", "/api/labels/x"),
        ("POST", "/api/labels/x/frame"),
        ("DELETE", "/api/labels/x"),
        ("POST", "/metrics"),
        ("GET", "/nowhere"),
    ):
        answer = closed.ask(method, path, **_bearer(READER))
        assert answer.status == 403, path
        assert answer.json()["error"] == "this token permits only to look"
    answer = closed.ask("POST", "/api/session", json.dumps({"token": READER}).encode())
    assert answer.json() == {"session": "open", "role": "reader"}
    cookie = {"Cookie": answer.headers["Set-Cookie"].split(";")[0]}
    assert closed.ask("GET", "/metrics", **cookie).status == 200
    assert closed.ask("GET", "/api/labels", **cookie).status == 403
    assert closed.ask("GET", "/healthz", **cookie).json()["cameras"] == {"camera": "running"}
    assert closed.ask("GET", "/api/labels", **_bearer(TOKEN)).status == 200


def test_a_reader_changes_nothing_whatever_endpoint_it_calls(closed: Client) -> None:
    paths = closed.ask("GET", "/openapi.json", **_bearer(READER)).json()["paths"]
    changing = [
        (method.upper(), path)
        for path, methods in paths.items()
        for method in methods
        if method in ("post", "put", "patch", "delete")
    ]
    assert len(changing) > 10
    for method, path in changing:
        address = re.sub(r"\{[^}]*\}", "1", path)
        # Whoever sends a token opens a session; what the reader's permits is tested above.
        expected = 422 if path == "/api/session" else 403
        assert closed.ask(method, address, b"{}", **_bearer(READER)).status == expected, path
        nobody = closed.ask(method, address, b"{}", source="127.0.9.1").status
        assert nobody == (422 if path == "/api/session" else 401), path


def test_after_wrong_tokens_a_right_one_is_not_tried(closed: Client) -> None:
    session = {"Cookie": _session(closed, TOKEN)}
    guesser = "127.0.7.7"
    answers = [closed.status_of("/metrics", token=f"{TOKEN}{n}", source=guesser) for n in range(12)]
    assert answers[0] == 401
    assert answers[-1] == 429
    for token in (TOKEN, READER):
        assert closed.status_of("/metrics", token=token, source=guesser) == 429
    assert closed.status_of("/healthz", token="guess", source=guesser) == 200
    # Other clients, and those that are logged in, are not affected.
    assert closed.status_of("/metrics", token=TOKEN, source="127.0.7.8") == 200
    assert closed.ask("GET", "/metrics", **session).status == 200
    for body in (b'{"token": "guess"}', b'{"token": "\\ud800"}'):
        assert closed.ask("POST", "/api/session", body).status == 401


def test_a_changed_token_revokes_at_once(closed: Client, folder: Path) -> None:
    owner, reader = ({"Cookie": _session(closed, token)} for token in (TOKEN, READER))
    with closed.connect() as stream:
        head = f"GET /api/stream HTTP/1.1\r\nHost: localhost\r\nCookie: {owner['Cookie']}"
        stream.sendall(f"{head}\r\n\r\n".encode())
        assert stream.recv(65536).startswith(b"HTTP/1.1 200")
        write_secret(folder / "token", NEW)
        closed.process.child.send_signal(signal.SIGHUP)
        closed.process.until_logged("http: the token changed: ")
        try:
            while stream.recv(65536):
                pass
        except ConnectionResetError:
            pass  # the stream has ended, too
    assert closed.ask("GET", "/metrics", **_bearer(TOKEN)).status == 401
    assert closed.ask("GET", "/metrics", **owner).status == 401
    assert closed.ask("GET", "/metrics", **_bearer(NEW)).status == 200
    assert closed.ask("GET", "/metrics", **reader).status == 200  # its token is the same
    said = next(line for line in closed.process.log_lines if "the token changed" in line)
    assert "sessions and" in said
    assert not any("needs a restart" in line for line in closed.process.log_lines)


def _not_reloaded(client: Client) -> int:
    return sum("not reloaded" in line for line in list(client.process.log_lines))


def test_a_bad_token_file_changes_nothing(closed: Client, folder: Path) -> None:
    before = (folder / "reader").read_text()
    for text in ("short", NEW, ""):
        write_secret(folder / "reader", text)
        errors = _not_reloaded(closed)
        closed.process.child.send_signal(signal.SIGHUP)
        closed.process.until(lambda errors=errors: _not_reloaded(closed) > errors)  # type: ignore[misc]
        assert closed.ask("GET", "/metrics", **_bearer(READER)).status == 200
    (folder / "reader").write_text(before)


@pytest.mark.parametrize("text", ["x" * 15, "x" * 15 + " ", "schlüssel-schlüssel", "a\tb" * 8])
def test_weak_tokens_are_refused(tmp_path: Path, text: str) -> None:
    write_secret(tmp_path / "token", text)
    with pytest.raises(ConfigError):
        read_token(str(tmp_path / "token"))


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o660, 0o602, 0o620, 0o666])
def test_secrets_that_others_can_read_are_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "token"
    write_secret(path, TOKEN)
    path.chmod(mode)
    with pytest.raises(ConfigError, match="other users can read or change"):
        read_token(str(path))
    for good in (0o600, 0o400, 0o440, 0o640):
        path.chmod(good)
        check_private(str(path))
        assert read_token(str(path)) == TOKEN


def test_a_secret_is_a_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    for name in ("fifo", "."):
        with pytest.raises(ConfigError):
            read_secret(str(tmp_path / name))


@pytest.mark.parametrize(
    ("http", "what"),
    [
        ('reader_token_file = "token"', "a read-only token needs a full one"),
        ('key_file = "key"', "a certificate and its key are needed"),
        ('certificate_file = "pem"', "set key_file"),
    ],
)
def test_incomplete_settings_are_refused(http: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        parse_settings(f"[http]\n{http}\n")


def test_the_daemon_does_not_start_with_a_weak_token(tmp_path: Path, film: Path) -> None:
    write_secret(tmp_path / "token", "too-short")
    config = tmp_path / "edge.toml"
    config.write_text(f"{CONFIG.format(film=film)}\n[http]\nport = 0\ntoken_file = 'token'\n")
    done = run_cli("run", "--config", config)
    assert done.returncode == 3, done.stderr
    assert "the token has 9 characters, at least 16 are required" in done.stderr


def test_two_roles_need_two_tokens(tmp_path: Path) -> None:
    for name in ("token", "reader"):
        write_secret(tmp_path / name, TOKEN)
    paths = (str(tmp_path / "token"), str(tmp_path / "reader"))
    with pytest.raises(ConfigError, match="both files contain the same token"):
        read_tokens(HttpSettings(token_file=paths[0], reader_token_file=paths[1]))


def test_roles_of_tokens_and_sessions() -> None:
    access = Access(Tokens(TOKEN, READER))
    assert [access.role_of_token(text) for text in (TOKEN, READER, "", TOKEN + "x", "\ud800")] == [
        Role.OWNER,
        Role.READER,
        Role.NOBODY,
        Role.NOBODY,
        Role.NOBODY,
    ]
    assert Access(Tokens(TOKEN)).role_of_token("") is Role.NOBODY
    names = [
        access.open_session(Role.OWNER, TOKEN),
        access.open_session(Role.READER, READER),
    ]
    assert access.replace(Tokens(TOKEN, READER)) is None
    assert access.replace(Tokens(TOKEN, "")) == ("the read-only token", 1)
    assert [access.role_of_session(name) for name in names] == [Role.OWNER, Role.NOBODY]
    assert access.replace(Tokens(NEW, READER)) == ("the token and the read-only token", 0)
    assert [access.role_of_session(name) for name in names] == [Role.NOBODY, Role.READER]


def test_one_machine_is_one_client() -> None:
    assert client_of("192.0.2.7") == client_of("::ffff:192.0.2.7") == "192.0.2.7"
    assert client_of("2001:db8::1") == client_of("2001:db8::ffff:1") != client_of("2001:db8:1::1")
    assert client_of("fe80::1%eth0") == client_of("fe80::2")
    assert client_of("::1") == "::1"
    rate = Rate(2)
    assert not rate.is_used_up("a")
    assert rate.allow("a")
    assert rate.is_used_up("a")
    assert not rate.is_used_up("b")


# -- TLS ------------------------------------------------------------------------------------------


def _install(name: str, folder: Path) -> ssl.SSLContext:
    """Install a certificate, and return a context that trusts only it."""
    folder.mkdir(exist_ok=True)
    shutil.copy(TLS / f"{name}.pem", folder / "certificate.pem")
    shutil.copy(TLS / f"{name}.key", folder / "key.pem")
    (folder / "key.pem").chmod(0o600)
    return ssl.create_default_context(cafile=str(TLS / f"{name}.pem"))


def test_https_with_the_owners_certificate(tmp_path: Path, film: Path) -> None:
    one = _install("one", tmp_path)
    write_secret(tmp_path / "token", TOKEN)
    files = 'token_file = "token"\ncertificate_file = "certificate.pem"\nkey_file = "key.pem"'
    process = start(tmp_path, film, http=f"port = 0\n{files}")
    client = Client(process, one)
    assert client.url.startswith("https://")
    client.until_ready()
    answer = client.ask("POST", "/api/session", json.dumps({"token": TOKEN}).encode())
    assert "Secure" in answer.headers["Set-Cookie"]
    body = {"Origin": client.url, **_bearer(TOKEN)}
    assert client.ask("POST", "/api/labels/x/frame", **body).status == 201
    # Connections that never finish the handshake do not close the page.
    lines = [client.connect() for _ in range(100)]
    assert client.ask("GET", "/healthz").status == 200
    assert b"HTTP" not in client.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    for line in lines:
        line.close()
    two = _install("two", tmp_path)  # a renewed certificate
    process.child.send_signal(signal.SIGHUP)
    process.until_logged("reloaded: ")
    client.context = two
    assert client.ask("GET", "/healthz").status == 200
    client.context = one
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        client.ask("GET", "/healthz")
    (tmp_path / "key.pem").write_bytes((TLS / "one.key").read_bytes())  # of another certificate
    process.child.send_signal(signal.SIGHUP)
    process.until_logged("does not belong to this certificate")
    client.context = two
    assert client.ask("GET", "/healthz").status == 200
    assert process.end() < 2 * patience()
    assert "Traceback" not in "".join(process.log_lines)


def test_certificates_that_cannot_be_used(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    settings = HttpSettings(certificate_file=str(certificate), key_file=str(key))
    _install("one", tmp_path)
    assert open_tls(settings) is not None
    assert open_tls(HttpSettings()) is None
    key.chmod(0o644)
    with pytest.raises(ConfigError, match="other users can read"):
        open_tls(settings)
    key.chmod(0o600)
    certificate.write_text("nothing")
    with pytest.raises(ConfigError, match="not a certificate with its key"):
        open_tls(settings)
    certificate.unlink()
    with pytest.raises(ConfigError, match="no such file"):
        open_tls(settings)
    os.mkfifo(certificate)
    with pytest.raises(ConfigError, match="a FIFO, not a regular file"):
        open_tls(settings)
    key.write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    _install("one", other := tmp_path / "other")
    shutil.copy(other / "certificate.pem", certificate.with_name("good.pem"))
    with pytest.raises(ConfigError, match="the key has a password"):
        open_tls(HttpSettings(certificate_file=str(tmp_path / "good.pem"), key_file=str(key)))
