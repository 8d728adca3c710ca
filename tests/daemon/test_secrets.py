"""A real daemon with the password of a camera: nothing that it emits contains it."""

from __future__ import annotations

import base64
import json
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import pytest

from edge_runtime.engine import Engine
from edge_runtime.image import Image
from tests.support.processes import run_cli
from tests.support.service import Process, enroll_near
from tests.support.web import Client

SECRETS = ("Zq1S3cret", "Zq2S3cret", "Zq3S3cret", "Zq4S3cret", "Zq5S3cret", "viewer")
LOGIN = "viewer:Zq1S3cret@Zq2S3cret"
TAIL = "/video;token=Zq4S3cret/live?user=viewer&pwd=Zq3S3cret&channel=1"


class _Camera(ThreadingHTTPServer):
    """Serves Motion JPEG and keeps the logins that it received."""

    jpeg: bytes
    logins: set[str]


class _Handler(BaseHTTPRequestHandler):
    server: _Camera

    def do_GET(self) -> None:
        login = self.headers.get("Authorization", "")
        self.server.logins.add(base64.b64decode(login.removeprefix("Basic ")).decode())
        if not login:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(self.server.jpeg)}"
        try:
            while not self.server.stopping.wait(0.05):  # type: ignore[attr-defined]
                self.wfile.write(head.encode() + b"\r\n\r\n" + self.server.jpeg + b"\r\n")
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def camera(cat: Image) -> Iterator[_Camera]:
    with _Camera(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads = True
        server.jpeg, server.logins = cv2.imencode(".jpg", cat)[1].tobytes(), set()
        server.stopping = threading.Event()  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.stopping.set()  # type: ignore[attr-defined]
        server.shutdown()


@pytest.fixture
def gallery(tmp_path: Path, engine: Engine, cat: Image) -> Path:
    enroll_near(engine, tmp_path / "g.sqlite", cat=cat)
    return tmp_path / "g.sqlite"


def _check(emitted: dict[str, str | bytes]) -> None:
    for name, content in emitted.items():
        text = content.decode(errors="replace") if isinstance(content, bytes) else content
        for secret in SECRETS:
            assert secret not in text, f"{name}: {text}"


def test_nothing_that_the_daemon_emits_contains_a_secret(
    camera: _Camera, gallery: Path, tmp_path: Path
) -> None:
    port = camera.server_port
    (tmp_path / "edge.toml").write_text(
        f'gallery.path = "g.sqlite"\noutput.format = "json"\nlog.level = "debug"\n'
        f'[camera]\nsource = "http://{LOGIN}@127.0.0.1:{port}{TAIL}"\nretry_longest_s = 0.5\n'
        f"[http]\nport = 0\n"
    )
    process = Process("--config", tmp_path / "edge.toml")
    try:
        client = Client(process)
        client.until_ready()
        emitted: dict[str, str | bytes] = {
            f"{method} {path}": client.ask(method, path).body
            for method, path in (
                ("POST", "/api/labels/desk/frame"),
                ("GET", "/api/status"),
                ("GET", "/api/events"),
                ("GET", "/api/labels"),
                ("GET", "/api/advice"),
                ("GET", "/metrics"),
                ("GET", "/healthz"),
                ("GET", "/"),
            )
        }
        assert json.loads(emitted["GET /api/status"])["cameras"][0]["state"] == "running"
        name = f"http://127.0.0.1:{port}/video;***/live?***&***&channel=1"
        assert name in emitted["GET /api/status"].decode()  # type: ignore[union-attr]
        answer = client.ask("POST", "/api/query", camera.jpeg)
        emitted["query"] = answer.body
        emitted["config"] = _output("config", "show", tmp_path / "edge.toml")
        camera.stopping.set()  # type: ignore[attr-defined]
        process.until(lambda: "DEGRADED" in "".join(process.log_lines))
        emitted["status with a fault"] = client.ask("GET", "/api/status").body
    finally:
        process.end()
    emitted["log"] = "".join(process.log_lines)
    emitted["events"] = json.dumps(process.events)
    emitted["command"] = _output("gallery", "export", "--gallery", gallery, tmp_path / "e.jsonl")
    emitted["export"] = (tmp_path / "e.jsonl").read_bytes()
    assert f"{name}#".encode() in (tmp_path / "e.jsonl").read_bytes()
    emitted["gallery"] = gallery.read_bytes()
    _check(emitted)
    assert camera.logins == {"", LOGIN}


def _output(*arguments: object) -> str:
    done = run_cli(*arguments)
    return done.stdout + done.stderr


def test_the_arguments_of_a_process_show_no_secret(camera: _Camera, gallery: Path) -> None:
    address = f"http://{LOGIN}@127.0.0.1:{camera.server_port}{TAIL}"
    process = Process("--gallery", gallery, "--json", f"--camera={address}")
    try:
        process.until_logged("watching http://127.0.0.1")
        arguments = Path(f"/proc/{process.child.pid}/cmdline").read_bytes()
    finally:
        process.end()
    assert b"--camera=http://127.0.0.1" in arguments
    _check({"arguments": arguments, "log": "".join(process.log_lines)})


@pytest.mark.slow
def test_commands_show_no_secret(camera: _Camera, gallery: Path, tmp_path: Path) -> None:
    port = camera.server_port
    address = f"http://{LOGIN}@127.0.0.1:{port}{TAIL}"
    dead = f"http://{LOGIN}@127.0.0.1:9{TAIL}"
    photo = tmp_path / "cat.jpg"
    photo.write_bytes(camera.jpeg)
    config = f'gallery.path = "g.sqlite"\n[camera]\nsource = "{address}"'
    (tmp_path / "edge.toml").write_text(config)
    emitted: dict[str, str | bytes] = {
        str(number): _output(*arguments)
        for number, arguments in enumerate(
            (
                ("enroll", "--gallery", gallery, "--label", "a", "--count", 1, "--camera", address),
                ("enroll", "--gallery", gallery, "--label", "a", "--camera", dead),
                ("enroll", "--gallery", gallery, "--label", "a", "--camera", dead[7:]),
                ("query", "--gallery", gallery, "--json", photo),
                ("query", "--gallery", gallery, dead),
                ("run", "--gallery", gallery, "--camera", dead),
                ("run", "--gallery", gallery, dead),
                ("doctor", "--gallery", gallery, "--camera", dead),
                ("doctor", "--config", tmp_path / "edge.toml"),
                ("gallery", "export", "--gallery", gallery, tmp_path / "e.npz"),
                ("gallery", "advise", "--gallery", gallery),
            )
        )
    }
    assert "enrolled 1 picture" in emitted["0"]
    emitted["gallery"] = gallery.read_bytes()
    _check(emitted)


def test_the_password_is_read_from_a_file_again_after_a_reload(
    camera: _Camera, gallery: Path, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("p@ss:w/rd%40 ö\n", encoding="utf-8")
    (tmp_path / "edge.toml").write_text(
        f'gallery.path = "g.sqlite"\noutput.format = "json"\n[camera]\n'
        f'source = "http://viewer@127.0.0.1:{camera.server_port}/video"\npassword_file = "password"'
    )
    process = Process("--config", tmp_path / "edge.toml")
    try:
        process.until_logged("STARTING -> RUNNING")
        assert "viewer:p@ss:w/rd%40 ö" in camera.logins
        (tmp_path / "password").write_text("Zq1S3cret\n")
        process.child.send_signal(signal.SIGHUP)
        process.until_logged("reloaded: camera")
        process.until(lambda: "viewer:Zq1S3cret" in camera.logins)
    finally:
        process.end()
    _check({"log": "".join(process.log_lines)})


def test_commands_take_the_password_of_a_camera_from_a_file(
    camera: _Camera, gallery: Path, tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text("p@ss:w/rd%40 ö\n", encoding="utf-8")
    named = ("--camera", f"http://viewer@127.0.0.1:{camera.server_port}/video")
    with_file = (*named, "--password-file", password)
    few = ("--quick", "--samples", 2, "--seconds", 0, "--cold-starts", 1)
    for arguments in (
        ("enroll", "--gallery", gallery, "--label", "a", "--count", 1, *with_file),
        ("profile", "--gallery", gallery, *few, *with_file),
    ):
        camera.logins.clear()
        output = _output(*arguments)
        assert "viewer:p@ss:w/rd%40 ö" in camera.logins, output
        _check({str(arguments[0]): output})
    for wrong in (
        ("enroll", "--label", "a", "--password-file", password, tmp_path),
        ("enroll", "--label", "a", *named, "--password-file", tmp_path / "missing"),
        ("profile", "--password-file", password),
    ):
        output = _output(*wrong)
        assert "requires --camera" in output or "no such file" in output.lower(), output
