"""The labels of the gallery, their pictures, and advice."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from edge_runtime.daemon.status import is_fresh
from edge_runtime.daemon.watcher import Observation, RegionWatcher
from edge_runtime.recognition.smoothing import Origin
from edge_runtime.types import Frame
from edge_runtime.web import schemas
from edge_runtime.web.access import refuse
from edge_runtime.web.endpoint import Endpoint
from edge_runtime.web.openapi import (
    CAMERA,
    CAREFUL,
    LABEL,
    PHOTO,
    PHOTO_FAULTS,
    PICTURE,
    PICTURES,
    QUICK,
    REGION,
    operation,
    responses,
    text_response,
)
from edge_runtime.web.routes.context import Context, Group, id_in, label_in, region_in

NEW_FRAME_S = 5.0
"""How long a careful enrollment waits for a new frame."""
POLL_S = 0.05
_IDS = re.compile(r"[0-9]{1,18}(,[0-9]{1,18}){0,199}")


class GalleryEndpoints(Group):
    """What is enrolled, and changes of it."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._seen: dict[Origin, Frame] = {}
        """The frame of each region that was last enrolled, or was too bad for it."""

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """See `Endpoints`."""
        labels = operation("List the labels", responses((200, "Labels", schemas.LABELS)))
        advice = operation(
            "What to photograph next, and what is probably wrong in the gallery",
            responses((200, "Advice", schemas.ADVICE), faults=(422, 503)),
            parameters=[QUICK],
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
            responses(
                (200, "Not enrolled, for its fault", schemas.ENROLLED),
                (201, "Enrolled", schemas.ENROLLED),
                faults=(404, 422, 503, 507),
            ),
            parameters=[LABEL, CAMERA, REGION, CAREFUL],
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
        remove_pictures = operation(
            "Remove pictures, all or none; a label without pictures is removed, too",
            responses((200, "Removed", schemas.PICTURES_REMOVED), faults=(404, 422, 503, 507)),
            parameters=[PICTURES],
        )
        label = "/api/labels/{label}"
        return [
            Endpoint("GET", "/api/labels", self._labels, labels),
            Endpoint("GET", "/api/advice", self._advice, advice),
            Endpoint("GET", "/api/pictures/{id}", self._picture, picture),
            Endpoint("DELETE", "/api/pictures", self._remove_pictures, remove_pictures),
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

    async def _advice(self, request: Request) -> Response:
        quick = request.query_params.get("quick", "0")
        if quick not in ("0", "1"):
            return refuse(422, f"quick must be 0 or 1, got {quick!a:.40}")
        return JSONResponse(asdict(await self.context.gallery.advice(quick=quick == "1")))

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
        careful = request.query_params.get("careful", "0")
        if careful not in ("0", "1"):
            return refuse(422, f"careful must be 0 or 1, got {careful!a:.40}")
        latest = await self._unseen(region) if careful == "1" else region.latest
        if latest is None or not is_fresh(service, region):
            return refuse(503, "the camera delivers no frames", "see /readyz")
        self._seen[region.origin] = latest.frame
        source = f"{service.source_name(region)}#{latest.frame.sequence}"
        image = latest.picture.image
        answer = await self.context.gallery.enroll_frame(
            label, image, source, careful=careful == "1"
        )
        return _enrolled(answer)

    async def _unseen(self, region: RegionWatcher) -> Observation | None:
        """Return the newest frame once it is another one than the last; None if none comes."""
        try:
            async with asyncio.timeout(NEW_FRAME_S):
                while region.latest and region.latest.frame is self._seen.get(region.origin):
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            return None
        return region.latest

    async def _remove_pictures(self, request: Request) -> Response:
        text = request.query_params.get("ids", "")
        if not _IDS.fullmatch(text):
            return refuse(422, f"ids must be 1 to 200 numbers with commas, got {text!a:.40}")
        removed = await self.context.gallery.remove_pictures([int(one) for one in text.split(",")])
        return JSONResponse({"pictures_removed": removed.pictures, "codes_removed": removed.codes})

    async def _remove(self, request: Request) -> Response:
        label = label_in(request)
        removed = await self.context.gallery.remove(label)
        counts = {"pictures_removed": removed.pictures, "codes_removed": removed.codes}
        return JSONResponse({"label": label, **counts})


def _enrolled(answer: dict[str, Any]) -> Response:
    return JSONResponse(answer, 201 if answer["pictures_added"] else 200)
