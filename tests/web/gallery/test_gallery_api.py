"""The gallery over real HTTP: labels, pictures, payloads, backup, restore and export."""

from __future__ import annotations

import json
import sqlite3
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.engine.fake import FakeEngine
from edge_runtime.gallery import Gallery
from edge_runtime.gallery.maintenance import verify
from edge_runtime.image import Image
from tests.support.processes import run_cli
from tests.support.service import enroll_near
from tests.support.web import HTML, READER, TOKEN, Answer, Client, encoded, start, write_secret


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="module")
def running(folder: Path, film: Path) -> Iterator[Client]:
    process = start(folder, film, http="port = 0\nrequests_per_minute = 100000\nmax_restore_mb = 2")
    client = Client(process)
    client.until_ready()
    yield client
    process.end()
    assert process.child.returncode == 0
    assert "Traceback" not in "".join(process.log_lines)
    assert _files(folder) <= {"g.sqlite", "g.sqlite.previous"}


@pytest.fixture
def site(running: Client, folder: Path) -> Client:
    """The daemon with an empty gallery."""
    if labels := _labels(running):
        _post(running, "/api/gallery/remove", {"labels": list(labels)})
    (folder / "g.sqlite.previous").unlink(missing_ok=True)
    return running


def _files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {
        "edge.toml",
        "g.sqlite-wal",
        "g.sqlite-shm",
        "g.sqlite.codes",
    }


def _path(label: str) -> str:
    return f"/api/labels/{urllib.parse.quote(label, safe='')}"


def _post(site: Client, path: str, value: object, method: str = "POST") -> Answer:
    body = json.dumps(value).encode()
    return site.ask(method, path, body, Content_Type="application/json")


def _enroll(site: Client, label: str, image: Image) -> None:
    assert site.ask("POST", _path(label), encoded(image), Content_Type="image/jpeg").status == 201


def _labels(site: Client) -> dict[str, int]:
    found = site.ask("GET", "/api/labels").json()["labels"]
    return {each["label"]: each["pictures"] for each in found}


def test_rename_and_merge(site: Client, noise: Callable[[int], Image]) -> None:
    for label, seed in (("cat", 1), ("dog", 2), (HTML.replace("/", "|"), 3)):
        _enroll(site, label, noise(seed))
    odd = HTML.replace("/", "|")
    answer = _post(site, f"{_path(odd)}/rename", {"to": " 50 % d'\u0065\u0301t\u00e9 ?#&"})
    assert (answer.status, answer.json()["label"]) == (200, "50 % d'\u00e9t\u00e9 ?#&")
    answer = _post(site, f"{_path('cat')}/rename", {"to": "dog"})
    assert answer.status == 422
    assert answer.json() == {
        "error": "dog: this label exists already",
        "remedy": "merge the two, or choose another name",
    }
    answer = _post(site, f"{_path('cat')}/rename", {"to": "dog", "merge": True})
    merged = answer.json()
    assert merged == {"label": "dog", "pictures_moved": 1, "codes_moved": 6, "undo": merged["undo"]}
    back = _post(site, "/api/gallery/undo", {"undo": merged["undo"]})
    assert back.json() == {"labels": ["cat"], "codes": 6}
    assert _labels(site)["cat"] == 1
    assert _post(site, "/api/gallery/undo", {"undo": merged["undo"]}).status == 404
    assert _post(site, f"{_path('cat')}/rename", {"to": "dog", "merge": True}).status == 200
    assert _labels(site) == {"50 % d'\u00e9t\u00e9 ?#&": 1, "dog": 2}
    assert _post(site, f"{_path('cat')}/rename", {"to": "x"}).status == 404
    for wrong in ({"to": "a/b"}, {"to": ""}, {"to": 3}, {}, {"to": "x", "merge": "yes"}):
        answer = _post(site, f"{_path('dog')}/rename", wrong)
        assert answer.status == 422, wrong
    assert _post(site, "/api/labels/a%2Fb/rename", {"to": "x"}).status == 422
    site.process.until(lambda: site.ask("GET", "/api/status").json()["gallery"]["labels"] == 2)


def test_pictures_are_listed_removed_and_put_back(
    site: Client, noise: Callable[[int], Image]
) -> None:
    for seed in range(3):
        _enroll(site, "cat", noise(10 + seed))
    _enroll(site, "dog", noise(20))
    pictures = site.ask("GET", f"{_path('cat')}/pictures").json()["pictures"]
    assert [(each["source"], each["codes"], each["kept"]) for each in pictures] == [
        ("upload", 6, True)
    ] * 3
    assert site.ask("GET", f"/api/pictures/{pictures[1]['id']}").status == 200
    before = site.ask("GET", "/api/labels").json()
    gone = _post(site, "/api/gallery/remove", {"labels": ["dog"], "pictures": [pictures[1]["id"]]})
    assert gone.json() | {"undo": ""} == {"pictures_removed": 2, "codes_removed": 12, "undo": ""}
    assert _labels(site) == {"cat": 2}
    assert _post(site, "/api/gallery/undo", {"undo": "another"}).status == 404
    back = _post(site, "/api/gallery/undo", {"undo": gone.json()["undo"]})
    assert back.json() == {"labels": ["cat", "dog"], "codes": 12}
    assert site.ask("GET", "/api/labels").json() == before
    assert site.ask("GET", f"{_path('dog')}/photo").status == 200  # its thumbnail is back
    assert _post(site, "/api/gallery/undo", {"undo": gone.json()["undo"]}).status == 404
    assert site.ask("GET", f"{_path('cow')}/pictures").status == 404
    for wrong, status in (
        ({"labels": ["dog", "cow"]}, 404),
        ({"pictures": [10**6]}, 404),
        ({"pictures": [2**70]}, 404),
        ({"pictures": [-1]}, 404),
        ({}, 422),
        ({"labels": "dog"}, 422),
        ({"pictures": [True]}, 422),
        ({"labels": ["a/b"]}, 422),
    ):
        assert _post(site, "/api/gallery/remove", wrong).status == status, wrong
    assert site.ask("GET", "/api/labels").json() == before


def test_the_payload_of_a_label(site: Client, cat: Image) -> None:
    _enroll(site, "cat", cat)
    path = f"{_path('cat')}/payload"
    assert site.ask("GET", path).json() == {"label": "cat", "payload": ""}
    text = '{"floor": 3, "note": "gr\u00fcn"}'
    assert _post(site, path, {"payload": text}, "PUT").json()["payload"] == text
    assert site.ask("GET", path).json()["payload"] == text
    for wrong in ("{", "[" * 100_000, "1" * 300_000, 7):
        answer = _post(site, path, {"payload": wrong}, "PUT")
        assert answer.status == 422
        assert len(answer.body) < 500
    assert _post(site, path, {"payload": "x" * 2_000_000}, "PUT").status == 413
    assert site.ask("GET", path).json()["payload"] == text
    assert _post(site, path, {"payload": ""}, "PUT").json()["payload"] == ""
    assert site.ask("GET", "/api/labels/dog/payload").status == 404


def test_a_backup_while_pictures_are_enrolled(
    site: Client, tmp_path: Path, noise: Callable[[int], Image]
) -> None:
    _enroll(site, "first", noise(30))

    def enroll() -> None:
        for seed in range(31, 37):
            _enroll(site, f"label {seed}", noise(seed))

    writer = threading.Thread(target=enroll)
    writer.start()
    copies: list[bytes] = []
    while not copies or writer.is_alive():
        answer = site.ask("GET", "/api/gallery/backup")
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/vnd.sqlite3"
        assert int(answer.headers["Content-Length"]) == len(answer.body)
        assert ".sqlite" in answer.headers["Content-Disposition"]
        copies.append(answer.body)
    writer.join()
    counts = []
    for number, copy in enumerate(copies):
        path = tmp_path / f"{number}.sqlite"
        path.write_bytes(copy)
        assert verify(path) == []
        with Gallery(path, read_only=True) as gallery:
            found = gallery.label_counts()
        assert {each.codes for each in found.values()} == {6}  # whole pictures only
        counts.append(len(found))
    assert counts == sorted(counts)
    assert _labels(site).keys() == {"first", *(f"label {seed}" for seed in range(31, 37))}


def test_an_export_can_be_imported(site: Client, tmp_path: Path, cat: Image) -> None:
    _enroll(site, "cat", cat)
    answer = site.ask("GET", "/api/gallery/export")
    (tmp_path / "all.jsonl").write_bytes(answer.body)
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    done = run_cli("gallery", "import", tmp_path / "all.jsonl", "--gallery", tmp_path / "g.sqlite")
    assert "imported 1 picture (6 codes)" in done.stdout, done.stderr


def test_restore_a_backup_and_undo_it(
    site: Client, folder: Path, cat: Image, noise: Callable[[int], Image]
) -> None:
    _enroll(site, "cat", cat)
    site.process.until(lambda: (site.region()["recognition"] or {}).get("label") == "cat")
    copy = site.ask("GET", "/api/gallery/backup").body
    _post(site, "/api/gallery/remove", {"labels": ["cat"]})
    _enroll(site, "dog", noise(40))
    site.process.until(lambda: site.region()["recognition"] is None)
    assert site.ask("GET", "/api/gallery").json()["previous"] is None
    assert site.ask("POST", "/api/gallery/restore/undo").status == 404
    answer = site.ask("POST", "/api/gallery/restore", copy)
    assert answer.status == 200, answer.body
    assert answer.json()["pictures"] == answer.json()["labels"] == 1
    assert answer.json()["corrupt_file"] is None
    assert answer.json()["previous"]["bytes"] > 0
    assert _labels(site) == {"cat": 1}
    # The daemon takes it up by itself.
    site.process.until(lambda: (site.region()["recognition"] or {}).get("label") == "cat")
    numbers = site.ask("GET", "/api/gallery").json()
    assert numbers["kept_pictures"] == 1
    assert numbers["previous"] == answer.json()["previous"]
    assert site.ask("POST", "/api/gallery/restore/undo").json()["labels"] == 1
    assert _labels(site) == {"dog": 1}
    assert site.ask("POST", "/api/gallery/restore/undo").status == 200  # and forth again
    assert _labels(site) == {"cat": 1}
    assert verify(folder / "g.sqlite") == []


def _hostile(path: Path, engine: Any, cat: Image) -> Iterator[tuple[str, bytes]]:
    """Yield files that must be refused, with a part of the answer."""
    yield "corrupt, or not a gallery file", b"SQLite format 3\0" + bytes(5000)
    yield "the file is empty", b""
    yield "corrupt, or not a gallery file", encoded(cat)
    enroll_near(engine, path, cat=cat)
    good = path.read_bytes()
    with closing(sqlite3.connect(path)) as connection:
        (code,) = connection.execute("SELECT code FROM item").fetchone()
    changed = bytearray(good)
    changed[good.index(code)] ^= 255
    yield "", bytes(changed)
    yield "", good[: len(good) // 2]
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TRIGGER t AFTER INSERT ON item BEGIN DELETE FROM label; END")
        connection.commit()
    yield "the tables do not match schema", path.read_bytes()
    other = path.with_name("other.sqlite")
    with Gallery(other, FakeEngine().model, create=True):
        pass
    yield "made by model", other.read_bytes()


def test_hostile_files_do_not_take_the_place_of_the_gallery(
    site: Client, folder: Path, tmp_path: Path, engine: Any, cat: Image
) -> None:
    _enroll(site, "cat", cat)
    for text, data in _hostile(tmp_path / "x.sqlite", engine, cat):
        answer = site.ask("POST", "/api/gallery/restore", data)
        assert answer.status == 422, answer.body
        assert text in answer.json()["error"]
        assert answer.json()["remedy"]
        assert str(folder).encode() not in answer.body
    large = site.ask("POST", "/api/gallery/restore", bytes(2_000_001))
    assert large.status == 413
    assert "http.max_restore_mb" in large.json()["remedy"]
    assert _labels(site) == {"cat": 1}
    assert verify(folder / "g.sqlite") == []
    assert _files(folder) == {"g.sqlite"}


def test_an_upload_that_is_cut_leaves_nothing_behind(site: Client, folder: Path) -> None:
    with site.connect() as line:
        line.sendall(
            b"POST /api/gallery/restore HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n"
            b"\r\n" + bytes(5000)
        )
        site.process.until(lambda: len(_files(folder)) == 2)
        busy = site.ask("POST", "/api/gallery/restore", b"x")
        assert busy.status == 503
    site.process.until(lambda: _files(folder) == {"g.sqlite"})
    assert site.ask("POST", "/api/gallery/restore", b"x").status == 422


def test_only_owners_may_use_the_gallery(tmp_path: Path, film: Path) -> None:
    write_secret(tmp_path / "token", TOKEN)
    write_secret(tmp_path / "reader", READER)
    (tmp_path / f"g.sqlite.{2**22 + 1}-0.upload").write_bytes(b"of a process that was killed")
    files = 'token_file = "token"\nreader_token_file = "reader"'
    process = start(tmp_path, film, http=f'host = "0.0.0.0"\nport = 0\n{files}')
    try:
        client = Client(process)
        requests = (
            ("GET", "/api/gallery"),
            ("GET", "/api/gallery/backup"),
            ("GET", "/api/gallery/export"),
            ("POST", "/api/gallery/restore"),
            ("POST", "/api/gallery/restore/undo"),
            ("POST", "/api/gallery/remove"),
            ("POST", "/api/gallery/undo"),
            ("GET", "/api/labels/cat/pictures"),
            ("GET", "/api/labels/cat/payload"),
            ("PUT", "/api/labels/cat/payload"),
            ("POST", "/api/labels/cat/rename"),
        )
        for method, path in requests:
            assert client.ask(method, path).status == 401, path
            reader = client.ask(method, path, Authorization=f"Bearer {READER}")
            assert reader.status == 403, path
        owner = client.ask("GET", "/api/gallery/backup", Authorization=f"Bearer {TOKEN}")
        assert owner.body[:15] == b"SQLite format 3"
        assert not list(tmp_path.glob("*.upload"))
    finally:
        process.end()
