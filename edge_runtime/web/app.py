"""The web application: all endpoints, access control, and answers for errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from edge_runtime.errors import (
    BusyError,
    ConfigLockedError,
    EdgeRuntimeError,
    GalleryBusyError,
    InputError,
    LabelError,
    NotEnrolledError,
    ResourceError,
    StorageError,
)
from edge_runtime.settings.schema import HttpSettings
from edge_runtime.web.access import Access, AuthMiddleware, refuse
from edge_runtime.web.endpoint import Endpoint, Permissions
from edge_runtime.web.gallery_service import GalleryService
from edge_runtime.web.photos import UploadError, Uploads
from edge_runtime.web.routes.context import Context, Endpoints
from edge_runtime.web.routes.gallery import GalleryEndpoints
from edge_runtime.web.routes.gallery_files import GalleryFileEndpoints
from edge_runtime.web.routes.history import HistoryEndpoints
from edge_runtime.web.routes.labels import LabelEndpoints
from edge_runtime.web.routes.look import LookEndpoints
from edge_runtime.web.routes.monitoring import MonitoringEndpoints
from edge_runtime.web.routes.page import PageEndpoints
from edge_runtime.web.routes.recognition import RecognitionEndpoints
from edge_runtime.web.routes.settings import SettingsEndpoints
from edge_runtime.web.routes.unknowns import UnknownsEndpoints
from edge_runtime.web.streams import TooManyStreamsError

if TYPE_CHECKING:
    from edge_runtime.daemon.service import Service
    from edge_runtime.history.archive import Archive

_STATUS = (
    (BusyError, 503),
    (GalleryBusyError, 503),
    (ResourceError, 503),
    (NotEnrolledError, 404),
    (ConfigLockedError, 409),
    (LabelError, 422),
    (InputError, 422),
    (StorageError, 507),
    (EdgeRuntimeError, 500),
)


class Site:
    """The web application of one daemon. Created on its thread, used on the server's."""

    def __init__(
        self,
        service: Service,
        settings: HttpSettings,
        access: Access,
        history: Archive | None = None,
    ) -> None:
        self._gallery = GalleryService(
            service.pipeline,
            service.daemon.work_queue,
            keep_pictures=service.settings.gallery.keep_pictures,
            refit=service.settings.gallery.refit,
        )
        self._uploads = Uploads(settings)
        context = Context(service, settings, self._gallery, self._uploads, history)
        self._groups: list[Endpoints] = [
            PageEndpoints(context),
            MonitoringEndpoints(context, lambda: self.endpoints),
            RecognitionEndpoints(context),
            LookEndpoints(context),
            LabelEndpoints(context),
            GalleryFileEndpoints(context),
            GalleryEndpoints(context),
            UnknownsEndpoints(context),
            SettingsEndpoints(context),
            HistoryEndpoints(context),
        ]
        self.app = Starlette(
            routes=[endpoint.route for endpoint in self.endpoints],
            middleware=[
                Middleware(
                    AuthMiddleware,
                    settings=settings,
                    access=access,
                    permissions=Permissions(self.endpoints),
                )
            ],
            exception_handlers=HANDLERS,
        )

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """All endpoints. The first whose path fits a request answers it."""
        return [endpoint for group in self._groups for endpoint in group.endpoints]

    def begin(self) -> None:
        """Forget the clients of an earlier event loop; called before each one starts."""
        self._uploads.clear()
        for group in self._groups:
            group.begin()

    def close(self, wait_s: float) -> None:
        """Close the gallery within `wait_s`."""
        for group in self._groups:
            group.close(wait_s)
        self._gallery.close(wait_s)


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
