"""The labels of the gallery, their pictures, and advice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from edge_runtime.daemon.status import is_fresh
from edge_runtime.web import schemas
from edge_runtime.web.access import refuse
from edge_runtime.web.endpoint import Endpoint
from edge_runtime.web.openapi import (
    CAMERA,
    LABEL,
    PHOTO,
    PHOTO_FAULTS,
    PICTURE,
    REGION,
    operation,
    responses,
    text_response,
)
from edge_runtime.web.routes.context import Group, id_in, label_in, region_in


class GalleryEndpoints(Group):
    """What is enrolled, and changes of it."""

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """See `Endpoints`."""
        labels = operation("List the labels", responses((200, "Labels", schemas.LABELS)))
        advice = operation(
            "What to photograph next, and what is probably wrong in the gallery",
            responses((200, "Advice", schemas.ADVICE), faults=(503,)),
        )
        picture = operation(
            "An enrolled picture that was kept",
            text_response("JPEG", "image/jpeg", (404, 503)),
            parameters=[PICTURE],
        )
        thumbnail = operation(
            "Thumbnail of the label",
            text_response("JPEG", "image/jpeg", (404, 422, 503)),
            parameters=[LABEL],
        )
        enroll_frame = operation(
            "Enroll the current frame of a camera, or its part that lies in a region",
            responses((201, "Enrolled", schemas.ENROLLED), faults=(404, 422, 503, 507)),
            parameters=[LABEL, CAMERA, REGION],
        )
        enroll_photo = operation(
            "Enroll a photo",
            responses(
                (200, "Already enrolled", schemas.ENROLLED),
                (201, "Enrolled", schemas.ENROLLED),
                faults=(*PHOTO_FAULTS, 507),
            ),
            parameters=[LABEL],
            requestBody=PHOTO,
        )
        remove = operation(
            "Remove a label with all its pictures",
            responses((200, "Removed", schemas.REMOVED), faults=(404, 422, 503, 507)),
            parameters=[LABEL],
        )
        label = "/api/labels/{label}"
        return [
            Endpoint("GET", "/api/labels", self._labels, labels),
            Endpoint("GET", "/api/advice", self._advice, advice),
            Endpoint("GET", "/api/pictures/{id}", self._picture, picture),
            Endpoint("GET", f"{label}/photo", self._thumbnail, thumbnail),
            Endpoint("POST", f"{label}/frame", self._enroll_frame, enroll_frame),
            Endpoint("POST", label, self._enroll_photo, enroll_photo),
            Endpoint("DELETE", label, self._remove, remove),
        ]

    async def _labels(self, _request: Request) -> Response:
        labels = await self.context.gallery.labels()
        return JSONResponse(
            {"labels": [{"label": label, **counts._asdict()} for label, counts in labels.items()]}
        )

    async def _advice(self, _request: Request) -> Response:
        return JSONResponse(asdict(await self.context.gallery.advice()))

    async def _thumbnail(self, request: Request) -> Response:
        data = await self.context.gallery.thumbnail(label_in(request))
        if not data:
            raise HTTPException(404, "this label has no thumbnail")
        return Response(data, media_type="image/jpeg", headers={"Cache-Control": "no-cache"})

    async def _picture(self, request: Request) -> Response:
        data = await self.context.gallery.kept_picture(id_in(request))
        if not data:
            raise HTTPException(404, "this picture was not kept (gallery.keep_pictures)")
        return Response(data, media_type="image/jpeg", headers={"Cache-Control": "no-cache"})

    async def _enroll_photo(self, request: Request) -> Response:
        async with self.context.uploads.receive(request) as data:
            return _enrolled(await self.context.gallery.enroll_photo(label_in(request), data))

    async def _enroll_frame(self, request: Request) -> Response:
        label, service = label_in(request), self.context.service
        region = region_in(request, service)
        latest = region.latest
        if latest is None or not is_fresh(service, region):
            return refuse(503, "the camera delivers no frames", "see /readyz")
        source = f"{service.source_name(region)}#{latest.frame.sequence}"
        image = latest.picture.image
        return _enrolled(await self.context.gallery.enroll_frame(label, image, source))

    async def _remove(self, request: Request) -> Response:
        label = label_in(request)
        removed = await self.context.gallery.remove(label)
        counts = {"pictures_removed": removed.pictures, "codes_removed": removed.codes}
        return JSONResponse({"label": label, **counts})


def _enrolled(answer: dict[str, Any]) -> Response:
    return JSONResponse(answer, 201 if answer["pictures_added"] else 200)
