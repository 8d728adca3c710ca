"""The client of a server, and `edge-runtime query --server`, against real servers."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime.code import Embedding
from edge_runtime.engine import Engine
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.errors import InputError
from edge_runtime.gallery import Gallery, LabeledCode
from edge_runtime.gallery.records import UNKNOWN
from edge_runtime.image import Image
from edge_runtime.position import Position, QueryPosition
from edge_runtime.remote.client import LookupClient
from edge_runtime.remote.http import RemoteError
from edge_runtime.types import SERVER
from tests.server.lookup_server import LookupServer, brute_force, fill_gallery, some_codes
from tests.server.strange_server import strange_server
from tests.support.processes import run_cli
from tests.support.service import enroll_near
from tests.support.web import encoded

MODEL = FakeEngine().model
GOOD = {
    "version": "1-ab",
    "model_id": MODEL.id,
    "answers": [{"matches": [{"id": 1, "label": "cat", "distance": 2}]}],
}


def _embedding(code: int = 0) -> Embedding:
    return Embedding(np.array([code], np.uint64), np.ones(64, np.float32))


def test_the_client_gets_what_the_server_finds(tmp_path: Path) -> None:
    path = tmp_path / "g.sqlite"
    fill_gallery(path, 100)
    server = LookupServer("--gallery", path)
    client = LookupClient(server.url, MODEL)
    codes = some_codes(path, 5)
    at = QueryPosition(Position(48.0, 11.0), meters_per_bit=25.0)
    for near, place in ((None, None), (at, (48.0, 11.0))):
        found = client.near([Embedding(code, None) for code in codes], 4, near=near)
        for code, answer in zip(codes, found.answers, strict=True):
            listed = [(match.id, match.distance) for match in answer.matches]
            assert listed == brute_force(path, int(code[0]), 4, at=place)
        assert found.version == client.version()
    verdict = found.answers[0].judged(64)
    assert verdict.origin == SERVER
    assert found.answers[0].judged(64, ["no such label"]).label is None
    server.end()
    with pytest.raises(RemoteError, match="no answer: Connection refused"):
        client.version()


def test_only_what_is_wanted_is_sent() -> None:
    with strange_server(200, json.dumps(GOOD).encode()) as server:
        client = LookupClient(server.url, MODEL, token="0123456789abcdef")
        client.near([_embedding(5)], 3)
        client.near([_embedding(5)], 3, features=True)
    (plain, rich) = server.requests
    assert json.loads(plain[3]) == {"codes": ["0500000000000000"], "k": 3}
    assert json.loads(rich[3])["features"] == ["f39/" * 21 + "fw=="]
    assert plain[2]["Authorization"] == "Bearer 0123456789abcdef"


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"answers": []}, "another number of answers"),
        ({"answers": GOOD["answers"] * 2}, "another number"),  # type: ignore[operator]
        ({"model_id": "0" * 64}, "its codes come from model"),
        ({"version": "../x"}, "not an answer"),
        ({"answers": [{"matches": [{"id": 1, "label": "a\nb", "distance": 2}]}]}, "not an answer"),
        ({"answers": [{"matches": [{"id": 1, "label": "a", "distance": -2}]}]}, "not an answer"),
        ({"answers": [{"matches": [{"id": 1, "label": "a"}]}]}, "not an answer"),
        ({"answers": [{"matches": None}]}, "not an answer"),
    ],
)
def test_wrong_answers_are_refused(change: dict[str, object], part: str) -> None:
    body = json.dumps({**GOOD, **change}).encode()
    with strange_server(200, body) as server, pytest.raises(RemoteError, match=part):
        LookupClient(server.url, MODEL).near([_embedding()], 5)


def test_strange_servers_are_errors_in_one_line() -> None:
    drip = [b"x"] * 1000
    cases: list[tuple[int, list[bytes], dict[str, Any], str]] = [
        (200, [b"<html>"], {}, "not an answer of edge-runtime serve"),
        (200, [b"[" * 100_000], {}, "not an answer"),
        (200, [b"\xff"], {}, "not an answer"),
        (401, [b'{"error": "token required", "remedy": ""}'], {}, "401: token required"),
        (503, [b"down"], {}, "responded 503"),
        (302, [], {"Location": "http://127.0.0.1:1/"}, "responded 302"),
        (200, [b"x"], {"Content_Length": "5"}, "incomplete|not valid HTTP"),
        (200, [b"x" * (1 << 20)] * 5, {}, "more than"),
    ]
    for status, body, more, part in cases:
        with (
            strange_server(status, *body, **more) as server,
            pytest.raises(RemoteError, match=part) as caught,
        ):
            LookupClient(server.url, MODEL, timeout_s=20).near([_embedding()], 5)
        assert "\n" not in str(caught.value)
    with (
        strange_server(200, *drip, pause_s=0.1) as server,
        pytest.raises(RemoteError, match=r"no complete answer within 0\.5 s"),
    ):
        LookupClient(server.url, MODEL, timeout_s=0.5).near([_embedding()], 5)
    for url in ("ftp://x", "http://", "x", "http://user:pass@x", "http://[::1", "http://x:99999"):
        with pytest.raises(InputError, match="not the address") as refused:
            LookupClient(url, MODEL)
        assert "pass" not in str(refused.value)


def test_query_asks_the_server_for_what_the_gallery_lacks(
    tmp_path: Path, engine: Engine, cat: Image
) -> None:
    photo = tmp_path / "cat.png"
    photo.write_bytes(encoded(cat, ".png"))
    enroll_near(engine, tmp_path / "big.sqlite", tom=cat)
    server = LookupServer("--gallery", tmp_path / "big.sqlite")

    def query(gallery: str, *more: object) -> dict[str, object]:
        done = run_cli(
            *("query", photo, "--json", "--gallery", tmp_path / gallery),
            *("--server", server.url, *more),
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, object] = json.loads(done.stdout)
        return found

    def asked() -> float:
        lines = server.get("/metrics").body.decode().splitlines()
        return float(
            next(one for one in lines if "queries_total" in one and one[0] != "#").split()[1]
        )

    far = query("none.sqlite")
    assert (far["label"], far["origin"], far["distance"]) == ("tom", "server", 3)
    assert not (tmp_path / "none.sqlite").exists()
    assert query("none.sqlite", "--label", "dog")["label"] is None
    assert query("none.sqlite", "--radius", 2)["label"] is None
    before = asked()
    enroll_near(engine, tmp_path / "own.sqlite", cat=cat)
    near = query("own.sqlite")
    assert (near["label"], near["origin"]) == ("cat", "gallery")
    with Gallery(tmp_path / "secret.sqlite", engine.model, create=True) as gallery:
        gallery.enroll([LabeledCode(UNKNOWN, engine_code(engine, cat))])
    assert query("secret.sqlite")["label"] is None
    assert asked() == before, "what is known, or must not be named, is not asked"
    text = run_cli("query", photo, "--gallery", tmp_path / "none.sqlite", "--server", server.url)
    assert "tom (100%, distance 3 bits, by the server" in text.stdout
    server.end()
    dead = run_cli("query", photo, "--gallery", tmp_path / "none.sqlite", "--server", server.url)
    assert dead.returncode == 11
    assert "no answer: Connection refused" in dead.stderr
    assert len(dead.stderr.splitlines()) == 1
    wrong = run_cli("query", photo, "--server-features")
    assert wrong.returncode == 2


def engine_code(engine: Engine, image: Image) -> np.ndarray[tuple[int, ...], np.dtype[np.uint64]]:
    from edge_runtime.recognition.pipeline import code_of

    return code_of(engine, image)


def test_a_server_that_accepts_and_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(RemoteError, match=r"no complete answer within 0\.3 s"):
            LookupClient(url, MODEL, timeout_s=0.3).version()
