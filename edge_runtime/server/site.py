"""The endpoints of the server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from edge_runtime.errors import EdgeRuntimeError
from edge_runtime.remote.http import RemoteError
from edge_runtime.server import schemas
from edge_runtime.server.answers import (
    batch_json,
    content_json,
    headers_of,
    json_response,
    near_json,
    refusal,
)
from edge_runtime.server.codes import Query, code_from_hex
from edge_runtime.server.metrics import Metrics
from edge_runtime.server.parameters import (
    MOST_BYTES,
    check_model,
    check_names,
    queries_of,
    scope_of,
)
from edge_runtime.server.shortcut import NearShortcut
from edge_runtime.server.worker import Result, Worker
from edge_runtime.settings.schema import HttpSettings
from edge_runtime.web.access import Access, Guard, guarded_app
from edge_runtime.web.connection import ANSWER_S
from edge_runtime.web.endpoint import Endpoint, Permissions, Role
from edge_runtime.web.openapi import document, json_body, operation, responses, text_response
from edge_runtime.web.routes.context import small_json
from edge_runtime.web.routes.faults import HANDLERS

READY_S = 5.0


class LookupSite:
    """The web application of a server of codes."""

    def __init__(self, worker: Worker, settings: HttpSettings, access: Access) -> None:
        """Serve what `worker` searches."""
        self._worker = worker
        self._metrics = Metrics(worker)
        self._bits = worker.ask(()).result(ANSWER_S)[0].bits
        guard = Guard(settings, access, Permissions(self.endpoints))
        self.app = guarded_app(self.endpoints, guard, _HANDLERS)
        self.shortcut = NearShortcut(worker, self._bits, guard)

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """All endpoints."""
        health = responses((200, "Yes", schemas.HEALTH), (503, "No", schemas.HEALTH))
        version = {
            "name": "If-None-Match",
            "in": "header",
            "description": "The ETag of an earlier answer: 304 if it still holds",
            "schema": {"type": "string"},
        }
        code = {"name": "code", "in": "path", "required": True, "schema": schemas.CODE}
        near = operation(
            "The pictures nearest to a code",
            {
                **schemas.answers("Pictures", schemas.NEAR, 409, 422, 500, 503),
                "304": {"description": "The earlier answer still holds"},
            },
            parameters=[code, *schemas.PARAMETERS, version],
        )
        batch = operation(
            "The pictures nearest to each of many codes, from one version",
            schemas.answers("Pictures", schemas.BATCH, 408, 409, 413, 422, 500, 503),
            requestBody=json_body(schemas.BODY),
        )
        content = operation(
            "What is searched", schemas.answers("Content", schemas.CONTENT, 500, 503)
        )
        metrics = operation("Metrics for Prometheus", text_response("Metrics", "text/plain"))
        itself = operation("This document", responses((200, "OpenAPI", {"type": "object"})))
        alive = operation("Whether the server runs", health)
        ready = operation("Whether all codes can be searched", health)
        return [
            Endpoint("GET", "/v1/near/{code}", self._near, near, Role.READER),
            Endpoint("POST", "/v1/near", self._batch, batch, Role.READER),
            Endpoint("GET", "/v1/content", self._content, content, Role.READER),
            Endpoint("GET", "/healthz", self._alive, alive, Role.NOBODY),
            Endpoint("GET", "/readyz", self._ready, ready, Role.NOBODY),
            Endpoint("GET", "/metrics", self._prometheus, metrics, Role.READER),
            Endpoint("GET", "/openapi.json", self._openapi, itself, Role.READER),
        ]

    def begin(self) -> None:
        """See `Site`."""

    def close(self, wait_s: float) -> None:
        """See `Site`."""
        self._worker.close(wait_s)

    async def _near(self, request: Request) -> Response:
        given = request.query_params
        check_names(given)
        code = code_from_hex(request.path_params["code"], self._bits)
        scope = scope_of(given, self._bits)
        known = request.headers.get("if-none-match")
        if known is not None:
            content, _ = await self._ask(())
            check_model(given, content)
            if _names(known, content.version):
                unchanged = Response(None, 304)
                unchanged.raw_headers = headers_of(content, b"")[:2]
                return unchanged
        content, (answer,) = await self._ask([Query(code, scope)])
        check_model(given, content)
        return json_response(content, near_json(content, code, answer))

    async def _batch(self, request: Request) -> Response:
        body = await small_json(request, MOST_BYTES)
        queries = queries_of(body, self._bits)
        content, answers = await self._ask(queries)
        check_model(body, content)
        return json_response(content, batch_json(content, queries, answers))

    async def _content(self, _request: Request) -> Response:
        content, _ = await self._ask(())
        return json_response(content, content_json(content))

    async def _alive(self, _request: Request) -> Response:
        alive = self._worker.thread.is_alive()
        return JSONResponse({"status": "ok" if alive else "failing"}, 200 if alive else 503)

    async def _ready(self, _request: Request) -> Response:
        try:
            async with asyncio.timeout(READY_S):
                await self._ask(())
        except (EdgeRuntimeError, TimeoutError):
            return JSONResponse({"status": "failing"}, 503)
        return JSONResponse({"status": "ok"})

    async def _prometheus(self, _request: Request) -> Response:
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4")

    async def _openapi(self, _request: Request) -> Response:
        return JSONResponse(document(self.endpoints))

    async def _ask(self, queries: Sequence[Query]) -> Result:
        try:
            async with asyncio.timeout(ANSWER_S):
                return await asyncio.wrap_future(self._worker.ask(queries))
        except TimeoutError:
            raise RemoteError(f"no answer within {ANSWER_S:g} s") from None


def _names(header: str, version: str) -> bool:
    """Return whether the header If-None-Match names `version` (RFC 9110, section 13.1.2)."""
    named = [each.strip().removeprefix("W/") for each in header.split(",")]
    return f'"{version}"' in named or "*" in named


async def _unreachable(_request: Request, error: RemoteError) -> Response:
    return refusal(error)


_HANDLERS: dict[Any, Any] = {**HANDLERS, RemoteError: _unreachable}
