"""The desk's OpenAPI document describes every field of every answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_runtime.desk.intake import take_status
from edge_runtime.desk.rollout.steps import start
from edge_runtime.desk.settings import Broker
from tests.support.fleet import picture
from tests.support.fleet.desk import make_plain_bundle, new_desk, propose, status
from tests.support.fleet.running import DeskProcess, ask
from tests.support.web import check_answer


def test_answers_have_exactly_the_documented_fields(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, picture("cat", 1), broker=Broker(host="127.0.0.1", port=1))
    propose(desk, "north", picture("dog", 2), picture("hen", 3))
    take_status(desk.store, [("north", status("north", 1, ready=True), False)])
    start(desk, make_plain_bundle(tmp_path / "bundle"))
    process = DeskProcess(desk.path, "--port", 0)
    checked = set()
    try:
        url = process.url()
        document = ask(f"{url}/openapi.json")[1]

        def check(path: str, value: object | None = None, code: int = 200) -> Any:
            method = "get" if value is None else "post"
            found, answer = ask(url + path, value)
            assert found == code, answer
            check_answer(document, method, path, code, answer)
            checked.add(path)
            return answer

        fleet = check("/api/fleet")
        assert fleet["boards"] and fleet["versions"] and fleet["broker"] and fleet["rollout"]
        dog, hen = (each["digest"] for each in fleet["proposals"])
        check("/api/proposals/accept", {"digests": [dog]})
        check("/api/proposals/accept", {"digests": "all"}, 422)
        check("/api/proposals/reject", {"digests": [hen]})
        assert check("/api/publish", {})["version"] == 2
        assert check("/api/publish", {})["version"] is None
        for path in ("/openapi.json", "/api/session"):
            check(path)
        check_answer(document, "get", "/healthz", *ask(f"{url}/healthz"))
        assert checked == set(document["paths"]) - {"/healthz", "/metrics"}
    finally:
        process.stop()
