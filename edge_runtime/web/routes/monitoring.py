"""Health, metrics and the status of the daemon."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from edge_runtime.daemon.status import status
from edge_runtime.report.budget import QUERY_BUDGET_MS
from edge_runtime.web import schemas
from edge_runtime.web.endpoint import Endpoint, Role
from edge_runtime.web.metrics import Metrics
from edge_runtime.web.openapi import document, operation, responses, text_response
from edge_runtime.web.routes.context import Context, Group
from edge_runtime.web.streams import EventStream


class MonitoringEndpoints(Group):
    """What a reader needs to follow the daemon."""

    def __init__(self, context: Context, everything: Callable[[], Sequence[Endpoint]]) -> None:
        """`everything` returns all endpoints, which the document describes."""
        super().__init__(context)
        self._everything = everything
        self._events = EventStream(self._full_status)
        self._metrics = Metrics(context.service, context.history)
        context.service.daemon.listeners += [self._events.listen, self._metrics.listen]
        context.service.daemon.observers.append(self._metrics.observe)

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """See `Endpoints`."""
        health = responses((200, "Yes", schemas.HEALTH), (503, "No", schemas.HEALTH))
        alive = operation("Whether the main loop is running", health)
        ready = operation("Whether frames are being recognized", health)
        metrics = operation("Metrics for Prometheus", text_response("Metrics", "text/plain"))
        itself = operation("This document", responses((200, "OpenAPI", {"type": "object"})))
        now = operation("Status of the daemon", responses((200, "Status", schemas.STATUS)))
        stream = operation(
            "Server-sent events: each recognition event, and the status once per second",
            text_response("Endless stream", "text/event-stream", (503,)),
        )
        return [
            Endpoint("GET", "/healthz", self._health, alive, Role.NOBODY),
            Endpoint("GET", "/readyz", self._health, ready, Role.NOBODY),
            Endpoint("GET", "/metrics", self._prometheus, metrics, Role.READER),
            Endpoint("GET", "/openapi.json", self._openapi, itself, Role.READER),
            Endpoint("GET", "/api/status", self._status, now, Role.READER),
            Endpoint("GET", "/api/stream", self._stream, stream, Role.READER),
        ]

    def begin(self) -> None:
        """See `Endpoints`."""
        self._events.clear()

    async def _health(self, request: Request) -> Response:
        now = status(self.context.service)
        healthy = now["alive"] if request.scope["path"] == "/healthz" else now["ready"]
        body: dict[str, Any] = {"status": "ok" if healthy else "failing"}
        if request.scope["state"]["role"] is not Role.NOBODY:
            body |= {
                "cameras": {each["name"]: each["state"] for each in now["cameras"]},
                "frame_age_s": now["frame_age_s"],
                "turn_age_s": now["turn_age_s"],
                "engine": now["engine"],
                "model_id": now["model"]["id"],
                "gallery_generation": now["gallery"]["generation"],
                "gallery_fault": now["gallery"]["fault"],
                "last_error": now["last_error"],
            }
        return JSONResponse(body, 200 if healthy else 503)

    async def _prometheus(self, _request: Request) -> Response:
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4")

    async def _openapi(self, _request: Request) -> Response:
        return JSONResponse(document(self._everything()))

    async def _status(self, _request: Request) -> Response:
        return JSONResponse(self._full_status())

    async def _stream(self, _request: Request) -> Response:
        return StreamingResponse(self._events.watch(), media_type="text/event-stream")

    def _full_status(self) -> dict[str, Any]:
        service = self.context.service
        fps = max(each.fps for each in service.settings.all_cameras().values())
        return {
            **status(service),
            "budget_ms": min(1000 / fps, QUERY_BUDGET_MS),
            "live_view": self.context.settings.live_view,
        }
