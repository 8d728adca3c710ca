"""The routes of the page and the API."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from edge_runtime.daemon.status import status
from edge_runtime.errors import (
    BusyError,
    EdgeRuntimeError,
    GalleryBusyError,
    InputError,
    LabelError,
    NotEnrolledError,
    ResourceError,
    StorageError,
)
from edge_runtime.report.budget import QUERY_BUDGET_MS
from edge_runtime.settings.schema import HttpSettings
from edge_runtime.web.access import Access, AuthMiddleware, Role, refuse
from edge_runtime.web.gallery_service import GalleryService
from edge_runtime.web.metrics import Metrics
from edge_runtime.web.openapi import document
from edge_runtime.web.photos import UploadError, Uploads
from edge_runtime.web.streams import EventStream, LiveView, TooManyStreamsError

if TYPE_CHECKING:
    from edge_runtime.daemon.service import Service

STATIC = Path(__file__).parent / "static"
FILES = {
    "/": ("index.html", "text/html"),
    "/app.js": ("app.js", "text/javascript"),
    "/style.css": ("style.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_STATUS = (
    (BusyError, 503),
    (GalleryBusyError, 503),
    (ResourceError, 503),
    (NotEnrolledError, 404),
    (LabelError, 422),
    (InputError, 422),
    (StorageError, 507),
    (EdgeRuntimeError, 500),
)
MAX_JSON = 4096
JSON_S = 10.0


class Site:
    """The request handlers. Created on the daemon's thread, used on the server's."""

    def __init__(self, service: Service, settings: HttpSettings, access: Access) -> None:
        self._service = service
        self._settings = settings
        self._gallery = GalleryService(
            service.pipeline,
            service.daemon.work_queue,
            keep_pictures=service.settings.gallery.keep_pictures,
            refit=service.settings.gallery.refit,
        )
        self._events = EventStream(self._full_status)
        self._live = LiveView(service)
        self._metrics = Metrics(service)
        self._uploads = Uploads(settings)
        # In memory, as opening a file fails when there are no file descriptors left.
        self._files = {path: (STATIC / name).read_bytes() for path, (name, _) in FILES.items()}
        service.daemon.listeners.append(self._events.listen)
        service.daemon.observers.append(self._metrics.observe)
        label = "/api/labels/{label:path}"
        routes = [
            *(Route(path, self._file) for path in FILES),
            Route("/healthz", self._health),
            Route("/readyz", self._health),
            Route("/metrics", self._prometheus),
            Route("/openapi.json", self._openapi),
            Route("/live.mjpg", self._live_view),
            Route("/api/session", self._session, methods=["POST"]),
            Route("/api/status", self._status),
            Route("/api/events", self._recent),
            Route("/api/stream", self._stream),
            Route("/api/query", self._query, methods=["POST"]),
            Route("/api/labels", self._labels),
            Route("/api/advice", self._advice),
            Route("/api/pictures/{id}", self._picture),
            Route(f"{label}/photo", self._photo),
            Route(f"{label}/frame", self._enroll_frame, methods=["POST"]),
            Route(label, self._enroll_photo, methods=["POST"]),
            Route(label, self._remove, methods=["DELETE"]),
        ]
        self.app = Starlette(
            routes=routes,
            middleware=[Middleware(AuthMiddleware, settings=settings, access=access)],
            exception_handlers=HANDLERS,
        )

    def begin(self) -> None:
        """Forget the clients of an earlier event loop; called before each one starts."""
        self._uploads.clear()
        self._live.clear()
        self._events.clear()

    def close(self, wait_s: float) -> None:
        """Close the gallery within `wait_s`."""
        self._live.close()
        self._gallery.close(wait_s)

    # -- the page -----------------------------------------------------------------------------

    async def _file(self, request: Request) -> Response:
        path = request.scope["path"]
        return Response(self._files[path], media_type=FILES[path][1])

    async def _live_view(self, _request: Request) -> Response:
        if not self._settings.live_view:
            raise HTTPException(404, "the live view is disabled (http.live_view)")
        kind = "multipart/x-mixed-replace; boundary=frame"
        return StreamingResponse(self._live.watch(), media_type=kind)

    async def _session(self, request: Request) -> Response:
        body = await small_json(request)
        token = body.get("token")
        if not isinstance(token, str):
            return refuse(422, "token is missing", 'send {"token": "..."}')
        auth: AuthMiddleware = request.scope["state"]["auth"]
        secure = request.scope["scheme"] == "https"
        return auth.open_session(token, request.scope["state"]["client"], secure=secure)

    # -- monitoring ---------------------------------------------------------------------------

    async def _health(self, request: Request) -> Response:
        now = status(self._service)
        healthy = now["alive"] if request.scope["path"] == "/healthz" else now["ready"]
        body: dict[str, Any] = {"status": "ok" if healthy else "failing"}
        if request.scope["state"]["role"] is not Role.NOBODY:
            body |= {
                "state": now["camera"]["state"],
                "frame_age_s": now["frame_age_s"],
                "turn_age_s": now["turn_age_s"],
                "engine": now["engine"],
                "model_id": now["model"]["id"],
                "gallery_generation": now["gallery"]["generation"],
                "last_error": now["last_error"],
            }
        return JSONResponse(body, 200 if healthy else 503)

    async def _prometheus(self, _request: Request) -> Response:
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4")

    async def _openapi(self, _request: Request) -> Response:
        return JSONResponse(document())

    async def _status(self, _request: Request) -> Response:
        return JSONResponse(self._full_status())

    def _full_status(self) -> dict[str, Any]:
        latest = self._service.latest
        nearest = latest.result.matches[:1] if latest else ()
        return {
            **status(self._service),
            "budget_ms": min(1000 / self._service.settings.camera.fps, QUERY_BUDGET_MS),
            "live_view": self._settings.live_view,
            "nearest": asdict(nearest[0]) if nearest else None,
        }

    # -- recognition --------------------------------------------------------------------------

    async def _recent(self, request: Request) -> Response:
        text = request.query_params.get("limit", "50")
        digits = text.isascii() and text.isdecimal() and len(text) <= 3
        if not digits or not 1 <= int(text) <= 200:
            return refuse(422, f"limit must be a number from 1 to 200, got {text!a:.40}")
        events = list(self._service.recent)[-int(text) :]
        return JSONResponse({"events": [asdict(event) for event in reversed(events)]})

    async def _stream(self, _request: Request) -> Response:
        return StreamingResponse(self._events.watch(), media_type="text/event-stream")

    async def _query(self, request: Request) -> Response:
        async with self._uploads.receive(request) as data:
            result, sources = await self._gallery.query(data)
        return JSONResponse(
            {
                **asdict(result.verdict),
                "matches": [
                    {**asdict(match), "source": sources.get(match.id, "")}
                    for match in result.matches
                ],
                "stage_ms": result.stage_ms,
            }
        )

    # -- the gallery --------------------------------------------------------------------------

    async def _labels(self, _request: Request) -> Response:
        labels = await self._gallery.labels()
        return JSONResponse(
            {"labels": [{"label": label, **counts._asdict()} for label, counts in labels.items()]}
        )

    async def _advice(self, _request: Request) -> Response:
        return JSONResponse(asdict(await self._gallery.advice()))

    async def _photo(self, request: Request) -> Response:
        data = await self._gallery.thumbnail(_label(request))
        if not data:
            raise HTTPException(404, "this label has no thumbnail")
        return Response(data, media_type="image/jpeg", headers={"Cache-Control": "no-cache"})

    async def _picture(self, request: Request) -> Response:
        text = request.path_params["id"]
        number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else 0
        data = await self._gallery.kept_picture(number)
        if not data:
            raise HTTPException(404, "this picture was not kept (gallery.keep_pictures)")
        return Response(data, media_type="image/jpeg", headers={"Cache-Control": "no-cache"})

    async def _enroll_photo(self, request: Request) -> Response:
        async with self._uploads.receive(request) as data:
            return _enrolled(await self._gallery.enroll_photo(_label(request), data))

    async def _enroll_frame(self, request: Request) -> Response:
        latest = self._service.latest
        if latest is None or not status(self._service)["ready"]:
            return refuse(503, "the camera delivers no frames", "see /readyz")
        source = f"{self._service.daemon.camera.source.name}#{latest.frame.sequence}"
        label = _label(request)
        return _enrolled(await self._gallery.enroll_frame(label, latest.frame.image, source))

    async def _remove(self, request: Request) -> Response:
        label = _label(request)
        removed = await self._gallery.remove(label)
        counts = {"pictures_removed": removed.pictures, "codes_removed": removed.codes}
        return JSONResponse({"label": label, **counts})


def _label(request: Request) -> str:
    label: str = request.path_params["label"]
    if "\ufffd" in label:  # the server's replacement for invalid UTF-8
        raise LabelError("label is not valid UTF-8", remedy="percent-encode it as UTF-8")
    return label


def _enrolled(answer: dict[str, Any]) -> Response:
    return JSONResponse(answer, 201 if answer["pictures_added"] else 200)


async def small_json(request: Request) -> dict[str, Any]:
    """Return the body of `request`, a JSON object; raises `UploadError`."""
    body = bytearray()
    try:
        async with asyncio.timeout(JSON_S):
            async for part in request.stream():
                body += part
                if len(body) > MAX_JSON:
                    raise UploadError(413, f"larger than {MAX_JSON} bytes")
    except TimeoutError:
        raise UploadError(408, f"request not complete after {JSON_S:g} s") from None
    try:
        data = json.loads(bytes(body))
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise UploadError(422, "not a JSON object")
    return data


async def _runtime_error(_request: Request, error: EdgeRuntimeError) -> Response:
    code = next(number for kind, number in _STATUS if isinstance(error, kind))
    where = f"{error.where}: " if error.where and code < 500 else ""
    return refuse(code, f"{where}{error.what}", error.remedy)


async def _upload_error(_request: Request, error: UploadError) -> Response:
    return refuse(error.status, error.what, error.remedy)


async def _too_many_streams(_request: Request, _error: Exception) -> Response:
    return refuse(503, "too many open streams", "close another page")


async def _disconnected(_request: Request, _error: Exception) -> Response:
    return refuse(400, "the connection was closed")


async def _http_error(_request: Request, error: HTTPException) -> Response:
    answer = refuse(error.status_code, error.detail.lower())
    for name, value in (error.headers or {}).items():
        answer.headers[name] = value
    return answer


HANDLERS: dict[Any, Any] = {
    EdgeRuntimeError: _runtime_error,
    UploadError: _upload_error,
    TooManyStreamsError: _too_many_streams,
    ClientDisconnect: _disconnected,
    HTTPException: _http_error,
}
"""What answers each kind of exception."""
