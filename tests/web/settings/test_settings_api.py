"""Settings by the API: a real daemon, its real file, cameras that are films."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest

from tests.support.web import READER, TOKEN, Answer, Client, start, write_secret

SETTINGS = """
# how sure it must be
[decision]
window = 3   # frames
"""


@pytest.fixture
def site(tmp_path: Path, film: Path) -> Iterator[Client]:
    process = start(
        tmp_path, film, SETTINGS, "port = 0\nrequests_per_minute = 100000\nlive_view = true"
    )
    client = Client(process)
    client.until_ready()
    yield client
    process.end()


def _send(site: Client, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    data = b"" if body is None else json.dumps(body).encode()
    return site.ask(method, path, data, Content_Type="application/json", **headers)


def _key(site: Client, table: str, name: str) -> dict[str, Any]:
    tables = site.ask("GET", "/api/settings").json()["tables"]
    keys = next(each for each in tables if each["name"] == table)["keys"]
    return next(each for each in keys if each["name"] == name)


def test_change_and_undo(site: Client, tmp_path: Path) -> None:
    file = tmp_path / "edge.toml"
    before = file.read_text()
    settings = site.ask("GET", "/api/settings").json()
    assert settings["writable"] and settings["file"] == str(file) and not settings["undo"]
    window = _key(site, "decision", "window")
    assert (window["value"], window["default"], window["type"]) == (3, 5, "integer")
    assert (window["minimum"], window["maximum"]) == (1, 1000)
    changes = {"decision.window": 9, "decision.false_name_rate": 0.1, "heat.fps": None}
    answer = _send(site, "PATCH", "/api/settings", changes, If_Match=settings["version"])
    assert answer.status == 200, answer.body
    assert answer.json()["changed"] == ["decision.false_name_rate", "decision.window"]
    assert answer.json()["applied"] == ["decision"] and answer.json()["undo"]
    site.process.until_logged("reloaded: decision")
    assert file.read_text() == before.replace(
        "window = 3   # frames", "window = 9   # frames\nfalse_name_rate = 0.1"
    )
    stale = _send(site, "PATCH", "/api/settings", {"decision.window": 4}, If_Match="0")
    assert stale.status == 409 and "changed meanwhile" in stale.json()["error"]
    assert _send(site, "POST", "/api/settings/undo").json()["changed"]
    assert file.read_text() == before
    assert _key(site, "decision", "window")["value"] == 3


def test_what_the_daemon_refuses_is_taken_back(site: Client, tmp_path: Path) -> None:
    file = tmp_path / "edge.toml"
    before = file.read_bytes()
    for changes, status, text in [
        ({"decision.window": 0}, 422, "decision.window"),
        ({"decision.window": "many"}, 422, "decision.window"),
        ({"decision.window": [1]}, 422, "decision.window"),
        ({"decision.window": 1e999}, 422, "finite"),
        ({"exec.command": ["rm"]}, 409, "exec.command"),
        ({"http.port": 1}, 409, "http.port"),
        ({"camera.source": "/etc/passwd"}, 422, "camera.source"),
        ({"mqtt.port": 1}, 422, "mqtt.host"),
        ({"regions.door.area": [0, 0, 2, 2]}, 422, ".area"),
        ({"regions.a b.area": [0, 0, 1, 1]}, 409, "regions.a b.area"),
    ]:
        answer = _send(site, "PATCH", "/api/settings", changes)
        assert answer.status == status, (changes, answer.body)
        assert text in answer.json()["error"]
        assert file.read_bytes() == before, changes
    for body in (b"[]", b"{", b"\xff", b"null", b"{}" + b" " * (1 << 16)):
        answer = site.ask("PATCH", "/api/settings", body)
        assert answer.status in (413, 422) and answer.json()["error"]
    assert _send(site, "PATCH", "/api/settings", {}).json()["changed"] == []


def test_regions_are_replaced_and_watched(site: Client, tmp_path: Path) -> None:
    body: dict[str, Any] = {
        "camera": "camera",
        "regions": [
            {"name": "left", "area": [0, 0, 0.5, 1], "labels": ["cat", "no such label"]},
            {"name": "right", "area": [0.5, 0, 0.5, 1]},
        ],
    }
    assert _send(site, "PUT", "/api/regions", body).json()["applied"] == ["regions"]

    def shown() -> dict[str, Any]:
        regions = site.ask("GET", "/api/status").json()["cameras"][0]["regions"]
        return {each["name"]: each for each in regions}

    site.process.until(lambda: all(each["age_s"] is not None for each in shown().values()))
    assert shown()["left"]["area"] == [0, 0, 0.5, 1]
    assert shown()["left"]["labels"] == ["cat", "no such label"]
    assert shown()["right"]["stage_ms"]["hash"] > 0
    site.process.until(lambda: site.ask("GET", "/readyz").status == 200)
    del body["regions"][0]
    body["regions"][0]["area"] = [0.25, 0.25, 0.5, 0.5]
    assert _send(site, "PUT", "/api/regions", body).json()["changed"]
    assert list(shown()) == ["right"]
    assert "left" not in (tmp_path / "edge.toml").read_text()
    body["regions"] = []
    assert _send(site, "PUT", "/api/regions", body).status == 200
    assert next(iter(shown().values()))["name"] is None
    for wrong in (
        {"camera": "attic", "regions": []},
        {"camera": "camera"},
        {"camera": 1, "regions": []},
        {"camera": "camera", "regions": [{"name": "a", "area": [0, 0, 1]}]},
        {"camera": "camera", "regions": [{"name": "a", "area": [0, 0, True, 1]}]},
        {"camera": "camera", "regions": [{"name": "a", "area": [0.5, 0, 0.6, 1]}]},
        {"camera": "camera", "regions": [{"name": "a", "area": [0, 0, 1, 1], "labels": [1]}]},
        {"camera": "camera", "regions": [{"name": "a.b", "area": [0, 0, 1, 1]}]},
        {"camera": "camera", "regions": [{"name": "a", "area": [0, 0, 1, 1]}] * 2},
        {"camera": "camera", "regions": [{"name": f"a{n}", "area": []} for n in range(99)]},
    ):
        answer = _send(site, "PUT", "/api/regions", wrong)
        assert answer.status in (409, 422), (wrong, answer.body)
        assert "\n" not in answer.json()["error"]


class _Hook(BaseHTTPRequestHandler):
    bodies: ClassVar[list[dict[str, Any]]] = []
    status: ClassVar[int] = 200

    def do_POST(self) -> None:
        self.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_a_sink_is_tested_with_a_marked_event(tmp_path: Path, film: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hook)
    Thread(target=server.serve_forever, daemon=True).start()
    hook = f'[webhook]\nurl = "http://127.0.0.1:{server.server_port}/"\n'
    process = start(tmp_path, film, hook)
    try:
        site = Client(process)
        answer = _send(site, "POST", "/api/sinks/webhook/test").json()
        assert answer["delivered"] and answer["error"] is None
        assert [body["kind"] for body in _Hook.bodies] == ["test"]
        _Hook.status = 403
        answer = _send(site, "POST", "/api/sinks/webhook/test").json()
        assert not answer["delivered"] and "403" in answer["error"]
        assert _send(site, "POST", "/api/sinks/json/test").json()["delivered"]
        process.until_event("test", "test")
        for name in ("mqtt", "..", "%00"):
            assert _send(site, "POST", f"/api/sinks/{name}/test").status == 404
        sinks = site.ask("GET", "/api/status").json()["sinks"]
        assert sinks["webhook"]["published"] == sinks["webhook"]["failed"] == 0
    finally:
        process.end()
        server.shutdown()
        server.server_close()


def test_cameras_and_previews(site: Client) -> None:
    cameras = site.ask("GET", "/api/cameras/available").json()["cameras"]
    assert isinstance(cameras, list)
    for source in (
        *("http://127.0.0.1:1/", "rtsp://host/", "/etc/passwd", "..", "", "picamera2", "999"),
        *("%2Fdev%2Fvideo99", "/dev/v4l/by-id/none", "/dev/null"),
    ):
        answer = site.ask("GET", f"/api/cameras/preview?source={source}")
        assert answer.status in (422, 500), (source, answer.status)
        assert answer.json()["error"]
    crossing = site.ask("GET", "/api/cameras/preview?source=0", Sec_Fetch_Site="cross-site")
    assert crossing.status == 403


def test_only_an_owner_sees_and_changes_settings(tmp_path: Path, film: Path) -> None:
    write_secret(tmp_path / "token", TOKEN)
    write_secret(tmp_path / "reader", READER)
    process = start(
        tmp_path, film, http='port = 0\ntoken_file = "token"\nreader_token_file = "reader"'
    )
    try:
        site = Client(process)
        for method, path in (
            *(("GET", "/api/settings"), ("PATCH", "/api/settings"), ("PUT", "/api/regions")),
            *(("POST", "/api/settings/undo"), ("POST", "/api/sinks/json/test")),
            *(("GET", "/api/cameras/available"), ("GET", "/api/cameras/preview?source=0")),
        ):
            assert site.ask(method, path).status == 401
            reader = {"Authorization": f"Bearer {READER}"}
            assert site.ask(method, path, **reader).status == 403
        owner = {"Authorization": f"Bearer {TOKEN}"}
        assert site.ask("GET", "/api/settings", **owner).status == 200
    finally:
        process.end()


def test_without_a_file_the_page_says_how_to_get_one(tmp_path: Path, film: Path) -> None:
    from tests.support.service import Process

    process = Process(
        *("--camera", film, "--gallery", tmp_path / "g.sqlite", "--http", 0, "--json", "--window"),
        3,
    )
    try:
        site = Client(process)
        settings = site.ask("GET", "/api/settings").json()
        assert not settings["writable"] and "--config" in settings["fault"]
        assert settings["file"] is None and settings["tables"]
        answer = _send(site, "PATCH", "/api/settings", {"decision.window": 7})
        assert answer.status == 409 and "--config" in answer.json()["remedy"]
        assert _send(site, "POST", "/api/settings/undo").status == 409
    finally:
        process.end()


def test_mode_and_undo_after_a_restart(tmp_path: Path, film: Path) -> None:
    process = start(tmp_path, film, SETTINGS)
    file = tmp_path / "edge.toml"
    file.chmod(0o640)
    before = file.read_text()
    assert _send(Client(process), "PATCH", "/api/settings", {"board.name": "attic"}).json()[
        "need_restart"
    ] == ["board"]
    process.end()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    from tests.support.service import Process

    process = Process("--config", file)
    try:
        site = Client(process)
        assert site.ask("GET", "/api/status").json()["board"]["name"] == "attic"
        assert _send(site, "POST", "/api/settings/undo").status == 200
        assert file.read_text() == before
    finally:
        process.end()
