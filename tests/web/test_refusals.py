"""What the web server refuses: invalid input, no token, too many requests, a full disk."""

from __future__ import annotations

import json
import re
import signal
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime.engine import Engine
from edge_runtime.image import Image
from edge_runtime.web.clients import Rate
from tests.support.processes import patience, run_cli
from tests.support.service import Process, enroll_near
from tests.support.web import TOKEN, Client, encoded, start, write_secret


def _png_bomb(side: int) -> bytes:
    """Return a PNG of a few kilobytes that decodes to `side` x `side` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    packer = zlib.compressobj(9)
    row = bytes(1 + side // 8)
    data = b"".join(packer.compress(row) for _ in range(min(side, 20000))) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    parts = (b"IHDR", head), (b"IDAT", data), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def test_invalid_photos_are_refused_and_not_enrolled(site: Client, cat: Image) -> None:
    good = encoded(cat)
    cases: list[tuple[bytes, str, int, str]] = [
        (b"", "image/jpeg", 422, "empty"),
        (b"GIF89a" * 50, "image/jpeg", 422, "GIF files are not supported"),
        (good[: len(good) // 2], "image/jpeg", 422, "truncated"),
        (encoded(cat[:20, :20]), "image/jpeg", 422, "too small"),
        (_png_bomb(30000), "image/png", 422, "too large to decode"),
        (good, "text/html", 415, "unsupported content type"),
        (good, "", 415, "unsupported content type"),
        (b"\xff\xd8" + bytes(16_000_000), "image/jpeg", 413, "larger than"),
    ]
    for body, kind, status, what in cases:
        for path in ("/api/query", "/api/labels/bad"):
            answer = site.ask("POST", path, body, Content_Type=kind)
            assert answer.status == status, (what, answer.status, answer.body)
            assert what in answer.json()["error"]
    assert all(row["label"] != "bad" for row in site.ask("GET", "/api/labels").json()["labels"])
    assert len(_png_bomb(30000)) < 200_000


@pytest.mark.parametrize("label", ["%2F", "a%2Fb", "%00", "x" * 200, "%20", "a%0Ab", "%FF"])
def test_invalid_labels_are_refused(site: Client, label: str, cat: Image) -> None:
    for method, path in (("POST", "/frame"), ("POST", ""), ("DELETE", ""), ("GET", "/photo")):
        body = encoded(cat) if method == "POST" else None
        answer = site.ask(method, f"/api/labels/{label}{path}", body, Content_Type="image/jpeg")
        assert answer.status in (404, 405, 422), (method, path, answer.status, answer.body)
        assert answer.json()["error"]


def test_malformed_requests(site: Client) -> None:
    for text in (
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX: "
        + b"a" * 40_000
        + b"\r\n\r\n",
        b"POST /api/query HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST /api/session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n"
        b"Connection: close\r\n\r\n{[}",
        b"POST /api/session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000\r\n"
        b"Connection: close\r\n\r\n" + b"[" * 9000,
        b"GET /api/events?limit=%FF HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: [::\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
    ):
        answer = site.raw(text)
        assert re.match(rb"HTTP/1.1 4\d\d", answer), (text[:60], answer[:200])
    assert site.ask("GET", "/healthz").status == 200


def test_cross_site_requests_are_refused(site: Client, cat: Image) -> None:
    photo = encoded(cat)
    port = site.port
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Origin": f"http://localhost:{port + 1}"},
        {"Origin": "http://[::"},
    ):
        answer = site.ask("POST", "/api/labels/evil", photo, Content_Type="image/jpeg", **headers)
        assert answer.status == 403, headers
        assert site.ask("DELETE", "/api/labels/evil", **headers).status == 403
    for host in ("evil.example", f"evil.example:{port}", "localhost.evil.example"):
        answer = site.ask("GET", "/api/status", Host=host)
        assert answer.status == 421, host
    for host in ("localhost", f"127.0.0.1:{port}", "[::1]"):
        assert site.ask("GET", "/api/status", Host=host).status == 200, host
    headers = site.ask("GET", "/").headers
    assert headers["Content-Security-Policy"].startswith("default-src 'self'")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Access-Control-Allow-Origin" not in headers


def test_the_page_refers_to_no_other_host(site: Client) -> None:
    for path in ("/", "/app.js", "/style.css", "/icon.svg"):
        answer = site.ask("GET", path)
        assert answer.status == 200
        text = answer.body.decode().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"(https?:)?//[a-z]+\.[a-z]", text), path


@pytest.mark.slow
def test_every_endpoint_conforms_to_the_openapi_document(site: Client) -> None:
    """Schemathesis generates valid and invalid requests from the OpenAPI document."""
    program = Path(sys.executable).with_name("schemathesis")
    if not program.exists():
        pytest.skip("schemathesis is not installed")
    command: list[str | Path] = [
        *(
            program,
            "run",
            f"{site.url}/openapi.json",
            "--phases",
            "examples,coverage,fuzzing",
            "--seed",
            "7",
        ),
        *("--max-examples", "12", "--exclude-path", "/api/stream", "--exclude-path", "/live.mjpg"),
        *(
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance,"
            "response_schema_conformance",
            "--no-color",
            "--request-timeout",
            "20",
        ),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert site.ask("GET", "/healthz").status == 200


# -- tokens and limits ------------------------------------------------------------------------


@pytest.fixture
def closed(tmp_path: Path, film: Path) -> Iterator[Client]:
    """Start a daemon that other machines can reach and that requires a token."""
    write_secret(tmp_path / "token", TOKEN)
    http = 'host = "0.0.0.0"\nport = 0\ntoken_file = "token"\nrequests_per_minute = 10\n'
    process = start(tmp_path, film, http=http + "live_view = false")
    client = Client(process)
    client.process.until(lambda: client.ask("GET", "/readyz").status == 200)
    yield client
    assert process.end() < 2 * patience()


def test_without_the_token_only_the_page_files_and_bare_health_checks(closed: Client) -> None:
    assert closed.ask("GET", "/").status == 200
    assert closed.ask("GET", "/healthz").json() == {"status": "ok"}
    for method, path in (
        ("GET", "/api/status"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
        ("GET", "/live.mjpg"),
        ("GET", "/api/stream"),
        ("DELETE", "/api/labels/x"),
        ("GET", "/api/labels/x/photo"),
        ("GET", "/nowhere"),
    ):
        answer = closed.ask(method, path)
        assert answer.status == 401, path
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    good = {"Authorization": f"Bearer {TOKEN}"}
    assert closed.ask("GET", "/api/status", **good).status == 200
    assert closed.ask("GET", "/healthz", **good).json()["cameras"] == {"camera": "running"}
    assert closed.ask("GET", "/live.mjpg", **good).status == 404  # it is disabled
    assert closed.ask("GET", "/api/status", Authorization="Bearer wrong").status == 401


def test_a_session_for_the_page(closed: Client) -> None:
    body = json.dumps({"token": TOKEN}).encode()
    answer = closed.ask("POST", "/api/session", body)
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    session = cookie.split(";")[0]
    assert closed.ask("GET", "/api/status", Cookie=session).status == 200
    assert closed.ask("GET", "/api/status", Cookie="edge_session=guess").status == 401
    for body, status in ((b"{}", 422), (b"[]", 422), (b'{"token": "wrong"}', 401)):
        assert closed.ask("POST", "/api/session", body).status == status


def test_requests_are_rate_limited(closed: Client) -> None:
    good = {"Authorization": f"Bearer {TOKEN}"}
    answers = [closed.ask("DELETE", "/api/labels/none", **good).status for _ in range(12)]
    assert answers[0] == 404
    assert answers[-1] == 429


def test_a_rate_limit_allows_bursts_of_half_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [0.0]
    monkeypatch.setattr("edge_runtime.web.clients.time.monotonic", lambda: now_s[0])
    rate = Rate(60)
    assert [rate.allow("a") for _ in range(31)] == [True] * 30 + [False]
    assert rate.allow("b")
    now_s[0] = 2.5
    assert [rate.allow("a") for _ in range(3)] == [True, True, False]


# -- failures of the environment --------------------------------------------------------------


def test_health_fails_when_the_camera_does(tmp_path: Path, film: Path) -> None:
    process = start(tmp_path, film, more="next_frame_s = 1.0")
    client = Client(process)
    client.until_ready()
    text = (tmp_path / "edge.toml").read_text()
    (tmp_path / "edge.toml").write_text(text.replace(str(film), "/dev/video97"))
    process.child.send_signal(signal.SIGHUP)
    process.until(lambda: client.ask("GET", "/readyz").status == 503)
    trying = ("starting", "degraded")  # the state is "stopped" until the old camera is closed
    process.until(lambda: client.ask("GET", "/readyz").json()["cameras"]["camera"] in trying)
    process.until(
        lambda: (
            "no such camera device" in (client.ask("GET", "/healthz").json()["last_error"] or "")
        )
    )
    assert client.ask("GET", "/healthz").status == 200  # the daemon itself is healthy
    assert client.ask("POST", "/api/labels/x/frame").status == 503
    assert process.end() < 2 * patience()


def test_a_stuck_main_loop_is_not_healthy(tmp_path: Path, film: Path) -> None:
    """The web server still answers while the daemon's thread is blocked."""
    start(tmp_path, film).end()
    script = (
        "import sys, threading, time\n"
        "import edge_runtime.daemon.status as status\n"
        "import edge_runtime.daemon.loop as loop\n"
        "status.STALL_LIMIT_S = 1.0\n"
        "step = loop.Daemon.step\n"
        "loop.Daemon.step = lambda self, *frame: step(self, *frame) if self.frames < 20 else "
        "time.sleep(600)\n"
        "from edge_runtime.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    process = Process("--config", tmp_path / "edge.toml", script=script)
    client = Client(process)
    client.until_ready()
    process.until(lambda: client.ask("GET", "/healthz").status == 503)
    assert client.ask("GET", "/readyz").status == 503
    process.end(signal.SIGKILL)


def test_a_port_that_is_taken(tmp_path: Path, film: Path, engine: Engine, cat: Image) -> None:
    enroll_near(engine, tmp_path / "g.sqlite", cat=cat)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = run_cli("run", "--gallery", tmp_path / "g.sqlite", "--camera", film, "--http", port)
    assert done.returncode == 11
    assert done.stderr.startswith(f"edge-runtime: 127.0.0.1:{port}: cannot listen: Address already")


def test_a_disk_that_fills_up_while_enrolling(small_disk: Path, film: Path, cat: Image) -> None:
    process = start(small_disk, film, http="port = 0\nrequests_per_minute = 100000")
    client = Client(process)
    client.until_ready()
    answers = set()
    for number in range(400):
        answer = client.ask("POST", f"/api/labels/l{number}/frame")
        answers.add(answer.status)
        if answer.status == 507:
            assert "disk is full" in answer.json()["error"]
            break
    assert 507 in answers
    client.process.until(lambda: client.ask("GET", "/readyz").status == 200)  # the daemon continues
    assert process.end() < 3 * patience()
