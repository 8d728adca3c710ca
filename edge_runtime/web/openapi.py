"""The API described (OpenAPI 3.1), for programs that are made from such descriptions."""

from __future__ import annotations

from typing import Any

from edge_runtime import __version__
from edge_runtime.web.photos import TYPES

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "number"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_MAYBE_COUNT: Schema = {"type": ["integer", "null"], "minimum": 0}


def _object(required: bool = True, **properties: Schema) -> Schema:
    made: Schema = {"type": "object", "properties": properties}
    return {**made, "required": list(properties)} if required else made


_ERROR = _object(error=_TEXT, remedy=_TEXT)
_EVENT = _object(
    kind={"enum": ["enter", "leave"]},
    label=_TEXT,
    confidence=_NUMBER,
    distance=_MAYBE_COUNT,
    sequence=_COUNT,
    time={"type": "string", "format": "date-time"},
    frame_time={"type": "string", "format": "date-time"},
    latency_ms=_NUMBER,
)
_MATCH = _object(id=_COUNT, label=_TEXT, distance=_COUNT, source=_TEXT)
_VERDICT = _object(
    label={"type": ["string", "null"], "description": "null: unknown"},
    confidence=_NUMBER,
    distance=_MAYBE_COUNT,
    matches={"type": "array", "items": _MATCH},
    stage_ms={"type": "object", "additionalProperties": _NUMBER},
)
_ENROLLED = _object(label=_TEXT, pictures_added=_COUNT, codes_added=_COUNT, pictures_known=_COUNT)
_HEALTH = {**_object(status={"enum": ["ok", "failing"]}), "additionalProperties": True}
_LABEL = {
    "name": "label",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": 128},
}


def _answers(*good: tuple[int, str, Schema], faults: tuple[int, ...] = ()) -> dict[str, Any]:
    made = {
        str(code): {"description": text, "content": {"application/json": {"schema": schema}}}
        for code, text, schema in good
    }
    for code in (*faults, 401, 403, 421, 429):
        content = {"application/json": {"schema": _ERROR}}
        made[str(code)] = {"description": _FAULTS[code], "content": content}
    return made


_FAULTS = {
    400: "Not a request that can be read",
    401: "A token is needed",
    403: "Asked by a page of another site",
    404: "No such label",
    408: "The photo did not come in time",
    413: "Larger than http.max_upload_mb",
    415: "Not a type of photo",
    421: "Not a name of this machine",
    422: "Not a usable photo, label or number",
    429: "Too many requests",
    503: "Busy, or no picture from the camera",
    507: "The disk is full",
}
_PHOTO = {
    "required": True,
    "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in TYPES},
}
_PHOTO_FAULTS = (400, 408, 413, 415, 422, 503)


def _plain(text: str, kind: str, faults: tuple[int, ...] = ()) -> dict[str, Any]:
    good = {"200": {"description": text, "content": {kind: {"schema": _TEXT}}}}
    return {**_answers(faults=faults), **good}


def document() -> dict[str, Any]:
    """The whole document."""
    labels = _object(
        labels={"type": "array", "items": _object(label=_TEXT, pictures=_COUNT, codes=_COUNT)}
    )
    events = _object(events={"type": "array", "items": _EVENT})
    limit = {
        "name": "limit",
        "in": "query",
        "schema": {"type": "integer", "minimum": 1, "maximum": 200, "default": 50},
    }
    health = _answers((200, "Yes", _HEALTH), (503, "No", _HEALTH))
    session = {
        "required": True,
        "content": {"application/json": {"schema": _object(token=_TEXT)}},
    }

    def act(text: str, answers: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {"summary": text, "responses": answers, **more}

    return {
        "openapi": "3.1.0",
        "info": {"title": "edge-runtime", "version": __version__},
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{"token": []}, {}],
        "paths": {
            "/healthz": {"get": act("Does the work loop turn?", health)},
            "/readyz": {"get": act("Are recognitions being made?", health)},
            "/metrics": {"get": act("For Prometheus", _plain("Metrics", "text/plain"))},
            "/api/status": {
                "get": act("Everything worth knowing", _answers((200, "Status", _object())))
            },
            "/api/events": {
                "get": act(
                    "What came and left, newest first",
                    _answers((200, "Events", events), faults=(422,)),
                    parameters=[limit],
                )
            },
            "/api/stream": {
                "get": act(
                    "Server-sent events: recognition as it happens, status once a second",
                    _plain("A stream without end", "text/event-stream", (503,)),
                )
            },
            "/live.mjpg": {
                "get": act(
                    "The camera's picture",
                    _plain("A stream without end", "multipart/x-mixed-replace", (404, 503)),
                )
            },
            "/api/session": {
                "post": act(
                    "A session for the page, in exchange for the token",
                    _answers((200, "A cookie", _object(session=_TEXT)), faults=(413, 422)),
                    requestBody=session,
                )
            },
            "/api/query": {
                "post": act(
                    "Which place or object is in a photo?",
                    _answers((200, "The answer", _VERDICT), faults=_PHOTO_FAULTS),
                    requestBody=_PHOTO,
                )
            },
            "/api/labels": {"get": act("What is enrolled", _answers((200, "Labels", labels)))},
            "/api/labels/{label}": {
                "parameters": [_LABEL],
                "post": act(
                    "Enrol a photo",
                    _answers(
                        (200, "It was there already", _ENROLLED),
                        (201, "Enrolled", _ENROLLED),
                        faults=(*_PHOTO_FAULTS, 507),
                    ),
                    requestBody=_PHOTO,
                ),
                "delete": act(
                    "Forget a label with all its photos",
                    _answers(
                        (
                            200,
                            "Gone",
                            _object(label=_TEXT, pictures_removed=_COUNT, codes_removed=_COUNT),
                        ),
                        faults=(404, 422, 503, 507),
                    ),
                ),
            },
            "/api/labels/{label}/frame": {
                "parameters": [_LABEL],
                "post": act(
                    "Enrol what the camera sees now",
                    _answers((201, "Enrolled", _ENROLLED), faults=(422, 503, 507)),
                ),
            },
            "/api/labels/{label}/photo": {
                "parameters": [_LABEL],
                "get": act("The enrolled photo", _plain("JPEG", "image/jpeg", (404, 422, 503))),
            },
        },
    }
