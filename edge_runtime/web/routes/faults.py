"""What answers each kind of exception."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
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
from edge_runtime.web.access import refuse
from edge_runtime.web.photos import UploadError
from edge_runtime.web.streams import TooManyStreamsError

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


def fault_response(error: EdgeRuntimeError | UploadError) -> Response:
    """Return what answers a request that ended in `error`."""
    if isinstance(error, UploadError):
        return refuse(error.status, error.what, error.remedy)
    code = next(number for kind, number in _STATUS if isinstance(error, kind))
    where = f"{error.where}: " if error.where and code < 500 else ""
    return refuse(code, f"{where}{error.what}", error.remedy)


async def _fault(_request: Request, error: EdgeRuntimeError | UploadError) -> Response:
    return fault_response(error)


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
    EdgeRuntimeError: _fault,
    UploadError: _fault,
    TooManyStreamsError: _too_many_streams,
    ClientDisconnect: _disconnected,
    HTTPException: _http_error,
}
"""What answers each kind of exception."""
