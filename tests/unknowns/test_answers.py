"""From a film to a name: what comes again is in the inbox, is named, and is recognized."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.web import Answer, Client, start
from tests.unknowns.things import AT_ONCE, LIMIT_S, TWICE, groups, showing, write_film


@pytest.fixture(scope="module")
def wall(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of a cat and a cup that come and go."""
    path = tmp_path_factory.mktemp("film") / "wall.mp4"
    return write_film(path, ("", "chelsea.png", "coffee.png"), 2.6)


def _post(site: Client, what: str, **body: object) -> Answer:
    data = json.dumps(body).encode()
    return site.ask("POST", f"/api/unknowns/{what}", data, Content_Type="application/json")


@pytest.fixture
def site(tmp_path: Path, wall: Path) -> Iterator[Client]:
    process = start(tmp_path, wall, AT_ONCE)
    client = Client(process)
    yield client
    process.end()
    assert "Traceback" not in "".join(process.log_lines)


def test_a_thing_is_named_and_recognized(site: Client) -> None:
    cat = site.process.until(showing(site, "chelsea.png"), LIMIT_S)
    assert cat["nearest"] is None  # nothing is enrolled
    assert site.ask("GET", "/api/status").json()["unknowns"] >= 1
    answer = _post(site, "name", groups=[cat["id"]], label="the cat")
    assert answer.status == 200, answer.body
    assert answer.json()["pictures_added"] == len(cat["pictures"]) == len(answer.json()["pictures"])
    site.process.until_event("enter", "the cat")
    assert cat["id"] not in [group["id"] for group in groups(site)]
    assert _post(site, "name", groups=[cat["id"]], label="the cat").status == 404
    # The cup stays unknown. It joins an existing label.
    cup = site.process.until(showing(site, "coffee.png"), LIMIT_S)
    assert _post(site, "name", pictures=[cup["pictures"][0]["id"]], label="the cat").status == 200
    labels = site.ask("GET", "/api/labels").json()["labels"]
    assert [(one["label"], one["pictures"]) for one in labels] == [("the cat", 2)]


def test_a_damaged_file_is_replaced_and_bad_requests_are_refused(
    tmp_path: Path, wall: Path
) -> None:
    (tmp_path / "g.unknowns.sqlite").write_bytes(b"not a database" * 1000)
    process = start(tmp_path, wall, TWICE)
    try:
        process.until_logged("a new one begins")
        _send_bad_requests(Client(process))
    finally:
        process.end()
    assert (tmp_path / "g.unknowns.sqlite.damaged-1").exists()
    assert "Traceback" not in "".join(process.log_lines)


def _send_bad_requests(site: Client) -> None:
    for body in ({}, {"groups": "1"}, {"groups": [True]}, {"groups": [0]}, {"other": [1]}):
        assert _post(site, "dismiss", **body).status == 422, body
        assert _post(site, "name", label="x", **body).status == 422, body
    assert _post(site, "name", groups=[1]).status == 422
    assert _post(site, "name", groups=[1], label="a/b\n").status == 422
    assert _post(site, "name", groups=[10**9], label="x").status == 404
    assert _post(site, "dismiss", pictures=[10**9]).status == 404
    for number in ("0", "x", "9" * 30):
        assert site.ask("GET", f"/api/unknowns/pictures/{number}").status == 404
    assert site.ask("GET", "/api/labels").json()["labels"] == []


def test_without_the_table_nothing_is_kept(tmp_path: Path, wall: Path) -> None:
    process = start(tmp_path, wall)
    try:
        site = Client(process)
        site.until_ready()
        nothing = {"enabled": False, "groups": [], "pictures": 0, "bytes": 0}
        assert site.ask("GET", "/api/unknowns").json() == nothing
        assert _post(site, "name", groups=[1], label="x").status == 404
        assert site.ask("GET", "/api/status").json()["unknowns"] is None
    finally:
        process.end()
    assert not list(tmp_path.glob("*unknowns*"))


@pytest.mark.slow
def test_an_unusable_file_is_reported_once_and_recognition_goes_on(
    tmp_path: Path, wall: Path
) -> None:
    (tmp_path / "g.unknowns.sqlite").mkdir()
    process = start(tmp_path, wall, TWICE)
    try:
        site = Client(process)
        site.until_ready()
        process.until_logged("the inbox of unknown things: ")
        assert site.ask("GET", "/api/unknowns").status == 507
        assert site.ask("POST", "/api/labels/wall/frame").status == 201
        process.until_event("enter", "wall")
        assert "".join(process.log_lines).count("the inbox of unknown things: ") == 1
    finally:
        process.end()


@pytest.mark.slow
def test_what_was_seen_and_named_survives_kill_9(tmp_path: Path, wall: Path) -> None:
    process = start(tmp_path, wall, TWICE)
    site = Client(process)
    cat = process.until(showing(site, "chelsea.png"), LIMIT_S)
    assert cat["count"] >= 2
    wanted = {group["id"]: len(group["pictures"]) for group in groups(site)}
    process.end(signal.SIGKILL)
    process = start(tmp_path, wall, TWICE)
    site = Client(process)
    found = {group["id"]: len(group["pictures"]) for group in groups(site)}
    assert all(found[key] >= count for key, count in wanted.items())
    assert _post(site, "name", groups=[cat["id"]], label="cat").status == 200
    process.end(signal.SIGKILL)
    process = start(tmp_path, wall, TWICE)
    try:
        site = Client(process)
        process.until_event("enter", "cat")
        assert cat["id"] not in [group["id"] for group in groups(site)]
        # The wall is not a thing, and stays away.
        empty = process.until(showing(site, ""), LIMIT_S)
        assert _post(site, "dismiss", groups=[empty["id"]]).json() == {"groups": 1, "pictures": 0}
        frames = site.ask("GET", "/api/status").json()["frames"]
        process.until(lambda: site.ask("GET", "/api/status").json()["frames"] > frames + 60)
        assert showing(site, "")() is None
    finally:
        process.end()
