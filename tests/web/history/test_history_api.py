"""The history over real HTTP: events of a real daemon, filters, downloads, corrections."""

from __future__ import annotations

import csv
import io
import json
import signal
import stat
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.support.web import HTML, READER, TOKEN, Client, encoded, start, write_secret
from tests.unknowns.things import before_wall, write_film

FILE = "g.history.sqlite"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "things.mp4"
    return write_film(path, ("chelsea.png", "", "coffee.png", ""), 1.2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="module")
def site(folder: Path, film: Path) -> Iterator[Client]:
    http = "port = 0\nrequests_per_minute = 100000"
    process = start(folder, film, "[history]\nsnapshot_side = 320", http)
    client = Client(process)
    client.until_ready()
    for label, photo in (("cat", "chelsea.png"), (HTML, "coffee.png")):
        enroll(client, label, photo)
    yield client
    process.end()
    assert process.child.returncode == 0
    assert "Traceback" not in "".join(process.log_lines)


def enroll(site: Client, label: str, photo: str) -> None:
    path = f"/api/labels/{urllib.parse.quote(label, safe='')}"
    body = encoded(before_wall(photo))
    assert site.ask("POST", path, body, Content_Type="image/jpeg").status == 201


def listed(site: Client, **wanted: object) -> list[dict[str, Any]]:
    answer = site.ask("GET", f"/api/history?{urllib.parse.urlencode(wanted)}")
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = answer.json()["events"]
    return found


def until_listed(site: Client, count: int = 1, **wanted: object) -> list[dict[str, Any]]:
    site.process.until(lambda: len(listed(site, **wanted)) >= count, 60)
    return listed(site, **wanted)


def wrong(site: Client, event: str, label: str | None) -> Any:
    body = json.dumps({"label": label}).encode()
    answer = site.ask("POST", f"/api/history/{event}/wrong", body)
    assert answer.status == 200, answer.body
    return answer.json()


def test_events_are_listed_with_what_was_seen(site: Client, folder: Path) -> None:
    entered = until_listed(site, 2, kind="enter")[-1]
    sent = site.process.until_event(entered["kind"], entered["label"])
    assert {name: entered[name] for name in sent} == sent
    assert (entered["snapshot"], entered["wrong"]) == (True, None)
    answer = site.ask("GET", f"/api/history/{entered['id']}/snapshot")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "image/jpeg")
    assert "private" in answer.headers["Cache-Control"]
    shown = cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None
    assert shown.shape == (240, 320, 3)
    photo = "chelsea.png" if entered["label"] == "cat" else "coffee.png"
    truth = cv2.resize(before_wall(photo), (320, 240), interpolation=cv2.INTER_AREA)
    assert np.abs(shown.astype(int) - truth).mean() < 12
    assert stat.S_IMODE((folder / FILE).stat().st_mode) == 0o600


def test_filters_and_pages(site: Client) -> None:
    everything = until_listed(site, 6)
    assert {event["label"] for event in listed(site, label=HTML)} <= {HTML}
    assert {event["kind"] for event in listed(site, kind="leave")} == {"leave"}
    assert listed(site, label="nobody") == listed(site, camera="other") == []
    assert listed(site, day=everything[-1]["time"][:10])
    assert listed(site, day="1999-01-01") == []
    page = site.ask("GET", "/api/history?limit=2").json()
    assert page["more"] and len(page["events"]) == 2
    older = listed(site, limit=2, before=page["events"][-1]["id"])
    ids = [event["id"] for event in [*page["events"], *older]]
    newest = [event["id"] for event in listed(site)]
    start_at = newest.index(ids[0])
    assert newest[start_at : start_at + 4] == ids
    days = site.ask("GET", "/api/history/days").json()
    assert days[0]["labels"]["cat"] >= 1
    assert "edge_history_events" in site.ask("GET", "/metrics").body.decode()


def test_downloads(site: Client) -> None:
    until_listed(site, 4)
    answer = site.ask("GET", "/api/history.csv")
    assert answer.headers["Content-Type"].startswith("text/csv")
    assert 'filename="history.csv"' in answer.headers["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
    answer = site.ask("GET", "/api/history.json?kind=enter")
    events = answer.json()["events"]
    assert {event["kind"] for event in events} == {"enter"}
    assert {row["id"] for row in rows if row["kind"] == "enter"} <= {one["id"] for one in events}
    assert site.ask("GET", "/api/history.json?label=nobody").json() == {"events": []}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/history?limit=0", 422),
        ("/api/history?limit=99999999999999999999", 422),
        ("/api/history?limit=%C2%B2", 422),
        ("/api/history?kind=ENTER", 422),
        ("/api/history?day=2026-1-1", 422),
        ("/api/history?day=%D9%A2026-01-01", 422),
        ("/api/history?day=2026-01-01%00", 422),
        ("/api/history?before=%27%20OR%201", 422),
        ("/api/history?before=ff", 200),
        ("/api/history?label=%27%3B%20DROP%20TABLE%20event%3B--", 200),
        ("/api/history?label=%00", 200),
        ("/api/history?label=%ED%A0%80%FF", 200),
        ("/api/history?camera=" + "x" * 3000, 200),
        ("/api/history.csv?kind=x", 422),
        ("/api/history/ff/snapshot", 404),
        ("/api/history/%FF/snapshot", 404),
        ("/api/history/..%2F..%2Fg.sqlite/snapshot", 404),
        ("/api/history/" + "f" * 41 + "/snapshot", 404),
    ],
)
def test_bad_requests_get_one_line(site: Client, path: str, status: int) -> None:
    answer = site.ask("GET", path)
    assert answer.status == status, answer.body
    if status != 200:
        assert answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"label": 3}', 422),
        (b'{"label": ""}', 422),
        (b'{"label": "a/b"}', 422),
        (b'{"label": "' + b"x" * 129 + b'"}', 422),
        (b'{"label": null, "more": 1}', 422),
        (b'{"label": "\\ud800"}', 422),
        (b'{"label": null}' + b" " * 5000, 413),
    ],
)
def test_bad_corrections_change_nothing(site: Client, body: bytes, status: int) -> None:
    event = until_listed(site, kind="enter")[-1]
    before = site.ask("GET", "/api/labels").json()
    answer = site.ask("POST", f"/api/history/{event['id']}/wrong", body)
    assert answer.status == status, answer.body
    assert site.ask("GET", "/api/labels").json() == before
    assert listed(site, kind="enter", limit=200)[-1]["wrong"] is None


def test_corrections_that_make_no_sense(site: Client) -> None:
    left = until_listed(site, kind="leave")[-1]
    entered = until_listed(site, kind="enter", label="cat")[-1]
    for event, label in ((left, "cat"), (entered, "cat")):
        body = json.dumps({"label": label}).encode()
        assert site.ask("POST", f"/api/history/{event['id']}/wrong", body).status == 422
    assert site.ask("POST", "/api/history/ff/wrong", b'{"label": null}').status == 404
    assert site.ask("DELETE", "/api/history/ff/wrong").status == 404


def _labels(site: Client) -> dict[str, int]:
    labels = site.ask("GET", "/api/labels").json()["labels"]
    return {each["label"]: each["pictures"] for each in labels}


def _answer(site: Client, photo: str) -> str | None:
    answer = site.ask("POST", "/api/query", encoded(before_wall(photo)), Content_Type="image/jpeg")
    label: str | None = answer.json()["label"]
    return label


def test_a_wrong_name_is_learned_and_taken_back(site: Client) -> None:
    """The cup was enrolled under a wrong name."""
    event = until_listed(site, kind="enter", label=HTML)[0]["id"]
    assert (_answer(site, "coffee.png"), _answer(site, "chelsea.png")) == (HTML, "cat")
    before = _labels(site)
    done = wrong(site, event, None)
    assert (done["pictures_added"], done["answer"]) == (1, {"label": None})
    assert _labels(site) == {**before, "unknown": 1}
    assert (_answer(site, "coffee.png"), _answer(site, "chelsea.png")) == (None, "cat")
    again = wrong(site, event, None)
    assert (again["pictures_added"], again["pictures_removed"]) == (0, 0)
    # The live view follows: the cat comes and goes, and the cup has no name any more.
    newest = listed(site)[0]["id"]
    site.process.until(
        lambda: sum(one["id"] > newest and one["label"] == "cat" for one in listed(site)) >= 3, 60
    )
    entered = [one for one in listed(site, kind="enter", label=HTML) if one["id"] > newest]
    assert len(entered) <= 1  # one may have been under way
    assert listed(site, kind="enter", label=HTML)[len(entered)]["wrong"] == {"label": None}
    done = wrong(site, event, "cup")
    assert (done["pictures_added"], done["pictures_removed"]) == (1, 1)
    assert _labels(site) == {**before, "cup": 1}
    assert _answer(site, "chelsea.png") == "cat"
    back = site.ask("DELETE", f"/api/history/{event}/wrong").json()
    assert (back["wrong"], back["pictures_removed"]) == (None, 1)
    assert _labels(site) == before
    assert _answer(site, "coffee.png") == HTML


def test_a_reader_sees_no_pictures_of_the_past(tmp_path: Path, film: Path) -> None:
    write_secret(tmp_path / "token", TOKEN)
    write_secret(tmp_path / "reader", READER)
    http = 'port = 0\ntoken_file = "token"\nreader_token_file = "reader"'
    process = start(tmp_path, film, "[history]\nsnapshots = false", http)
    site = Client(process)
    owner, reader = (f"Bearer {token}" for token in (TOKEN, READER))
    body = encoded(before_wall("chelsea.png"))
    done = site.ask("POST", "/api/labels/cat", body, Content_Type="image/jpeg", Authorization=owner)
    assert done.status == 201
    site.process.until(
        lambda: site.ask("GET", "/api/history", Authorization=reader).json()["events"], 60
    )
    event = site.ask("GET", "/api/history?kind=enter", Authorization=reader).json()["events"][0]
    assert event["snapshot"] is False
    one = f"/api/history/{event['id']}"
    for method, path, status in (
        ("GET", "/api/history/days", 200),
        ("GET", "/api/history.csv", 200),
        ("GET", "/api/history.json", 200),
        ("GET", f"{one}/snapshot", 403),
        ("POST", f"{one}/wrong", 403),
        ("DELETE", f"{one}/wrong", 403),
    ):
        assert site.ask(method, path, Authorization=reader).status == status, path
        assert site.ask(method, path).status == 401
    # Without a snapshot an event can be marked, but nothing is learned.
    answer = site.ask("POST", f"{one}/wrong", b'{"label": null}', Authorization=owner).json()
    assert (answer["pictures_added"], answer["answer"]) == (0, None)
    config = tmp_path / "edge.toml"
    config.write_text(config.read_text().replace("snapshots = false", "snapshots = true"))
    process.child.send_signal(signal.SIGHUP)
    process.until_logged("reloaded: history")
    process.until(
        lambda: site.ask("GET", "/api/history", Authorization=reader).json()["events"][0][
            "snapshot"
        ],
        60,
    )
    process.end()
    assert process.child.returncode == 0


def test_without_the_table_nothing_is_written(tmp_path: Path, film: Path) -> None:
    process = start(tmp_path, film)
    site = Client(process)
    enroll(site, "cat", "chelsea.png")
    process.until_event("enter", "cat")
    assert site.ask("GET", "/api/history").json() == {
        "enabled": False,
        "fault": None,
        "events": [],
        "more": False,
    }
    assert site.ask("GET", "/api/history/days").json() == []
    for path in ("/api/history.csv", "/api/history.json", "/api/history/ff/snapshot"):
        assert site.ask("GET", path).status == 404
    assert site.ask("POST", "/api/history/ff/wrong", b'{"label": null}').status == 404
    assert not list(tmp_path.glob("*history*"))
    config = tmp_path / "edge.toml"
    config.write_text(f"{config.read_text()}\n[history]\n")
    process.child.send_signal(signal.SIGHUP)
    process.until_logged("reloaded: history")
    process.until(lambda: site.ask("GET", "/api/history").json()["enabled"])
    process.end()
    assert list(tmp_path.glob("*history*"))
