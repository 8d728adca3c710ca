"""Clients that are slow, silent, many, or that send something ambiguous; over real sockets."""

from __future__ import annotations

import asyncio
import re
import resource
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import uvicorn
from uvicorn.server import ServerState

from edge_runtime.image import Image
from edge_runtime.web.acceptor import CONNECTIONS, CONNECTIONS_PER_CLIENT, Acceptor
from edge_runtime.web.connection import Connection
from tests.support.processes import ROOT, patience
from tests.support.service import CONFIG, Process
from tests.support.web import Client, encoded, start

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
UPLOAD = (
    b"POST /api/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
    b"Content-Length: 100000\r\n\r\n\xff\xd8\xff\xe0"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, film: Path) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("site")
    process = start(folder, film, http="port = 0\nrequests_per_minute = 100000")
    client = Client(process)
    client.until_ready()
    yield client
    threads = client.ask("GET", "/api/status").json()["threads"]
    assert {"http", "thermal", "sink-json", "capture-camera"} <= set(threads)
    assert all(state["alive"] and not state["restarts"] for state in threads.values()), threads
    assert process.end() < 2 * patience()
    log = "".join(process.log_lines)
    assert "Traceback" not in log
    assert not [line for line in log.splitlines() if not line.isprintable()]


def _is_served(site: Client, source: str = "") -> None:
    for path in ("/healthz", "/", "/api/status", "/metrics"):
        assert site.status_of(path, source=source) == 200, path


def test_slow_uploads_delay_no_query(site: Client, cat: Image) -> None:
    with ExitStack() as open_lines:
        # The first test of this daemon: no connection of another one must give way to these.
        slow = [open_lines.enter_context(site.connect()) for _ in range(8)]
        for line in slow:
            line.sendall(UPLOAD)
        for _ in range(3):
            answer = site.ask("POST", "/api/query", encoded(cat), Content_Type="image/jpeg")
            assert answer.status == 200
        for line in slow:  # they are still being received
            line.setblocking(False)
            with pytest.raises(BlockingIOError):
                line.recv(1)


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET / HT", HEALTH[:-2] + b"X: 1", UPLOAD, b"\x16\x03\x01"],
    ids=["nothing", "a line", "a header", "a body", "TLS"],
)
def test_silent_connections_do_not_close_the_page(site: Client, sent: bytes) -> None:
    with ExitStack() as open_lines:
        for _ in range(3 * CONNECTIONS_PER_CLIENT):
            line = open_lines.enter_context(site.connect())
            with suppress(OSError):  # it may have given way already
                line.sendall(sent)
        _is_served(site)
        _is_served(site, "127.0.0.2")


def test_dripping_connections_do_not_close_the_page(site: Client) -> None:
    with ExitStack() as open_lines:
        lines = [open_lines.enter_context(site.connect()) for _ in range(60)]
        for byte in b"GET /healthz":
            for line in lines:
                with suppress(OSError):
                    line.sendall(bytes([byte]))
            assert site.status_of("/healthz") == 200
        _is_served(site)


def test_many_clients_do_not_close_the_page_to_others(site: Client) -> None:
    with ExitStack() as open_lines:
        for number in range(160):
            line = open_lines.enter_context(site.connect(f"127.0.1.{number % 40 + 1}"))
            with suppress(OSError):
                line.sendall(b"GET / HTTP/1.1\r\n")
        _is_served(site, "127.0.0.2")
        # One client's connections give way to its own, not to those of others.
        kept = open_lines.enter_context(site.connect("127.0.0.3"))
        for _ in range(2 * CONNECTIONS_PER_CLIENT):
            open_lines.enter_context(site.connect("127.0.0.4"))
        kept.sendall(HEALTH)
        assert kept.recv(100).startswith(b"HTTP/1.1 200")


def test_health_is_answered_while_the_gallery_is_busy(site: Client) -> None:
    busy = b"GET /api/advice HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with ExitStack() as open_lines:
        lines = [open_lines.enter_context(site.connect()) for _ in range(60)]
        for line in lines:
            with suppress(OSError):
                line.sendall(busy)
        _is_served(site)


AMBIGUOUS = {
    "length and chunks": b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "two equal lengths": b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "two lengths": b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "a list of lengths": b"Content-Length: 2, 2\r\n\r\n{}",
    "a signed length": b"Content-Length: +2\r\n\r\n{}",
    "a long length": b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
    "two codings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "another coding": b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "another host": b"Host: localhost\r\nContent-Length: 2\r\n\r\n{}",
    "a bare line feed": b"Content-Length: 2\nX: y\r\n\r\n{}",
    "bare line feeds": b"Content-Length: 2\n\n{}",
    "a bare return": b"Content-Length: 2\rX: y\r\n\r\n{}",
    "a folded line": b"X: y\r\n Content-Length: 2\r\n\r\n{}",
    "a space before the colon": b"Content-Length : 2\r\n\r\n{}",
    "a bare line feed after the chunks": b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\n",
    "bare line feeds in chunks": b"Transfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n",
    "a chunk of another size": b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}}\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_ambiguous_requests_are_refused(site: Client, name: str) -> None:
    start = b"POST /api/session HTTP/1.1\r\nHost: localhost\r\n"
    answer = site.raw(start + AMBIGUOUS[name] + HEALTH)
    assert answer.startswith(b"HTTP/1.1 4"), answer
    assert b"HTTP/1.1 200" not in answer  # nothing after it is read as a request


def test_chunks_and_pipelined_requests_are_read(site: Client) -> None:
    chunks = (
        b"POST /api/session HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        b'c\r\n{"token": 1}\r\n0\r\nTrailer: x\r\n\r\n'
    )
    answer = site.raw(chunks + HEALTH + HEALTH[:-2] + b"Connection: close\r\n\r\n")
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"422", b"200", b"200"]


TINY = [
    b"RIFF\x08\0\0\0WEBPVP8X",
    b"RIFF\x08\0\0\0WEBPVP8L",
    b"RIFF\x08\0\0\0WEBPVP8 ",
    b"\xff\xd8\xff",
    b"\xff\xd8\xff\xc0\0\x11",
    b"\xff\xd8\xff\xda\0\0\xff\xd9",
    b"\x89PNG\r\n\x1a\n",
    b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR",
    b"BM" + bytes(24),
    b"II*\0\x08\0\0\0",
    b"MM\0*",
    b"\0\0\0\x0cftypheic",
]


def test_tiny_images_are_refused(site: Client) -> None:
    for body in TINY:
        for cut in range(len(body) + 1):
            answer = site.ask("POST", "/api/query", body[:cut], Content_Type="image/webp")
            assert answer.status == 422, (body[:cut], answer.body)


def test_strange_values_are_refused(site: Client) -> None:
    for path in (
        "/api/events?limit=" + "9" * 5000,
        "/api/events?limit=%ED%A0%80",
        "/api/events?limit=%1B%5B2J",
        "/api/events?limit=%C2%B2",
        "/api/labels/%ED%A0%80/photo",
        "/api/labels/%1B%5B2J/photo",
    ):
        assert 400 <= site.ask("GET", path).status < 500, path
    for body in (b'{"token": "\\ud800"}', b'{"token": "\xff"}', b"\xed\xa0\x80", b"9" * 4000):
        answer = site.ask("POST", "/api/session", body)
        assert answer.status in (401, 422), body
    kind = "image/\x9b2J"
    assert site.ask("POST", "/api/query", b"x", Content_Type=kind).status == 415


def test_a_client_that_disconnects_leaves_no_traceback(site: Client, cat: Image) -> None:
    photo = encoded(cat)
    head = b"POST /api/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
    whole = head + b"Content-Length: %d\r\n\r\n" % len(photo) + photo
    session = b"POST /api/session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{"
    stream = b"GET /api/stream HTTP/1.1\r\nHost: localhost\r\n\r\n"
    live = b"GET /live.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for text in (whole, whole[:-1], head, session, stream, live, b"GE", HEALTH):
        for reset in (False, True):
            line = site.connect()
            if reset:  # closing sends a reset
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            line.sendall(text)
            line.close()
    _is_served(site)  # the fixture reads the log


SHORT_LIMITS = """
import sys
from edge_runtime.web import connection
from edge_runtime.web.connection import Phase
connection._LIMIT_S.update({Phase.HEAD: 1.0, Phase.BODY: 2.0})
connection.WRITE_S = 2.0
from edge_runtime.cli import main
main(sys.argv[1:])
"""


def test_headers_bodies_and_responses_have_deadlines(tmp_path: Path, film: Path) -> None:
    config = tmp_path / "edge.toml"
    config.write_text(f"{CONFIG.format(film=film)}\n[http]\nport = 0\n")
    process = Process("--config", config, script=SHORT_LIMITS)
    client = Client(process)
    client.until_ready()
    # What the client has begun is answered with 408; then, as for silence, the connection ends.
    endless = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
    cases = {
        b"": b"",
        b"GET / HTTP/1.1\r\n": b"HTTP/1.1 408",
        UPLOAD: b"HTTP/1.1 408",
        HEALTH: b"HTTP/1.1 200",
        endless: b"HTTP/1.1 200",  # its body never arrives
    }
    with ThreadPoolExecutor(len(cases)) as threads:
        answers = threads.map(lambda text: client.raw(text, 30), cases)
        assert [answer[:12] for answer in answers] == list(cases.values())
    with client.connect() as line:  # dripping does not extend the limit
        line.settimeout(0.2)
        answer = b""
        for byte in HEALTH[:-4] * 40:
            with suppress(TimeoutError, BrokenPipeError, ConnectionResetError):
                line.sendall(bytes([byte]))
                answer = line.recv(100)
            if answer:
                break
        assert answer.startswith(b"HTTP/1.1 408")
    with client.connect() as line:  # a live view that nobody reads
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.sendall(b"GET /live.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")

        def is_open() -> bool:
            end = f":{line.getsockname()[1]:04X} "
            states = Path("/proc/net/tcp").read_text().splitlines()
            mine = [row.split() for row in states if end in row]
            return any(row[3] == "01" and row[2].endswith(end.strip()) for row in mine)

        assert is_open()
        process.until(lambda: not is_open())
    assert process.end() < 2 * patience()
    assert "Traceback" not in "".join(process.log_lines)


def test_without_file_descriptors_health_is_answered(tmp_path: Path, film: Path) -> None:
    process = start(tmp_path, film)
    client = Client(process)
    client.until_ready()
    pid = process.child.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = {int(each.name) for each in Path(f"/proc/{pid}/fd").iterdir()}
    most = max(used) + 1  # of the numbers below, only those that are free now can be used
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, before[1]))
    with ExitStack() as open_lines:
        for _ in range(most + 10):
            open_lines.enter_context(client.connect())
        for _ in range(5):
            assert client.status_of("/healthz") == 200
        process.until_logged("connections wait: Too many open files")
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    _is_served(client)
    frames = client.ask("GET", "/api/status").json()["frames"]
    process.until(lambda: client.ask("GET", "/api/status").json()["frames"] > frames)
    threads = client.ask("GET", "/api/status").json()["threads"]
    assert all(state["alive"] for state in threads.values())
    assert process.end() < 2 * patience()
    assert "Traceback" not in "".join(process.log_lines)


CRASH = """
import sys
from edge_runtime.daemon import thermal
from edge_runtime.web import acceptor
calls = {"read": 0, "sweep": 0}
read, sweep = thermal.read, acceptor.Acceptor.sweep
def first_fails(name, function):
    def run(*arguments):
        calls[name] += 1
        if calls[name] == 1:
            raise OSError(24, "Too many open files")
        return function(*arguments)
    return run
thermal.read = first_fails("read", read)
acceptor.Acceptor.sweep = first_fails("sweep", sweep)
from edge_runtime.cli import main
main(sys.argv[1:])
"""


def test_helper_threads_are_restarted(tmp_path: Path, film: Path) -> None:
    config = tmp_path / "edge.toml"
    config.write_text(f"{CONFIG.format(film=film)}\n[http]\nport = 0\n")
    process = Process("--config", config, script=CRASH)
    client = Client(process)

    def restarts() -> dict[str, int]:
        with suppress(OSError):
            threads = client.ask("GET", "/api/status").json()["threads"]
            return {name: state["restarts"] for name, state in threads.items()}
        return {}

    process.until(lambda: restarts().get("thermal") and restarts().get("http"))
    assert restarts() == {"thermal": 1, "http": 1, "sink-json": 0, "capture-camera": 0}
    state = client.ask("GET", "/api/status").json()["threads"]["thermal"]
    assert state["alive"]
    assert "Too many open files" in state["last_error"]
    metrics = client.ask("GET", "/metrics").body.decode()
    assert 'edge_thread_restarts_total{thread="http"} 1.0' in metrics
    assert client.ask("POST", "/api/labels/later/frame").status in (201, 503)
    assert client.status_of("/live.mjpg") == 200
    process.until_logged("the thread http failed and is restarted")
    assert process.end() < 2 * patience()


def test_small_packets_are_sent_at_once() -> None:
    """Nagle's algorithm would delay the second part of a response by 40 ms."""

    async def accepted_option() -> int:
        config = uvicorn.Config(lambda *_: None, ws="none", lifespan="off", log_config=None)
        config.load()
        found: list[socket.socket] = []

        def connect(client: str, accepted: socket.socket, on_lost: object) -> Connection:
            found.append(accepted)
            return Connection(config, ServerState(), client, accepted, lambda _: None)

        with socket.create_server(("127.0.0.1", 0)) as listener:
            acceptor = Acceptor(listener, connect, lambda: None)
            with socket.create_connection(listener.getsockname()):
                while not found:
                    await asyncio.sleep(0.01)
                option = found[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                acceptor.close()
                await asyncio.sleep(0.01)
        return option

    assert asyncio.run(accepted_option()) != 0


def test_the_service_has_descriptors_for_all_connections() -> None:
    unit = (ROOT / "deploy" / "units" / "edge-runtime.service").read_text()
    found = re.search(r"^LimitNOFILE=(\d+)$", unit, re.MULTILINE)
    assert found
    assert int(found[1]) >= 10 * CONNECTIONS
