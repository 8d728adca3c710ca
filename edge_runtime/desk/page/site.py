"""The desk's page and API: boards, proposals, versions."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from edge_runtime.desk.boards import boards_of
from edge_runtime.desk.edit import Choice, accept, chosen, reject
from edge_runtime.desk.page import schemas
from edge_runtime.desk.page.metrics import Metrics
from edge_runtime.desk.publish import publish
from edge_runtime.desk.run import Running
from edge_runtime.errors import InputError
from edge_runtime.settings.schema import HttpSettings
from edge_runtime.web.access import Access, Guard, guarded_app
from edge_runtime.web.endpoint import Endpoint, Permissions, Role
from edge_runtime.web.openapi import document, operation, responses, text_response
from edge_runtime.web.routes.context import small_json
from edge_runtime.web.routes.faults import HANDLERS
from edge_runtime.web.routes.page import STATIC, PageFiles

T = TypeVar("T")
OWN = Path(__file__).parent / "static"
SHOWN = 200
"""Proposals and boards with faults that the page shows at once."""
MOST_BODY = 1 << 16
ROLLOUT = "rollout.json"


class DeskSite:
    """The web application of one desk."""

    def __init__(self, running: Running, settings: HttpSettings, access: Access) -> None:
        self._running = running
        self._desk = running.desk
        self._metrics = Metrics(running)
        own = {f"/{file.name}": file for file in sorted(OWN.iterdir())}
        own["/"] = own.pop("/desk.html")
        shared = {f"/{name}": STATIC / name for name in ("style.css", "icon.svg")}
        self._files = PageFiles(own | shared)
        guard = Guard(settings, access, Permissions(self.endpoints))
        self.app = guarded_app(self.endpoints, guard, HANDLERS)

    shortcut = None

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """All endpoints."""
        health = responses((200, "Yes", schemas.HEALTH), (503, "No", schemas.HEALTH))
        alive = operation("Whether nothing fails", health)
        metrics = operation("Metrics for Prometheus", text_response("Metrics", "text/plain"))
        itself = operation("This document", responses((200, "OpenAPI", {"type": "object"})))
        fleet = schemas.operation("Boards, proposals and versions", schemas.FLEET)
        accept = schemas.operation("Accept proposals", schemas.ACCEPTED, schemas.ACCEPT)
        reject = schemas.operation("Reject proposals", schemas.REJECTED, schemas.REJECT)
        publish = schemas.operation("Sign the gallery as a version", schemas.PUBLISHED)
        return [
            *self._files.endpoints,
            Endpoint("GET", "/healthz", self._healthy, alive, Role.NOBODY),
            Endpoint("GET", "/metrics", self._prometheus, metrics, Role.READER),
            Endpoint("GET", "/openapi.json", self._openapi, itself, Role.READER),
            Endpoint("GET", "/api/fleet", self._fleet, fleet, Role.READER),
            Endpoint("POST", "/api/proposals/accept", self._accept, accept),
            Endpoint("POST", "/api/proposals/reject", self._reject, reject),
            Endpoint("POST", "/api/publish", self._publish, publish),
        ]

    def begin(self) -> None:
        """See `Site`."""

    def close(self, wait_s: float) -> None:
        """See `Site`."""

    async def _healthy(self, _: Request) -> Response:
        faults = self._running.work.faults
        return JSONResponse({"ready": not faults}, 503 if faults else 200)

    async def _prometheus(self, _: Request) -> Response:
        return Response(await _aside(self._metrics.text), media_type="text/plain")

    async def _openapi(self, _: Request) -> Response:
        return JSONResponse(document(self.endpoints))

    async def _fleet(self, _: Request) -> Response:
        return JSONResponse(await _aside(self._state))

    async def _accept(self, request: Request) -> Response:
        body = await small_json(request, MOST_BODY)
        label = body.get("label")
        if label is not None and not isinstance(label, str):
            raise InputError("label must be text")
        found = _digests(body)
        count = await _aside(lambda: accept(self._desk, chosen(self._desk, found), label))
        return JSONResponse({"accepted": count})

    async def _reject(self, request: Request) -> Response:
        found = _digests(await small_json(request, MOST_BODY))
        count = await _aside(lambda: reject(self._desk, chosen(self._desk, found)))
        return JSONResponse({"rejected": count})

    async def _publish(self, _: Request) -> Response:
        version = await _aside(lambda: publish(self._desk, "published on the page"))
        return JSONResponse({"version": None if version is None else version.number})

    def _state(self) -> dict[str, Any]:
        desk, line = self._desk, self._running.line
        repository = desk.repository()
        pending = desk.store.proposals(most=SHOWN, bodies=False)
        rollout = None
        if ROLLOUT in repository.files:
            rollout = json.loads(repository.read(ROLLOUT))
        return {
            "fleet": desk.settings.fleet,
            "time": time.time(),
            "version": self._running.version,
            "root_expires": repository.root.signed.expires.timestamp(),
            "timestamp_expires": repository.timestamp.signed.expires.timestamp(),
            "broker": None if line is None else {"connected": line.connected, "fault": line.fault},
            "faults": dict(self._running.work.faults),
            "boards": [vars(each) for each in boards_of(desk.store)],
            "counts": desk.store.count_proposals(),
            "proposals": [
                {
                    "digest": each.digest.hex(),
                    "board": each.board,
                    "label": each.label,
                    "received_at": each.received_at,
                }
                for each in pending
            ],
            "refused": sum(each.count for each in desk.store.refused()),
            "versions": [vars(each) for each in desk.store.versions(20)],
            "rollout": rollout,
        }


def _digests(body: dict[str, Any]) -> Choice:
    digests = body.get("digests")
    if not isinstance(digests, list) or not all(isinstance(each, str) for each in digests):
        raise InputError("digests must be a list of text")
    return Choice(tuple(digests))


async def _aside(function: Callable[[], T]) -> T:
    """Run `function` on another thread, since it reads and writes files."""
    return await asyncio.to_thread(function)
