"""Enrolling from the live view: hints, careful enrollment, undo."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.image import Image
from tests.support.web import READER, TOKEN, Client, make_film, start, start_cameras, write_secret


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, film: Path, cat: Image) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("site")
    dark = make_film(folder / "dark.mp4", np.asarray(cat // 12, np.uint8))
    process = start_cameras(
        folder,
        {"desk": film, "cellar": dark},
        '[regions.left]\ncamera = "desk"\narea = [0.0, 0.0, 0.5, 1.0]\n',
    )
    client = Client(process)
    client.until_ready()
    process.until(lambda: client.ask("GET", "/api/look?camera=cellar").status == 200)
    yield client
    process.end()


def test_what_would_make_a_better_picture(site: Client) -> None:
    assert site.ask("GET", "/api/look?camera=cellar").json()["hint"] == "dark"
    look = site.ask("GET", "/api/look?camera=desk").json()
    assert look["hint"] is None
    assert look["nearest"] == []
    assert site.ask("GET", "/api/look?camera=attic").status == 404


def test_the_nearest_labels_and_from_where_they_are_known(site: Client) -> None:
    site.ask("POST", "/api/labels/cat/frame?camera=desk&region=left")

    def known() -> bool:
        look = site.ask("GET", "/api/look?camera=desk&region=left").json()
        if not look["nearest"]:
            return False
        (nearest,), limit = look["nearest"], look["known_from"]
        assert nearest["label"] == "cat"
        assert nearest["similarity"] > limit["similarity"] > 0
        assert limit["distance"] is None
        return True

    site.process.until(known)
    site.ask("DELETE", "/api/labels/cat")


def test_a_careful_enrollment_leaves_out_bad_frames_and_sees_none_twice(site: Client) -> None:
    path = "/api/labels/thing/frame?careful=1&camera="
    answer = site.ask("POST", f"{path}cellar")
    assert answer.status == 200
    assert answer.json()["fault"] == "dark"
    assert answer.json()["pictures"] == []
    added = []
    for _ in range(3):
        answer = site.ask("POST", f"{path}desk")
        assert (answer.status, answer.json()["fault"]) == (201, None)
        added += answer.json()["pictures"]
    assert len(set(added)) == 3
    labels = site.ask("GET", "/api/labels").json()["labels"]
    assert [(one["label"], one["pictures"]) for one in labels] == [("thing", 3)]
    # Without care, the user decides; the answer also says what is wrong.
    answer = site.ask("POST", "/api/labels/thing/frame?camera=cellar").json()
    assert (answer["pictures_added"], answer["fault"]) == (1, "dark")
    ids = ",".join(map(str, added + answer["pictures"]))
    assert site.ask("DELETE", f"/api/pictures?ids={ids}").json() == {
        "pictures_removed": 4,
        "codes_removed": 24,
    }
    assert site.ask("GET", "/api/labels").json()["labels"] == []
    assert site.ask("DELETE", f"/api/pictures?ids={ids}").status == 404


@pytest.mark.parametrize("query", ["", "?ids=", "?ids=1,", "?ids=a", "?ids=1;2", "?ids=-1"])
def test_undo_wants_numbers(site: Client, query: str) -> None:
    assert site.ask("DELETE", f"/api/pictures{query}").status == 422


def test_careful_is_yes_or_no(site: Client) -> None:
    answer = site.ask("POST", "/api/labels/thing/frame?careful=maybe")
    assert answer.status == 422
    assert "careful" in answer.json()["error"]


def test_the_page_asks_for_its_role(tmp_path: Path, film: Path) -> None:
    write_secret(tmp_path / "token", TOKEN)
    write_secret(tmp_path / "reader", READER)
    files = 'token_file = "token"\nreader_token_file = "reader"'
    process = start(tmp_path, film, http=f'host = "0.0.0.0"\nport = 0\n{files}')
    try:
        client = Client(process)
        assert client.ask("GET", "/api/session").status == 401
        for token, role in ((TOKEN, "owner"), (READER, "reader")):
            answer = client.ask("GET", "/api/session", Authorization=f"Bearer {token}")
            assert json.loads(answer.body) == {"session": "open", "role": role}
        undo = client.ask("DELETE", "/api/pictures?ids=1", Authorization=f"Bearer {READER}")
        assert undo.status == 403
    finally:
        process.end()
