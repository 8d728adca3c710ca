"""The OpenAPI 3.1 document of the API."""

from __future__ import annotations

from typing import Any

from edge_runtime import __version__
from edge_runtime.web import schemas
from edge_runtime.web.photos import TYPES
from edge_runtime.web.schemas import Schema

_LABEL = {
    "name": "label",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": 128},
}
_PICTURE = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "The id of the first code of the picture",
    "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
}
_LIMIT = {
    "name": "limit",
    "in": "query",
    "schema": {"type": "integer", "minimum": 1, "maximum": 200, "default": 50},
}
_FAULTS = {
    400: "The request cannot be read",
    401: "A token is required",
    403: "The request comes from another site's page, or the token permits only to look",
    404: "No such label",
    408: "The photo did not arrive in time",
    413: "Larger than http.max_upload_mb",
    415: "Not a supported image type",
    421: "Host header not allowed",
    422: "Not a valid photo, label or number",
    429: "Too many requests",
    431: "The request headers are too large",
    503: "Busy, or the camera delivers no frames",
    507: "The disk is full",
}
_PHOTO = {
    "required": True,
    "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in TYPES},
}
_PHOTO_FAULTS = (400, 408, 413, 415, 422, 503)
_TOKEN = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {"token": schemas.TEXT},
                "required": ["token"],
            }
        }
    },
}


def _json(text: str, schema: Schema) -> Schema:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _responses(*good: tuple[int, str, Schema], faults: tuple[int, ...] = ()) -> Schema:
    return {
        **{str(code): _json(text, schema) for code, text, schema in good},
        **{
            str(code): _json(_FAULTS[code], schemas.ERROR)
            for code in (*faults, 401, 403, 421, 429, 431)
        },
    }


def _text_response(text: str, kind: str, faults: tuple[int, ...] = ()) -> Schema:
    good = {"description": text, "content": {kind: {"schema": schemas.TEXT}}}
    return {**_responses(faults=faults), "200": good}


def _operation(summary: str, responses: Schema, **more: Any) -> Schema:
    return {"summary": summary, "responses": responses, **more}


def document() -> Schema:
    """Return the whole document."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "edge-runtime", "version": __version__},
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{"token": []}, {}],
        "paths": {**_monitoring_paths(), **_recognition_paths(), **_label_paths()},
    }


def _monitoring_paths() -> dict[str, Schema]:
    health = _responses((200, "Yes", schemas.HEALTH), (503, "No", schemas.HEALTH))
    return {
        "/healthz": {"get": _operation("Whether the main loop is running", health)},
        "/readyz": {"get": _operation("Whether frames are being recognized", health)},
        "/metrics": {
            "get": _operation("Metrics for Prometheus", _text_response("Metrics", "text/plain"))
        },
        "/openapi.json": {
            "get": _operation("This document", _responses((200, "OpenAPI", {"type": "object"})))
        },
        "/api/status": {
            "get": _operation("Status of the daemon", _responses((200, "Status", schemas.STATUS)))
        },
        "/api/session": {
            "post": _operation(
                "Exchange the token for a session cookie",
                _responses(
                    (200, "The cookie is set", schemas.SESSION), faults=(400, 408, 413, 422)
                ),
                requestBody=_TOKEN,
            )
        },
    }


def _recognition_paths() -> dict[str, Schema]:
    return {
        "/api/events": {
            "get": _operation(
                "Latest events, newest first",
                _responses((200, "Events", schemas.EVENTS), faults=(422,)),
                parameters=[_LIMIT],
            )
        },
        "/api/stream": {
            "get": _operation(
                "Server-sent events: each recognition event, and the status once per second",
                _text_response("Endless stream", "text/event-stream", (503,)),
            )
        },
        "/live.mjpg": {
            "get": _operation(
                "Frames of the camera",
                _text_response("Endless stream", "multipart/x-mixed-replace", (404, 503)),
            )
        },
        "/api/query": {
            "post": _operation(
                "Recognize a photo",
                _responses((200, "Result", schemas.QUERY), faults=_PHOTO_FAULTS),
                requestBody=_PHOTO,
            )
        },
    }


def _label_paths() -> dict[str, Schema]:
    return {
        "/api/labels": {
            "get": _operation("List the labels", _responses((200, "Labels", schemas.LABELS)))
        },
        "/api/advice": {
            "get": _operation(
                "What to photograph next, and what is probably wrong in the gallery",
                _responses((200, "Advice", schemas.ADVICE), faults=(503,)),
            )
        },
        "/api/pictures/{id}": {
            "parameters": [_PICTURE],
            "get": _operation(
                "An enrolled picture that was kept",
                _text_response("JPEG", "image/jpeg", (404, 503)),
            ),
        },
        "/api/labels/{label}": {
            "parameters": [_LABEL],
            "post": _operation(
                "Enroll a photo",
                _responses(
                    (200, "Already enrolled", schemas.ENROLLED),
                    (201, "Enrolled", schemas.ENROLLED),
                    faults=(*_PHOTO_FAULTS, 507),
                ),
                requestBody=_PHOTO,
            ),
            "delete": _operation(
                "Remove a label with all its pictures",
                _responses((200, "Removed", schemas.REMOVED), faults=(404, 422, 503, 507)),
            ),
        },
        "/api/labels/{label}/frame": {
            "parameters": [_LABEL],
            "post": _operation(
                "Enroll the current frame of the camera",
                _responses((201, "Enrolled", schemas.ENROLLED), faults=(422, 503, 507)),
            ),
        },
        "/api/labels/{label}/photo": {
            "parameters": [_LABEL],
            "get": _operation(
                "Thumbnail of the label", _text_response("JPEG", "image/jpeg", (404, 422, 503))
            ),
        },
    }
