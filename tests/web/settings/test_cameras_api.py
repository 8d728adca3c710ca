"""Cameras are added, renamed and removed; the history and the inbox are turned on and off."""

from __future__ import annotations

import json
import sqlite3
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.web import Answer, Client, start

MORE = """
[regions.shelf]   # the upper one
area = [0, 0, 0.5, 0.5]
"""
AWAY = "rtsp://192.0.2.1/film"
"""An address where nothing is."""


@pytest.fixture
def site(tmp_path: Path, film: Path) -> Iterator[Client]:
    process = start(tmp_path, film, MORE, "port = 0\nrequests_per_minute = 100000")
    client = Client(process)
    client.until_ready()
    yield client
    process.end()


def _send(site: Client, method: str, path: str, body: Any = None) -> Answer:
    data = b"" if body is None else json.dumps(body).encode()
    return site.ask(method, path, data, Content_Type="application/json")


def _cameras(site: Client) -> dict[str, list[str | None]]:
    """Return the names of the cameras that are watched, with those of their regions."""
    cameras = site.ask("GET", "/api/status").json()["cameras"]
    return {one["name"]: [region["name"] for region in one["regions"]] for one in cameras}


def test_the_plain_table_becomes_one_of_several(site: Client, tmp_path: Path) -> None:
    file = tmp_path / "edge.toml"
    before = file.read_text().replace("[camera]\n", "[camera]   # on the shelf\n")
    file.write_text(before)
    answer = _send(site, "POST", "/api/cameras", {"name": "door", "source": AWAY})
    assert answer.status == 200, answer.body
    assert {"cameras", "camera"} & set(answer.json()["applied"])
    assert answer.json()["need_restart"] == []
    text = file.read_text()
    assert "[cameras.camera]   # on the shelf\n" in text
    assert "[regions.shelf]   # the upper one\n" in text
    tables = tomllib.loads(text)
    assert "camera" not in tables
    assert tables["cameras"]["door"] == {"source": AWAY}
    assert tables["regions"]["shelf"]["camera"] == "camera"
    site.process.until(lambda: _cameras(site) == {"camera": ["shelf"], "door": [None]})
    answer = _send(site, "POST", "/api/cameras/camera/rename", {"to": "desk"})
    assert answer.status == 200, answer.body
    assert "[cameras.desk]   # on the shelf\n" in file.read_text()
    site.process.until(lambda: _cameras(site) == {"desk": ["shelf"], "door": [None]})
    assert _send(site, "POST", "/api/settings/undo").status == 200
    assert file.read_text() == text
    assert _send(site, "DELETE", "/api/cameras/camera").status == 200
    assert tomllib.loads(file.read_text()).keys() & {"camera", "cameras", "regions"} == {"cameras"}
    site.process.until(lambda: _cameras(site) == {"door": [None]})
    assert _send(site, "POST", "/api/settings/undo").status == 200
    assert file.read_text() == text


def test_the_only_camera_is_renamed_and_the_change_undone(site: Client, tmp_path: Path) -> None:
    file = tmp_path / "edge.toml"
    before = file.read_bytes()
    assert _send(site, "POST", "/api/cameras/camera/rename", {"to": "desk"}).status == 200
    site.process.until(lambda: _cameras(site) == {"desk": ["shelf"]})
    site.process.until(lambda: site.ask("GET", "/readyz").status == 200)
    assert _send(site, "POST", "/api/settings/undo").status == 200
    assert file.read_bytes() == before
    site.process.until(lambda: _cameras(site) == {"camera": ["shelf"]})


def test_what_cannot_be_a_camera_changes_nothing(site: Client, tmp_path: Path) -> None:
    file = tmp_path / "edge.toml"
    before = file.read_bytes()
    new = "/api/cameras"
    for method, path, body, status in [
        ("POST", new, {"name": "camera", "source": "0"}, 422),
        ("POST", new, {"name": "a b", "source": "0"}, 422),
        ("POST", new, {"name": "", "source": "0"}, 422),
        ("POST", new, {"name": "x" * 33, "source": "0"}, 422),
        ("POST", new, {"name": "door", "source": "/etc/passwd"}, 422),
        ("POST", new, {"name": "door", "source": "http://127.0.0.1/"}, 422),
        ("POST", new, {"name": "door"}, 422),
        ("POST", new, {"name": 7, "source": "0"}, 422),
        ("POST", f"{new}/none/rename", {"to": "x"}, 422),
        ("POST", f"{new}/camera/rename", {"to": "camera"}, 422),
        ("POST", f"{new}/camera/rename", {"to": "../x"}, 422),
        ("DELETE", f"{new}/camera", None, 422),
        ("DELETE", f"{new}/none", None, 422),
        ("DELETE", "/api/stored/gallery", None, 422),
    ]:
        answer = _send(site, method, path, body)
        assert answer.status == status, (path, body, answer.body)
        assert answer.json()["error"]
        assert file.read_bytes() == before, (path, body)
    stale = site.ask("DELETE", f"{new}/camera", b"", If_Match="0")
    assert stale.status in (409, 422)


def test_a_camera_of_the_command_line_stays_as_it_is(tmp_path: Path, film: Path) -> None:
    from tests.support.service import Process

    config = tmp_path / "edge.toml"
    config.write_text('gallery.path = "g.sqlite"\n[http]\nport = 0\n')
    process = Process("--config", config, "--camera", film)
    try:
        client = Client(process)
        client.until_ready()
        answer = _send(client, "POST", "/api/cameras", {"name": "door", "source": AWAY})
        assert answer.status == 409
        assert "command line" in answer.json()["error"]
        assert "cameras" not in config.read_text()
    finally:
        process.end()


def _stored(site: Client, table: str) -> int:
    return int(site.ask("GET", "/api/settings").json()["stored_bytes"][table])


def test_the_history_is_turned_on_and_off_and_deleted(site: Client, tmp_path: Path) -> None:
    file = tmp_path / "g.history.sqlite"
    assert _stored(site, "history") == 0
    assert not site.ask("GET", "/api/history").json()["enabled"]
    answer = _send(site, "PATCH", "/api/settings", {"history.days": 3.0}).json()
    assert (answer["applied"], answer["need_restart"]) == (["history"], [])
    assert site.ask("GET", "/api/history").json()["enabled"]
    assert _send(site, "POST", "/api/labels/cat/frame").status == 201
    site.process.until(lambda: site.ask("GET", "/api/history").json()["events"])
    assert _stored(site, "history") > 0
    refused = _send(site, "DELETE", "/api/stored/history")
    assert refused.status == 409
    assert "turn it off first" in refused.json()["remedy"]
    answer = _send(site, "PATCH", "/api/settings", {"history": None}).json()
    assert (answer["applied"], answer["need_restart"]) == (["history"], [])
    assert site.ask("GET", "/api/history").json() == {
        "enabled": False,
        "fault": None,
        "events": [],
        "more": False,
    }
    assert site.ask("GET", "/api/history.csv").status == 404
    assert _send(site, "DELETE", "/api/labels/cat").status == 200  # an event that nobody records
    site.process.until_event("leave", "cat")
    assert file.exists()
    assert _send(site, "DELETE", "/api/stored/history").json()["history"] == 0
    assert list(tmp_path.glob("g.history.sqlite*")) == []
    # Off means off, also for what comes later; and it can be turned on again.
    assert _send(site, "POST", "/api/labels/cat/frame").status == 201
    site.process.until(lambda: (site.region()["recognition"] or {}).get("label") == "cat")
    assert not file.exists()
    assert _send(site, "POST", "/api/settings/undo").json()["applied"] == ["history"]
    assert _send(site, "DELETE", "/api/labels/cat").status == 200
    site.process.until(lambda: site.ask("GET", "/api/history").json()["events"])
    (event,) = site.ask("GET", "/api/history").json()["events"]
    assert event["kind"] == "leave"


def test_the_inbox_is_turned_on_and_off_and_deleted(site: Client, tmp_path: Path) -> None:
    assert site.ask("GET", "/api/status").json()["unknowns"] is None
    answer = _send(site, "PATCH", "/api/settings", {"unknowns.least": 1}).json()
    assert (answer["applied"], answer["need_restart"]) == (["unknowns"], [])
    assert site.ask("GET", "/api/unknowns").json()["enabled"]
    site.process.until(lambda: _stored(site, "unknowns") > 0)
    assert site.ask("GET", "/api/status").json()["unknowns"] is not None
    assert _send(site, "PATCH", "/api/settings", {"unknowns": None}).json()["need_restart"] == []
    assert not site.ask("GET", "/api/unknowns").json()["enabled"]
    assert site.ask("GET", "/api/status").json()["unknowns"] is None
    assert _send(site, "DELETE", "/api/stored/unknowns").json()["unknowns"] == 0
    assert list(tmp_path.glob("g.unknowns.sqlite*")) == []


def test_what_was_stored_before_a_restart_can_be_deleted(tmp_path: Path, film: Path) -> None:
    process = start(tmp_path, film, "[history]\n[unknowns]\n")
    Client(process).until_ready()
    process.until(
        lambda: (
            len(list(tmp_path.glob("g.*s.sqlite*"))) and (tmp_path / "g.history.sqlite").exists()
        )
    )
    process.child.kill()
    process.end()
    process = start(tmp_path, film)
    try:
        site = Client(process)
        site.until_ready()
        assert _stored(site, "history") > 0
        for table in ("history", "unknowns"):
            assert _send(site, "DELETE", f"/api/stored/{table}").json()[table] == 0
        assert list(tmp_path.glob("g.history.sqlite*")) == []
        with sqlite3.connect(tmp_path / "g.history.sqlite") as other:  # of another program
            other.execute("CREATE TABLE theirs (a)")
        other.close()
        assert _send(site, "DELETE", "/api/stored/history").status == 507
        assert (tmp_path / "g.history.sqlite").exists()
    finally:
        process.end()
