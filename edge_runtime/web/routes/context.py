"""What all endpoints share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from starlette.exceptions import HTTPException
from starlette.requests import Request

from edge_runtime.errors import LabelError
from edge_runtime.settings.schema import HttpSettings
from edge_runtime.web.endpoint import Endpoint
from edge_runtime.web.gallery_service import GalleryService
from edge_runtime.web.photos import UploadError, Uploads

if TYPE_CHECKING:
    from edge_runtime.daemon.service import Service
    from edge_runtime.daemon.watcher import RegionWatcher
    from edge_runtime.history.archive import Archive

MAX_JSON = 4096
JSON_S = 10.0


@dataclass(frozen=True)
class Context:
    """The daemon and the parts of the web server that handlers use."""

    service: Service
    settings: HttpSettings
    gallery: GalleryService
    uploads: Uploads

    @property
    def history(self) -> Archive | None:
        """The recorded events; None unless the configuration has a table [history]."""
        history = self.service.history
        return None if history is None or history.recorder.paused else history.archive


class Endpoints(Protocol):
    """A group of endpoints. Created on the daemon's thread, used on the server's."""

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """Its endpoints."""

    def begin(self) -> None:
        """Forget the clients of an earlier event loop; called before each one starts."""

    def close(self, wait_s: float) -> None:
        """Release all resources within `wait_s`."""


class Group:
    """A group of endpoints that holds no resources."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def begin(self) -> None:
        """See `Endpoints`."""

    def close(self, wait_s: float) -> None:
        """See `Endpoints`."""


def label_in(request: Request) -> str:
    """Return the label in the path; raises `LabelError`."""
    label: str = request.path_params["label"]
    if "\ufffd" in label:  # the server's replacement for invalid UTF-8
        raise LabelError("label is not valid UTF-8", remedy="percent-encode it as UTF-8")
    return label


def id_in(request: Request) -> int:
    """Return the number `id` in the path; 0, which nothing has, if it is not a number."""
    text: str = request.path_params["id"]
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else 0


def region_in(request: Request, service: Service) -> RegionWatcher:
    """Return the region that the query names; the first one if it names none.

    Raises `HTTPException` if there is no such camera or region.
    """
    camera, name = (request.query_params.get(key, "") for key in ("camera", "region"))
    region = service.region(camera, name)
    if region is None:
        raise HTTPException(404, "there is no such camera or region")
    return region


async def small_json(request: Request, most_bytes: int = MAX_JSON) -> dict[str, Any]:
    """Return the body of `request`, a JSON object; raises `UploadError`."""
    body = bytearray()
    try:
        async with asyncio.timeout(JSON_S):
            async for part in request.stream():
                body += part
                if len(body) > most_bytes:
                    raise UploadError(413, f"larger than {most_bytes} bytes")
    except TimeoutError:
        raise UploadError(408, f"request not complete after {JSON_S:g} s") from None
    try:
        data = json.loads(bytes(body))
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise UploadError(422, "not a JSON object")
    return data
