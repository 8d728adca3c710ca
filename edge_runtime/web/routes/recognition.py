"""The live view, the latest events and queries with photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from edge_runtime.web import schemas
from edge_runtime.web.access import refuse
from edge_runtime.web.clips.query import ClipQueries
from edge_runtime.web.clips.receive import ClipUploads, is_clip
from edge_runtime.web.endpoint import Endpoint, Role
from edge_runtime.web.gallery_files import temporary
from edge_runtime.web.openapi import (
    CAMERA,
    LIMIT,
    PHOTO_FAULTS,
    PHOTO_OR_CLIP,
    operation,
    responses,
    text_response,
)
from edge_runtime.web.routes.context import Context, Group, region_in
from edge_runtime.web.streams import LiveView


class RecognitionEndpoints(Group):
    """What the camera sees, and what a photo shows."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._live = LiveView(context.service)
        pipeline = context.service.pipeline
        self._uploads = ClipUploads(
            lambda kind: temporary(context.service.pipeline.gallery.path, kind),
            context.settings.max_clip_mb,
        )
        self._clips = ClipQueries(context.gallery, pipeline.engine.model.input.size)

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """See `Endpoints`."""
        recent = operation(
            "Latest events, newest first",
            responses((200, "Events", schemas.EVENTS), faults=(422,)),
            parameters=[LIMIT],
        )
        live = operation(
            "Frames of a camera",
            text_response("Endless stream", "multipart/x-mixed-replace", (404, 503)),
            parameters=[CAMERA],
        )
        frame = operation(
            "The newest frame of a camera",
            text_response("JPEG", "image/jpeg", (404, 503)),
            parameters=[CAMERA],
        )
        query = operation(
            "Recognize a photo, or a clip (a video file) of one thing",
            responses((200, "Result", schemas.PHOTO_OR_CLIP), faults=(*PHOTO_FAULTS, 507)),
            requestBody=PHOTO_OR_CLIP,
        )
        return [
            Endpoint("GET", "/api/events", self._recent, recent, Role.READER),
            Endpoint("GET", "/live.mjpg", self._live_view, live, Role.READER),
            Endpoint("GET", "/frame.jpg", self._frame, frame, Role.READER),
            Endpoint("POST", "/api/query", self._query, query),
        ]

    def begin(self) -> None:
        """See `Endpoints`."""
        self._live.clear()
        self._uploads.clear()
        self._clips.begin()

    def close(self, wait_s: float) -> None:
        """See `Endpoints`."""
        self._live.close()
        self._uploads.close()

    async def _live_view(self, request: Request) -> Response:
        kind = "multipart/x-mixed-replace; boundary=frame"
        return StreamingResponse(self._live.watch(self._camera(request)), media_type=kind)

    async def _frame(self, request: Request) -> Response:
        data = await self._live.frame(self._camera(request))
        if data is None:
            return refuse(503, "the camera delivers no frames", "see /readyz")
        return Response(data, media_type="image/jpeg")

    def _camera(self, request: Request) -> str:
        """Return the name of the camera that is asked for; raises `HTTPException`."""
        if not self.context.settings.live_view:
            raise HTTPException(404, "the live view is disabled (http.live_view)")
        return region_in(request, self.context.service).origin.camera

    async def _recent(self, request: Request) -> Response:
        text = request.query_params.get("limit", "50")
        digits = text.isascii() and text.isdecimal() and len(text) <= 3
        if not digits or not 1 <= int(text) <= 200:
            return refuse(422, f"limit must be a number from 1 to 200, got {text!a:.40}")
        events = list(self.context.service.recent)[-int(text) :]
        return JSONResponse({"events": [asdict(event) for event in reversed(events)]})

    async def _query(self, request: Request) -> Response:
        if is_clip(request):
            async with self._uploads.receive(request) as path:
                return JSONResponse(await self._clips.query(path))
        async with self.context.uploads.receive(request) as data:
            result, sources = await self.context.gallery.query(data)
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
