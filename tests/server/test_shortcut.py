"""The shortcut for GET of one code answers as the framework does, whatever is sent."""

from __future__ import annotations

import asyncio
import http.client
import re
import signal
import socket
import ssl
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn import Config
from uvicorn.server import ServerState

from edge_runtime.web.connection import ANSWER_S, Connection
from tests.server.lookup_server import LookupServer, fill_gallery, hex_of, some_codes
from tests.support.processes import ROOT
from tests.support.web import write_secret

CODE = "00" * 8
TOKEN = "0123456789abcdef"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gallery") / "g.sqlite"
    fill_gallery(path, 200)
    return path


def _connect(server: LookupServer) -> socket.socket:
    address = urlsplit(server.url)
    assert address.hostname
    assert address.port
    return socket.create_connection((address.hostname, address.port), 30)


def _read(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Read one answer; an empty one if the connection ends."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    headers = {name.lower(): value for name, value in response.getheaders()}
    headers.pop("date", None)
    return response.status, headers, response.read()


def _ask(server: LookupServer, request: bytes, *, whole: bool) -> tuple[int, dict[str, str], bytes]:
    """Send a request at once, or in two pieces, which the shortcut leaves to the framework."""
    with _connect(server) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if whole:
            connection.sendall(request)
        else:
            connection.sendall(request[:9])
            time.sleep(0.005)
            connection.sendall(request[9:])
        return _read(connection)


def _request(target: str, *lines: str) -> bytes:
    return "\r\n".join([f"GET {target} HTTP/1.1", *lines, "", ""]).encode("latin-1")


HOST = "Host: 127.0.0.1"
TARGETS = (
    *(f"/v1/near/{CODE}", f"/v1/near/{CODE}?k=3", f"/v1/near/{CODE}?k=3&r=20&at=48.0,11.0"),
    *(f"/v1/near/{CODE}?k=0", f"/v1/near/{CODE}?k=3&k=4", f"/v1/near/{CODE}?k=", "/v1/near/00"),
    *(f"/v1/near/{CODE}?k", f"/v1/near/{CODE}?", f"/v1/near/{CODE}?model=abc", "/v1/near/"),
    *(f"/v1/near/{CODE}?at=91,0", f"/v1/near/{CODE}?nothing=1", f"/v1/near/{CODE}?k=%33"),
    *(f"/v1/near/{CODE[:-1]}G", f"/v1/near/{CODE}/", f"/v1/near//{CODE}", f"/v1/near/{CODE}#k=1"),
    *(f"/v1/near/{CODE}?k=1;r=2", f"/v1/near/{CODE}?k=1&&r=2", f"/v1/near/{CODE}?k=1e1"),
)
HEADERS = (
    (HOST,),
    ("Host: evil.example",),
    (HOST, HOST),
    (),
    (HOST, "Connection: close"),
    (HOST, "Connection: keep-alive"),
    (HOST, "Connection: upgrade", "Upgrade: websocket"),
    (HOST, "If-None-Match: *"),
    (HOST, "Content-Length: 0"),
    (HOST, "Content-Length: x"),
    (HOST, "Expect: 100-continue"),
    (HOST, "Origin: http://evil.example", "Sec-Fetch-Site: cross-site"),
    (HOST, " folded: line"),
    (HOST, f"X: {'y' * 15000}"),
    (HOST, "X: \xff"),
    (HOST, "X y: z"),
)


@pytest.mark.parametrize("headers", HEADERS, ids=lambda lines: ", ".join(lines)[:40])
def test_every_kind_of_request_gets_the_answer_of_the_framework(
    server: LookupServer, headers: tuple[str, ...]
) -> None:
    for target in TARGETS:
        request = _request(target, *headers)
        short, usual = (_ask(server, request, whole=whole) for whole in (True, False))
        assert short == usual, request


@settings(max_examples=60, deadline=None)
@given(
    st.text("0123456789abcdefABCDEFg%/", max_size=18),
    st.lists(
        st.tuples(
            st.sampled_from(["k", "r", "at", "within_m", "meters_per_bit", "model", "x"]),
            st.text("0123456789.,-eE+%&=", max_size=6),
        ),
        max_size=3,
    ),
)
def test_any_target_gets_the_answer_of_the_framework(
    server: LookupServer, code: str, parameters: list[tuple[str, str]]
) -> None:
    target = f"/v1/near/{code}?" + "&".join(f"{name}={value}" for name, value in parameters)
    request = _request(target, HOST, "Connection: close")
    short, usual = (_ask(server, request, whole=whole) for whole in (True, False))
    assert short == usual


def test_one_connection_takes_both_ways_in_turn(server: LookupServer, path: Path) -> None:
    """Requests that arrive while another one is answered, and those that are cut anywhere."""
    codes = [hex_of(code) for code in some_codes(path, 12)]
    near = [_request(f"/v1/near/{code}?k=2", HOST) for code in codes]
    content = _request("/v1/content", HOST)
    expected = [_ask(server, request, whole=False) for request in near]
    with _connect(server) as connection:
        for request, answer in zip(near, expected, strict=True):
            connection.sendall(request)
            assert _read(connection) == answer
            connection.sendall(content)
            assert _read(connection)[0] == 200
    with _connect(server) as connection:  # all at once, and then again in pieces of 50 bytes
        stream = b"".join(near)
        connection.sendall(stream)
        text = _read_until(connection, len(near))
        for start in range(0, len(stream), 50):
            connection.sendall(stream[start : start + 50])
        text += _read_until(connection, len(near))
    assert re.findall(rb'"code":"(\w+)"', text) == 2 * [code.encode() for code in codes]


def _read_until(connection: socket.socket, answers: int) -> bytes:
    text = b""
    while text.count(b'"code"') < answers or not text.endswith(b"}"):
        part = connection.recv(1 << 16)
        assert part, text
        text += part
    assert text.count(b"HTTP/1.1 200 OK") == answers
    return text


def test_the_token_is_asked_for_in_every_request(tmp_path: Path, path: Path) -> None:
    token = tmp_path / "token"
    write_secret(token, TOKEN)
    server = LookupServer("--gallery", path, "--token-file", token)
    right = _request(f"/v1/near/{CODE}", HOST, f"Authorization: Bearer {TOKEN}")
    bare = _request(f"/v1/near/{CODE}", HOST)
    with _connect(server) as connection:
        for request, status in ((right, 200), (bare, 401), (right, 200), (bare, 401)):
            connection.sendall(request)
            got, headers, _ = _read(connection)
            assert got == status
            assert ("www-authenticate" in headers) == (status == 401)
    write_secret(token, "another-token-0123")
    server.child.send_signal(signal.SIGHUP)
    end_s = time.monotonic() + 30
    while _ask(server, right, whole=True)[0] != 401 and time.monotonic() < end_s:
        time.sleep(0.1)
    wrong = _request(f"/v1/near/{CODE}", HOST, "Authorization: Bearer wrong-token-0000")
    found = {_ask(server, wrong, whole=True)[0] for _ in range(20)}
    assert found == {401, 429}, "wrong tokens are counted"
    new = _request(f"/v1/near/{CODE}", HOST, "Authorization: Bearer another-token-0123")
    assert _ask(server, new, whole=True)[0] == 429, "and then a right one is not heard either"
    assert server.end() == 0


def test_a_client_that_leaves_disturbs_nobody(server: LookupServer) -> None:
    for _ in range(50):
        with _connect(server) as connection:
            connection.sendall(_request(f"/v1/near/{CODE}?k=100", HOST))
    assert _ask(server, _request(f"/v1/near/{CODE}", HOST), whole=True)[0] == 200
    assert not [line for line in server.log_lines if "Traceback" in line]


def test_over_https(tmp_path: Path, path: Path) -> None:
    tls, key = ROOT / "tests/data/tls", tmp_path / "key"
    write_secret(key, (tls / "one.key").read_text())
    server = LookupServer(
        *("--gallery", path, "--certificate-file", tls / "one.pem", "--key-file", key)
    )
    context = ssl.create_default_context(cafile=str(tls / "one.pem"))
    context.check_hostname = False
    with context.wrap_socket(_connect(server), server_hostname="localhost") as connection:
        for _ in range(3):
            connection.sendall(_request(f"/v1/near/{CODE}", HOST))
            assert _read(connection)[0] == 200
    assert server.end() == 0


class _Silent:
    """A shortcut that has no answer."""

    def begin(self, data: bytes, connection: Connection) -> bool:
        return True

    def late(self, connection: Connection) -> None:
        connection.answer(503, [(b"content-length", b"4")], b"late", close=True)


def test_an_answer_that_does_not_come_is_an_error() -> None:
    async def talk() -> bytes:
        ours, theirs = socket.socketpair()
        config = Config(lambda: None, ws="none", lifespan="off", log_config=None)
        connection = Connection(
            config, ServerState(), "127.0.0.1", theirs, lambda _: None, _Silent()
        )
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(lambda: connection, theirs)
        with ours:
            ours.setblocking(False)
            await loop.sock_sendall(ours, _request("/", HOST))
            while not connection.is_answering:
                await asyncio.sleep(0.01)
            connection.enforce(time.monotonic() + ANSWER_S - 1)
            assert connection.is_answering
            connection.enforce(time.monotonic() + ANSWER_S + 1)
            connection.answer(200, [], b"too late", close=False)
            text = b""
            while part := await loop.sock_recv(ours, 1 << 16):
                text += part
        return text

    answer = asyncio.run(talk())
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert answer.endswith(b"connection: close\r\n\r\nlate")
