"""The settings of the page, tests of the sinks, and the cameras to choose from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from edge_runtime.camera.attached import attached_cameras
from edge_runtime.web.access import refuse
from edge_runtime.web.endpoint import Endpoint
from edge_runtime.web.openapi import (
    CAMERA_NAME,
    SINK,
    SOURCE,
    STORE,
    VERSION,
    json_body,
    operation,
    responses,
    text_response,
)
from edge_runtime.web.photos import UploadError
from edge_runtime.web.routes.context import Context, Group, small_json
from edge_runtime.web.settings import schemas
from edge_runtime.web.settings.background import Background
from edge_runtime.web.settings.preview import CameraPreview
from edge_runtime.web.settings.service import SettingsService

MOST_BYTES = 1 << 15
MOST_REGIONS = 32
_FAULTS = (400, 408, 409, 413, 422, 503, 507)


class SettingsEndpoints(Group):
    """What an owner may change while the daemon runs."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._settings = SettingsService(context.service)
        self._preview = CameraPreview(self._sources)
        self._background = Background()

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """See `Endpoints`."""
        changed = responses((200, "Changed and applied", schemas.CHANGED), faults=_FAULTS)
        get = operation(
            "The settings that the page may change",
            responses((200, "Settings", schemas.SETTINGS), faults=(503,)),
        )
        patch = operation(
            "Change settings: write the configuration file and reload it. null: the default",
            changed,
            parameters=[VERSION],
            requestBody=json_body(schemas.CHANGES),
        )
        undo = operation("Take the latest change back", changed, parameters=[VERSION])
        regions = operation(
            "Replace the regions of a camera",
            changed,
            parameters=[VERSION],
            requestBody=json_body(schemas.REGIONS),
        )
        add = operation(
            "Add a camera",
            changed,
            parameters=[VERSION],
            requestBody=json_body(schemas.NEW_CAMERA),
        )
        rename = operation(
            "Give a camera another name",
            changed,
            parameters=[CAMERA_NAME, VERSION],
            requestBody=json_body(schemas.NEW_NAME),
        )
        remove = operation(
            "Remove a camera with its regions", changed, parameters=[CAMERA_NAME, VERSION]
        )
        erase = operation(
            "Delete what the history or the inbox stored, after it was turned off",
            responses((200, "What is stored now", schemas.STORED), faults=(409, 422, 503, 507)),
            parameters=[STORE],
        )
        test = operation(
            "Send an event of the kind test through one sink",
            responses((200, "Tried", schemas.SINK_TEST), faults=(404, 503)),
            parameters=[SINK],
        )
        available = operation(
            "The cameras of this board",
            responses((200, "Cameras", schemas.AVAILABLE), faults=(503,)),
        )
        preview = operation(
            "A picture of a camera of this board that is not in use",
            text_response("JPEG", "image/jpeg", (422, 500, 503)),
            parameters=[SOURCE],
        )
        return [
            Endpoint("GET", "/api/settings", self._get, get),
            Endpoint("PATCH", "/api/settings", self._patch, patch),
            Endpoint("POST", "/api/settings/undo", self._undo, undo),
            Endpoint("PUT", "/api/regions", self._put_regions, regions),
            Endpoint("POST", "/api/cameras", self._add_camera, add),
            Endpoint("POST", "/api/cameras/{name}/rename", self._rename_camera, rename),
            Endpoint("DELETE", "/api/cameras/{name}", self._remove_camera, remove),
            Endpoint("DELETE", "/api/stored/{name}", self._erase, erase),
            Endpoint("POST", "/api/sinks/{name}/test", self._test, test),
            Endpoint("GET", "/api/cameras/available", self._available, available),
            Endpoint("GET", "/api/cameras/preview", self._get_preview, preview),
        ]

    async def _get(self, _request: Request) -> Response:
        return await self._answer(self._settings.describe)

    async def _patch(self, request: Request) -> Response:
        changes, known = await small_json(request, MOST_BYTES), _known(request)
        return await self._answer(lambda: self._settings.change(changes, known))

    async def _undo(self, request: Request) -> Response:
        known = _known(request)
        return await self._answer(lambda: self._settings.undo(known))

    async def _put_regions(self, request: Request) -> Response:
        body, known = await small_json(request, MOST_BYTES), _known(request)
        camera, regions = _regions_in(body)
        return await self._answer(lambda: self._settings.set_regions(camera, regions, known))

    async def _add_camera(self, request: Request) -> Response:
        known, body = _known(request), await small_json(request, MOST_BYTES)
        name, source = _texts(body, "name", "source")
        return await self._answer(lambda: self._settings.add_camera(name, source, known))

    async def _rename_camera(self, request: Request) -> Response:
        known, body = _known(request), await small_json(request, MOST_BYTES)
        (new,), old = _texts(body, "to"), request.path_params["name"]
        return await self._answer(lambda: self._settings.rename_camera(old, new, known))

    async def _remove_camera(self, request: Request) -> Response:
        known, name = _known(request), request.path_params["name"]
        return await self._answer(lambda: self._settings.remove_camera(name, known))

    async def _erase(self, request: Request) -> Response:
        name = request.path_params["name"]
        return await self._answer(lambda: self._settings.erase(name))

    async def _answer(self, function: Callable[[], Any]) -> Response:
        return JSONResponse(await self._background.run(function))

    async def _test(self, request: Request) -> Response:
        name = request.path_params["name"]
        outbox = next((each for each in self.context.service.outboxes if each.name == name), None)
        if outbox is None:
            raise HTTPException(404, "there is no such sink")
        return await self._answer(lambda: self._settings.test_sink(outbox))

    async def _available(self, _request: Request) -> Response:
        found = await self._background.run(attached_cameras)
        cameras = [
            {
                "source": each.source,
                "name": each.name,
                "fault": each.fault or None,
                "used_by": self._preview.user_of(each.source),
            }
            for each in found
        ]
        return JSONResponse({"cameras": cameras})

    async def _get_preview(self, request: Request) -> Response:
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return refuse(403, "cross-site request not allowed")
        source = request.query_params.get("source", "")
        data = await self._background.run(lambda: self._preview.picture(source))
        return Response(data, media_type="image/jpeg")

    def _sources(self) -> dict[str, str]:
        settings = self.context.service.settings
        return {each.source: name for name, each in settings.all_cameras().items()}


def _texts(body: dict[str, Any], *names: str) -> list[str]:
    """Return texts of a request; raises `UploadError`."""
    found = [body.get(name) for name in names]
    if not all(isinstance(each, str) for each in found):
        raise UploadError(422, f"expected {' and '.join(names)}")
    return [str(each) for each in found]


def _known(request: Request) -> str:
    """Return the version of the file that the client has read; empty if it does not say."""
    return request.headers.get("if-match", "").strip('" ')


def _regions_in(body: dict[str, Any]) -> tuple[str, dict[str, tuple[list[float], list[str]]]]:
    """Return camera and regions of a request; raises `UploadError`."""
    camera, regions = body.get("camera"), body.get("regions")
    if not isinstance(camera, str) or not isinstance(regions, list):
        raise UploadError(422, "expected camera and regions")
    if len(regions) > MOST_REGIONS:
        raise UploadError(422, f"more than {MOST_REGIONS} regions")
    found: dict[str, tuple[list[float], list[str]]] = {}
    for each in regions:
        if not isinstance(each, dict) or not isinstance(each.get("name"), str):
            raise UploadError(422, "each region needs a name")
        name, area, labels = each["name"], each.get("area"), each.get("labels", [])
        if not isinstance(area, list) or not all(
            isinstance(part, (int, float)) and not isinstance(part, bool) for part in area
        ):
            raise UploadError(422, "area: expected four numbers")
        if not isinstance(labels, list):
            raise UploadError(422, "labels: expected a list")
        if name in found:
            raise UploadError(422, "two regions have the same name")
        found[name] = (area, labels)
    return camera, found
