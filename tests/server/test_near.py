"""`edge-runtime serve` over real HTTP, compared with a sort of everything."""

from __future__ import annotations

import base64
import signal
import ssl
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime.engine.fake import FakeEngine
from edge_runtime.gallery import Gallery, LabeledCode
from tests.server.lookup_server import (
    LookupServer,
    brute_force,
    fill_gallery,
    hex_of,
    some_codes,
)
from tests.support.processes import ROOT, run_cli
from tests.support.web import check_answer, write_secret


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("big") / "big.sqlite"
    fill_gallery(path, 700)
    return path


def _found(matches: list[dict[str, Any]]) -> list[tuple[int, int]]:
    return [(match["id"], match["distance"]) for match in matches]


def test_answers_are_those_of_a_sort(server: LookupServer, path: Path) -> None:
    for code in some_codes(path, 12):
        for k, radius in ((1, 64), (5, 64), (100, 64), (5, 10), (100, 3), (5, 0)):
            answer = server.get(f"/v1/near/{hex_of(code)}?k={k}&r={radius}").json()
            assert _found(answer["matches"]) == brute_force(path, int(code[0]), k, radius)
            assert answer["code"] == hex_of(code)
            assert answer["model_id"] == FakeEngine().model.id
    first = server.get(f"/v1/near/{hex_of(code)}").json()["matches"]
    assert len(first) == 5
    assert first[0].keys() == {"id", "label", "distance", "penalty", "meters", "similarity"}


def test_a_position_adds_to_the_distance(server: LookupServer, path: Path) -> None:
    at = (48.001, 11.002)
    for code in some_codes(path, 8, seed=2):
        for k, radius in ((5, 64), (20, 12), (100, 64)):
            query = f"k={k}&r={radius}&at={at[0]},{at[1]}"
            answer = server.get(f"/v1/near/{hex_of(code)}?{query}").json()
            assert _found(answer["matches"]) == brute_force(path, int(code[0]), k, radius, at)
    far = server.get(f"/v1/near/{hex_of(code)}?at=0,0&within_m=1000&k=100").json()["matches"]
    assert far
    assert all(match["meters"] is None for match in far)  # only pictures of unknown position


def test_a_batch_gives_the_single_answers(server: LookupServer, path: Path) -> None:
    codes = some_codes(path, 300, seed=3)
    names = list(map(hex_of, codes))
    body = {"codes": names, "k": 7, "r": 20}
    answer = server.ask("POST", "/v1/near", body).json()
    assert [each["code"] for each in answer["answers"]] == names
    for code, each in zip(codes[:40], answer["answers"][:40], strict=True):
        assert _found(each["matches"]) == brute_force(path, int(code[0]), 7, 20)
        assert each["labels"] is None
        assert each["verdict"] is None
    near = server.ask("POST", "/v1/near", {"codes": names[:3], "at": "48,11"}).json()
    for code, each in zip(codes, near["answers"], strict=False):
        assert _found(each["matches"]) == brute_force(path, int(code[0]), 5, 64, (48.0, 11.0))


def test_the_version_is_the_etag(tmp_path: Path) -> None:
    path = tmp_path / "g.sqlite"
    fill_gallery(path, 30)
    server = LookupServer("--gallery", path)
    address = f"/v1/near/{hex_of(some_codes(path, 1)[0])}"
    first = server.get(address)
    etag = first.headers["ETag"]
    assert etag == f'"{first.json()["version"]}"'
    assert server.get("/v1/content").json()["version"] == first.json()["version"]
    again = server.get(address, If_None_Match=f'"other", W/{etag}')
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", etag)
    assert server.get(address, If_None_Match='"other"').status == 200
    with Gallery(path, FakeEngine().model) as gallery:  # another process, as far as SQLite knows
        gallery.enroll([LabeledCode("new", np.array([5], np.uint64))])
    changed = server.get(address, If_None_Match=etag)
    assert changed.status == 200
    assert changed.headers["ETag"] != etag
    best = server.get("/v1/near/0500000000000000?k=1").json()["matches"]
    assert [(match["label"], match["distance"]) for match in best] == [("new", 0)]
    assert server.end() == 0


def test_bad_requests_say_what_is_wrong(server: LookupServer) -> None:
    good = "00" * 8
    for address, status, part in (
        ("/v1/near/xyz", 422, "16 hex digits"),
        ("/v1/near/00", 422, "not a code of 64 bits"),
        (f"/v1/near/{good}00", 422, "not a code"),
        (f"/v1/near/{'0 ' * 8}", 422, "not a code"),
        (f"/v1/near/{good}?k=0", 422, "k must be"),
        (f"/v1/near/{good}?k=101", 422, "from 1 to 100"),
        (f"/v1/near/{good}?r=65", 422, "r must be"),
        (f"/v1/near/{good}?r=-1", 422, "r must be"),
        (f"/v1/near/{good}?k=1e3", 422, "k must be"),
        (f"/v1/near/{good}?at=91,0", 422, "latitude"),
        (f"/v1/near/{good}?at=x", 422, "not a position"),
        (f"/v1/near/{good}?within_m=5", 422, "need a position"),
        (f"/v1/near/{good}?at=1,2&within_m=nan", 422, "within_m"),
        (f"/v1/near/{good}?at=1,2&meters_per_bit=0", 422, "meters_per_bit"),
        (f"/v1/near/{good}?radius=5", 422, "no parameter"),
        (f"/v1/near/{good}?model=abc", 409, "model"),
        ("/v2/near/00", 404, "not found"),
    ):
        answer = server.get(address.replace(" ", "%20"))
        assert answer.status == status, (address, answer.body)
        assert part in str(answer.json()), address
    for body, status, part in (
        (b"{", 422, "not a JSON object"),
        ([], 422, "not a JSON object"),
        ({}, 422, "codes must be"),
        ({"codes": []}, 422, "codes must be"),
        ({"codes": [good] * 1001}, 422, "1 to 1000"),
        ({"codes": [5]}, 422, "not a code"),
        ({"codes": [good], "k": True}, 422, "k must be"),
        ({"codes": [good], "k": 1.5}, 422, "k must be"),
        ({"codes": [good], "r": "x"}, 422, "r must be"),
        ({"codes": [good], "at": [1, 2]}, 422, "at must be"),
        ({"codes": [good], "features": ["??"]}, 422, "base64"),
        ({"codes": [good], "features": []}, 422, "one entry for each"),
        ({"codes": [good], "limit": 5}, 422, "no parameter"),
        ({"codes": [good], "model": "abc"}, 409, "model"),
        (b" " * (3 << 20), 413, "larger than"),
    ):
        answer = server.ask("POST", "/v1/near", body)
        assert answer.status == status, (body, answer.body)
        assert part in str(answer.json())
    assert server.ask("PUT", f"/v1/near/{good}", b"").status == 405
    assert server.get("/readyz").status == 200


def test_a_token_is_required_where_one_is_set(tmp_path: Path, path: Path) -> None:
    refused = run_cli("serve", "--gallery", path, "--host", "0.0.0.0")
    assert refused.returncode == 2
    assert "a token is required" in refused.stderr
    write_secret(tmp_path / "token", "0123456789abcdef")
    server = LookupServer("--gallery", path, "--token-file", tmp_path / "token")
    address = f"/v1/near/{'00' * 8}"
    assert server.get(address).status == 401
    assert server.get("/metrics").status == 401
    assert server.get("/healthz").status == 200
    assert server.get(address, Authorization="Bearer 0123456789abcdef").status == 200
    assert server.get(address, Host="evil.example").status == 421
    assert server.end() == 0


def test_features_rank_where_the_gallery_has_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    path = tmp_path / "g.sqlite"
    values = rng.integers(-127, 128, (12, 64), dtype=np.int8)
    with Gallery(path, FakeEngine().model, create=True) as gallery:
        gallery.enroll(
            LabeledCode(f"label {i % 4}", np.array([i], np.uint64), features=row)
            for i, row in enumerate(values)
        )
    server = LookupServer("--gallery", path)
    sent = {
        "codes": ["00" * 8, "00" * 8],
        "features": [base64.b64encode(values[9].tobytes()).decode(), None],
        "k": 3,
    }
    answer = server.ask("POST", "/v1/near", sent)
    document = server.get("/openapi.json").json()
    check_answer(document, "POST", "/v1/near", 200, answer.json())
    with_features, without = answer.json()["answers"]
    assert with_features["matches"][0]["id"] == 10  # the picture itself, though its code is not 0
    assert with_features["labels"][0] == {"label": "label 1", "similarity": 1.0}
    assert with_features["verdict"]["label"] == "label 1"
    assert [match["id"] for match in without["matches"]] == [1, 2, 3]
    assert without["verdict"] is None
    assert server.end() == 0


def test_an_empty_gallery_has_no_answers(tmp_path: Path) -> None:
    path = tmp_path / "g.sqlite"
    Gallery(path, FakeEngine().model, create=True).close()
    server = LookupServer("--gallery", path)
    assert server.get(f"/v1/near/{'00' * 8}").json()["matches"] == []
    body = {"codes": ["00" * 8, "11" * 8]}
    assert server.ask("POST", "/v1/near", body).json()["answers"][1]["matches"] == []
    assert server.end() == 0


def test_many_clients_at_once(server: LookupServer, path: Path) -> None:
    codes = some_codes(path, 24, seed=9)
    expected = [brute_force(path, int(code[0]), 5) for code in codes]
    wrong: list[object] = []

    def ask(first: int) -> None:
        for number in range(first, len(codes), 8):
            answer = server.get(f"/v1/near/{hex_of(codes[number])}")
            if answer.status != 200 or _found(answer.json()["matches"]) != expected[number]:
                wrong.append((number, answer.status))

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    metrics = server.get("/metrics").body.decode()
    values = dict(line.split() for line in metrics.splitlines() if line[0] != "#")
    assert float(values["edge_server_codes"]) == 2100
    assert float(values["edge_server_queries_total"]) >= 24
    assert float(values["edge_server_failing"]) == 0


def test_the_document_describes_the_answers(server: LookupServer) -> None:
    document = server.get("/openapi.json").json()

    def check(method: str, path: str, body: object, status: int, sent: object = None) -> None:
        answer = server.ask(method, str(body), sent)
        assert answer.status == status
        check_answer(document, method, path, status, answer.json())

    check("GET", "/v1/near/{code}", f"/v1/near/{'00' * 8}", 200)
    check("GET", "/v1/near/{code}", "/v1/near/0", 422)
    check("GET", "/v1/content", "/v1/content", 200)
    check("GET", "/healthz", "/healthz", 200)
    check("GET", "/readyz", "/readyz", 200)
    check("POST", "/v1/near", "/v1/near", 200, {"codes": ["00" * 8]})
    check("POST", "/v1/near", "/v1/near", 409, {"codes": ["00" * 8], "model": "x"})
    assert set(document["paths"]) == {
        *("/v1/near/{code}", "/v1/near", "/v1/content", "/healthz", "/readyz", "/metrics"),
        "/openapi.json",
    }


def test_missing_and_busy_are_errors(tmp_path: Path, path: Path, server: LookupServer) -> None:
    missing = run_cli("serve", "--gallery", tmp_path / "none.sqlite")
    assert missing.returncode == 5
    assert "no gallery file" in missing.stderr
    port = server.url.rpartition(":")[2]
    taken = run_cli("serve", "--gallery", path, "--port", port)
    assert taken.returncode == 11
    assert "cannot listen" in taken.stderr


def test_https_and_a_token_that_sighup_reads_again(tmp_path: Path, path: Path) -> None:
    tls, token = ROOT / "tests/data/tls", tmp_path / "token"
    key = tmp_path / "key"
    write_secret(key, (tls / "one.key").read_text())
    write_secret(token, "0123456789abcdef")
    server = LookupServer(
        *("--gallery", path, "--certificate-file", tls / "one.pem", "--key-file", key),
        *("--token-file", token, "--name", "codes.example"),
    )
    assert server.url.startswith("https://127.0.0.1:")
    context = ssl.create_default_context(cafile=str(tls / "one.pem"))
    context.check_hostname = False

    def status(sent: str) -> int:
        headers = {"Authorization": f"Bearer {sent}", "Host": "codes.example"}
        request = urllib.request.Request(f"{server.url}/v1/content", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30, context=context) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except (ConnectionError, urllib.error.URLError):
            return 0  # the reload closes all connections, perhaps this one

    assert status("0123456789abcdef") == 200
    write_secret(token, "another-token-0123")
    server.child.send_signal(signal.SIGHUP)
    for sent, wanted in (("another-token-0123", 200), ("0123456789abcdef", 401)):
        end_s = time.monotonic() + 30
        while (found := status(sent)) != wanted and time.monotonic() < end_s:
            time.sleep(0.5)
        assert found == wanted
    assert server.end() == 0
