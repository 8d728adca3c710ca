"""The OpenAPI document lists exactly the fields that the API returns."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest

from edge_runtime.image import Image
from tests.support.web import Answer, Client, check_answer, encoded, start

pytest.importorskip("jsonschema_rs")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, cat: Image) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("site")
    film = folder / "cat.mp4"
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter.fourcc(*"mp4v"), 20, (640, 480))
    for _ in range(20):
        writer.write(np.asarray(cv2.resize(cat, (640, 480)), np.uint8))
    writer.release()
    process = start(
        folder,
        film,
        "[unknowns]\nleast = 1\n[history]",
        http="port = 0\nrequests_per_minute = 100000",
    )
    client = Client(process)
    client.until_ready()
    yield client
    process.end()


@pytest.fixture(scope="module")
def document(site: Client) -> Any:
    return site.ask("GET", "/openapi.json").json()


def _objects(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for value in schema.values():
            yield from _objects(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _objects(value)


def test_answers_have_exactly_the_documented_fields(
    site: Client, document: Any, cat: Image
) -> None:
    photo = encoded(cat)
    checked: set[tuple[str, str]] = set()

    def check(
        method: str,
        path: str,
        status: int,
        body: bytes | None = None,
        *,
        query: str = "",
        identity: str = "0",
    ) -> Answer:
        url = path.replace("{label}", "cat").replace("{id}", identity).replace("{name}", "json")
        url += query
        answer = site.ask(method, url, body, Content_Type="image/jpeg")
        assert answer.status == status, answer.body
        check_answer(document, method, path, status, answer.json())
        checked.add((method.lower(), path))
        return answer

    check("GET", "/api/pictures/{id}", 404)
    site.process.until(lambda: site.ask("GET", "/api/unknowns").json()["groups"])
    (group,) = check("GET", "/api/unknowns", 200).json()["groups"]
    chosen = json.dumps({"groups": [group["id"]]}).encode()
    named = json.dumps({"groups": [group["id"]], "label": "tom"}).encode()
    check("GET", "/api/unknowns/pictures/{id}", 404)
    check("POST", "/api/unknowns/name", 422, chosen)
    check("POST", "/api/unknowns/name", 200, named)
    check("POST", "/api/unknowns/dismiss", 404, chosen)
    check("POST", "/api/unknowns/dismiss", 422, b"{}")
    site.ask("DELETE", "/api/labels/tom")
    check("GET", "/api/labels/{label}/photo", 404)
    check("POST", "/api/labels/{label}", 201, photo)
    check("POST", "/api/labels/{label}", 200, photo)
    check("POST", "/api/labels/{label}", 422, b"not an image")
    check("POST", "/api/labels/{label}/frame", 201)
    again = check("POST", "/api/labels/{label}/frame", 201, query="?careful=1").json()
    assert again["fault"] is None
    ids = ",".join(map(str, again["pictures"]))
    check("DELETE", "/api/pictures", 200, query=f"?ids={ids}")
    check("DELETE", "/api/pictures", 404, query=f"?ids={ids}")
    check("DELETE", "/api/pictures", 422)
    assert check("GET", "/api/look", 200).json()["hint"] is None
    assert check("GET", "/api/labels", 200).json()["labels"] == [
        {"label": "cat", "pictures": 2, "codes": 12}
    ]
    advice = check("GET", "/api/advice", 200).json()
    assert advice["few"][0]["label"] == "cat"
    assert advice["repeated"] or advice["accuracy"]
    site.process.until_event("enter", "cat")
    assert check("GET", "/api/events", 200).json()["events"]
    site.process.until(lambda: site.ask("GET", "/api/history?kind=enter").json()["events"])
    event = check("GET", "/api/history", 200, query="?kind=enter").json()["events"][0]["id"]
    check("GET", "/api/history", 422, query="?kind=other")
    check("GET", "/api/history/days", 200)
    check("GET", "/api/history.json", 200, query="?label=cat")
    check("GET", "/api/history.csv", 422, query="?day=yesterday")
    check("GET", "/api/history/{id}/snapshot", 404)
    check("POST", "/api/history/{id}/wrong", 404, b'{"label": null}')
    check("POST", "/api/history/{id}/wrong", 200, b'{"label": "dog"}', identity=event)
    check("DELETE", "/api/history/{id}/wrong", 200, identity=event)
    assert check("POST", "/api/query", 200, photo).json()["matches"]
    site.process.until(lambda: site.region()["recognition"])
    status = check("GET", "/api/status", 200).json()
    region = status["cameras"][0]["regions"][0]
    assert status["sinks"] and region["nearest"] and region["stage_ms"]
    check("GET", "/frame.jpg", 404, query="?camera=other")
    for path in ("/healthz", "/readyz", "/openapi.json"):
        check("GET", path, 200)
    check("GET", "/api/session", 200)
    check("POST", "/api/session", 422, b"{}")
    check("POST", "/api/session", 401, b'{"token": "wrong"}')
    check("GET", "/api/labels/{label}/pictures", 200)
    check("PUT", "/api/labels/{label}/payload", 200, b'{"payload": "{}"}')
    check("GET", "/api/labels/{label}/payload", 200)
    check("POST", "/api/labels/{label}/rename", 422, b'{"to": "cat"}')
    assert check("GET", "/api/gallery", 200).json()["previous"] is None
    backup = site.ask("GET", "/api/gallery/backup").body
    check("POST", "/api/gallery/restore/undo", 404)
    check("POST", "/api/gallery/restore", 422, backup[:999])
    assert check("POST", "/api/gallery/restore", 200, backup).json()["previous"]
    check("POST", "/api/gallery/restore/undo", 200)
    check("POST", "/api/labels/{label}/rename", 200, b'{"to": "tom"}')
    gone = check("POST", "/api/gallery/remove", 200, b'{"labels": ["tom"]}').json()
    undo = json.dumps({"undo": gone["undo"]}).encode()
    check("POST", "/api/gallery/undo", 200, undo)
    check("POST", "/api/gallery/undo", 404, undo)
    site.ask("POST", "/api/labels/tom/rename", b'{"to": "cat"}')
    assert check("GET", "/api/settings", 200).json()["tables"]
    check("PATCH", "/api/settings", 200, b'{"decision.window": 4}')
    check("PATCH", "/api/settings", 409, b'{"exec.command": ["rm"]}')
    check("POST", "/api/settings/undo", 200)
    check("PUT", "/api/regions", 200, b'{"camera": "camera", "regions": []}')
    away = b'{"name": "json", "source": "rtsp://192.0.2.1/film"}'
    check("POST", "/api/cameras", 422, b"{}")
    check("POST", "/api/cameras", 200, away)
    check("POST", "/api/cameras/{name}/rename", 200, b'{"to": "door"}')
    check("POST", "/api/settings/undo", 200)
    check("DELETE", "/api/cameras/{name}", 200)
    check("DELETE", "/api/stored/{name}", 422)
    check("POST", "/api/sinks/{name}/test", 200)
    check("GET", "/api/cameras/available", 200)
    check("GET", "/api/cameras/preview", 422)
    check("DELETE", "/api/labels/{label}", 200)
    check("DELETE", "/api/labels/{label}", 404)
    with urllib.request.urlopen(site.url + "/api/stream", timeout=20) as stream:
        data = b""
        while b"\n\n" not in data:
            data += stream.read1(65536)
    check_answer(
        document,
        "GET",
        "/api/status",
        200,
        json.loads(data.split(b"data: ", 1)[1].split(b"\n\n")[0]),
    )
    files = {("get", "/api/gallery/backup"), ("get", "/api/gallery/export")}
    without_json = {("get", "/metrics"), ("get", "/live.mjpg"), ("get", "/api/stream")} | files
    documented = {
        (method, path) for path, operations in document["paths"].items() for method in operations
    }
    assert checked == documented - without_json


def test_answers_allow_no_other_fields(document: Any) -> None:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if path == "/openapi.json":
                continue
            for schema in _objects(operation["responses"]):
                assert "additionalProperties" in schema, (method, path, schema)
                assert schema["additionalProperties"] is not True
