"""The web server over real HTTP: answers, access control and invalid input."""

from __future__ import annotations

import json
import re
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_runtime.engine import Engine
from edge_runtime.gallery.features.fitted import read_outcome
from edge_runtime.image import Image
from edge_runtime.web.clients import Rate
from tests.support.processes import patience, run_cli
from tests.support.service import Process, enroll_near
from tests.support.web import HTML, TOKEN, Client, encoded, start, write_secret


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="module")
def site(folder: Path, film: Path) -> Iterator[Client]:
    process = start(folder, film, http="port = 0\nrequests_per_minute = 100000")
    client = Client(process)
    client.until_ready()
    yield client
    assert process.end() < 2 * patience()
    assert process.child.returncode == 0
    assert "Traceback" not in "".join(process.log_lines)


def test_health_checks_report_the_state(site: Client) -> None:
    for path in ("/healthz", "/readyz"):
        answer = site.ask("GET", path)
        assert answer.status == 200
        body = answer.json()
        assert body["status"] == "ok"
        assert body["cameras"] == {"camera": "running"}
        assert 0 <= body["frame_age_s"] < 5
        assert body["engine"]["name"] == "portable"
        assert body["engine"]["reason"]
        assert re.fullmatch("[0-9a-f]{64}", body["model_id"])
        assert body["last_error"] is None


def test_enroll_recognize_and_remove(site: Client, folder: Path, cat: Image) -> None:
    photo = encoded(cat)
    before = site.ask("GET", "/healthz").json()["gallery_generation"]
    answer = site.ask("POST", "/api/labels/cat", photo, Content_Type="image/jpeg")
    counts = {"pictures_added": 1, "codes_added": 6, "pictures_known": 0}
    counts["pictures_completed"] = 0
    enrolled = answer.json()
    assert len(enrolled.pop("pictures")) == 1
    assert (answer.status, enrolled) == (201, {"label": "cat", **counts, "fault": None})
    answer = site.ask("POST", "/api/labels/cat", photo, Content_Type="image/jpeg")
    counts |= {"pictures_added": 0, "codes_added": 0, "pictures_known": 1}
    answered: dict[str, Any] = {"label": "cat", **counts, "pictures": [], "fault": None}
    assert (answer.status, answer.json()) == (200, answered)
    stats = run_cli("gallery", "stats", "--json", "--gallery", folder / "g.sqlite")
    stored = json.loads(stats.stdout)
    assert stored["features"] == stored["codes"]  # the daemon's engine gives both
    found = site.ask("POST", "/api/query", photo, Content_Type="image/jpeg").json()
    assert (found["label"], found["distance"]) == ("cat", 0)
    assert found["matches"][0]["source"] == "upload"
    assert {"fit", "hash", "lookup"} <= set(found["stage_ms"])
    site.process.until_event("enter", "cat")
    site.process.until(lambda: site.region()["recognition"])
    site.process.until(lambda: site.ask("GET", "/healthz").json()["gallery_generation"] > before)
    events = site.ask("GET", "/api/events?limit=1").json()["events"]
    assert events[0]["label"] == "cat"
    assert {"label": "cat", "pictures": 1, "codes": 6} in site.ask("GET", "/api/labels").json()[
        "labels"
    ]
    removed = site.ask("DELETE", "/api/labels/cat").json()
    assert removed == {"label": "cat", "pictures_removed": 1, "codes_removed": 6}
    site.process.until_event("leave", "cat")
    assert site.ask("DELETE", "/api/labels/cat").status == 404


def test_the_gallery_is_fitted_after_enrollment(
    site: Client, folder: Path, noise: Callable[[int], Image]
) -> None:
    labels = [f"noise {number}" for number in range(5)]
    for number, label in enumerate(labels):
        for photo in range(2):
            data = encoded(noise(2 * number + photo))
            path = f"/api/labels/{urllib.parse.quote(label)}"
            assert site.ask("POST", path, data, Content_Type="image/jpeg").status == 201

    def outcome() -> dict[str, Any] | None:
        with closing(sqlite3.connect(folder / "g.sqlite")) as connection:
            return read_outcome(connection)

    site.process.until(outcome)
    fitted = outcome()
    assert fitted is not None
    assert fitted["labels"] >= 5
    assert fitted["left_out"] >= 5
    for label in labels:
        assert site.ask("DELETE", f"/api/labels/{urllib.parse.quote(label)}").status == 200


def test_enroll_the_current_frame(site: Client) -> None:
    label = urllib.parse.quote("my desk 厨房")
    answer = site.ask("POST", f"/api/labels/{label}/frame")
    assert answer.status == 201, answer.body
    site.process.until_event("enter", "my desk 厨房")
    assert site.ask("DELETE", f"/api/labels/{label}").status == 200


def test_a_kept_picture_is_shown(site: Client, cat: Image) -> None:
    photo = encoded(cat)
    site.ask("POST", "/api/labels/kept", photo, Content_Type="image/jpeg")
    found = site.ask("POST", "/api/query", photo, Content_Type="image/jpeg").json()
    number = found["matches"][0]["id"]
    answer = site.ask("GET", f"/api/pictures/{number}")
    assert answer.status == 200 and answer.headers["Content-Type"] == "image/jpeg"
    kept = cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_COLOR)
    assert kept is not None and kept.shape[:2] == (320, 320)
    site.ask("DELETE", "/api/labels/kept")
    for gone in (number, 0, "9" * 18, "9" * 5000, "-1", "x", "%ED%A0%80"):
        assert site.ask("GET", f"/api/pictures/{gone}").status == 404


def test_a_label_has_a_thumbnail(site: Client, cat: Image) -> None:
    assert site.ask("POST", "/api/labels/tom/frame").status == 201
    answer = site.ask("GET", "/api/labels/tom/photo")
    assert answer.headers["Content-Type"] == "image/jpeg"
    thumbnail = cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_COLOR)
    assert thumbnail is not None
    assert max(thumbnail.shape[:2]) <= 160
    site.ask("DELETE", "/api/labels/tom")
    assert site.ask("GET", "/api/labels/tom/photo").status == 404


def test_a_label_that_is_html_stays_text(site: Client, cat: Image) -> None:
    label = urllib.parse.quote(HTML, safe="")
    answer = site.ask("POST", f"/api/labels/{label}", encoded(cat), Content_Type="image/jpeg")
    # The label is stored as text, and no answer is HTML.
    assert answer.status == 201
    assert answer.headers["Content-Type"] == "application/json"
    assert site.ask("GET", "/api/labels").json()["labels"][0]["label"] == HTML
    assert site.ask("DELETE", f"/api/labels/{label}").status == 200


def test_metrics_are_prometheus_text(site: Client) -> None:
    text = site.ask("GET", "/metrics").body.decode()
    samples = dict(
        line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")
    )
    assert float(samples['edge_camera_state{camera="camera",state="running"}']) == 1
    assert float(samples["edge_frames_total"]) > 0
    assert float(samples['edge_stage_seconds_count{stage="fit"}']) > 0
    assert float(samples['edge_stage_seconds_count{stage="end_to_end"}']) > 0
    assert float(samples["edge_resident_memory_bytes"]) > 1e7
    assert 'edge_sink_events_total{fate="delivered",sink="json"}' in samples
    for name in ("frames_dropped", "camera_restarts"):
        assert f'edge_{name}_total{{camera="camera"}}' in samples
    assert 'edge_frames_unchanged_total{camera="camera",region=""}' in samples


def _read_some(site: Client, path: str, until: bytes) -> bytes:
    with urllib.request.urlopen(site.url + path, timeout=20) as answer:
        data = b""
        while until not in data:
            data += answer.read1(65536)
        return data


def test_streams_of_events_and_frames(site: Client) -> None:
    data = _read_some(site, "/api/stream", b"event: status")
    data += _read_some(site, "/api/stream", b"\n\n")
    status = json.loads(data.split(b"data: ", 1)[1].split(b"\n", 1)[0])
    assert status["cameras"][0]["state"] == "running"
    assert status["budget_ms"] == 100
    picture = _read_some(site, "/live.mjpg", b"\xff\xd9\r\n")
    assert b"Content-Type: image/jpeg" in picture


def test_a_recognition_is_streamed_as_it_happens(site: Client) -> None:
    with urllib.request.urlopen(site.url + "/api/stream", timeout=20) as stream:
        data = stream.read1(65536)
        assert site.ask("POST", "/api/labels/streamed/frame").status == 201
        while b"event: recognition" not in data:
            data += stream.read1(65536)
    site.ask("DELETE", "/api/labels/streamed")


def test_the_number_of_streams_is_limited(site: Client) -> None:
    streams = []
    try:
        for _ in range(8):
            streams.append(urllib.request.urlopen(site.url + "/api/stream", timeout=20))
        assert site.ask("GET", "/api/stream").status == 503
        assert site.ask("GET", "/healthz").status == 200
    finally:
        for stream in streams:
            stream.close()
    site.process.until(lambda: _opens(site))


def _opens(site: Client) -> bool:
    try:
        with urllib.request.urlopen(site.url + "/api/stream", timeout=20):
            return True
    except urllib.error.HTTPError:
        return False


# -- invalid input --------------------------------------------------------------------------------


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
