"""The OpenAPI 3.1 document of the API, and the parts that its operations share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from edge_runtime import __version__
from edge_runtime.web import schemas
from edge_runtime.web.clips.receive import TYPES as CLIP_TYPES
from edge_runtime.web.endpoint import Endpoint
from edge_runtime.web.photos import TYPES
from edge_runtime.web.schemas import Schema

LABEL = {
    "name": "label",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": 128},
}
PICTURE = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "The id of the first code of the picture",
    "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
}
CAMERA = {
    "name": "camera",
    "in": "query",
    "description": "Name of the camera; the first one if it is missing",
    "schema": schemas.TEXT,
}
CAREFUL = {
    "name": "careful",
    "in": "query",
    "description": "1: do not enroll a dark, uniform or blurred frame, nor the same frame twice",
    "schema": {"enum": ["0", "1"], "default": "0"},
}
QUICK = {
    "name": "quick",
    "in": "query",
    "description": "1: without a look at the pixels of the pictures",
    "schema": {"enum": ["0", "1"], "default": "0"},
}
PICTURES = {
    "name": "ids",
    "in": "query",
    "required": True,
    "description": "Ids of pictures, separated by commas; at most 200",
    "schema": {"type": "string", "pattern": "^[0-9]{1,18}(,[0-9]{1,18}){0,199}$"},
}
REGION = {
    "name": "region",
    "in": "query",
    "description": "Name of the region; the camera's first one if it is missing",
    "schema": schemas.TEXT,
}
LIMIT = {
    "name": "limit",
    "in": "query",
    "schema": {"type": "integer", "minimum": 1, "maximum": 200, "default": 50},
}
CAMERA_NAME = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "Name of the camera",
    "schema": schemas.TEXT,
}
STORE = {
    "name": "name",
    "in": "path",
    "required": True,
    "schema": {"enum": ["history", "unknowns"]},
}
SINK = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "Name of the sink, as in the status",
    "schema": schemas.TEXT,
}
SOURCE = {
    "name": "source",
    "in": "query",
    "required": True,
    "description": "The camera, as in /api/cameras/available",
    "schema": schemas.TEXT,
}
VERSION = {
    "name": "If-Match",
    "in": "header",
    "description": "The version that the change is meant for; without it, the current one",
    "schema": schemas.TEXT,
}
_FAULTS = {
    400: "The request cannot be read",
    401: "A token is required",
    403: "The request comes from another site's page, or the token permits only to look",
    404: "There is no such label, picture, camera, region or sink",
    408: "The photo or clip did not arrive in time",
    409: "The page may not change this key or the file, or the file was changed meanwhile",
    413: "Larger than http.max_upload_mb or, a clip, than http.max_clip_mb",
    415: "Not a supported type of image or clip",
    421: "Host header not allowed",
    422: "Not a valid photo, clip, label or number",
    429: "Too many requests",
    431: "The request headers are too large",
    500: "The camera does not work",
    503: "Busy, or the camera delivers no frames",
    507: "The disk is full",
}
PHOTO = {
    "required": True,
    "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in TYPES},
}
PHOTO_OR_CLIP = {
    "required": True,
    "content": {
        kind: {"schema": {"type": "string", "format": "binary"}} for kind in (*TYPES, *CLIP_TYPES)
    },
}
PHOTO_FAULTS = (400, 408, 413, 415, 422, 503)


def json_body(schema: Schema) -> Schema:
    """Return the description of a request body in JSON."""
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def binary_body(kind: str) -> Schema:
    """Return the description of a request body of the content type `kind`."""
    return {
        "required": True,
        "content": {kind: {"schema": {"type": "string", "format": "binary"}}},
    }


def json_response(text: str, schema: Schema) -> Schema:
    """Return the description of an answer in JSON."""
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def responses(*good: tuple[int, str, Schema], faults: tuple[int, ...] = ()) -> Schema:
    """Return the answers `good` (status, text, schema), and the faults of this and any request."""
    return {
        **{str(code): json_response(text, schema) for code, text, schema in good},
        **{
            str(code): json_response(_FAULTS[code], schemas.ERROR)
            for code in (*faults, 401, 403, 421, 429, 431)
        },
    }


def text_response(text: str, kind: str, faults: tuple[int, ...] = ()) -> Schema:
    """Return one answer of the content type `kind`, and its faults."""
    good = {"description": text, "content": {kind: {"schema": schemas.TEXT}}}
    return {**responses(faults=faults), "200": good}


def operation(summary: str, answers: Schema, **more: Any) -> Schema:
    """Return the operation that gives `answers`."""
    return {"summary": summary, "responses": answers, **more}


def document(endpoints: Iterable[Endpoint]) -> Schema:
    """Return the whole document."""
    paths: dict[str, Schema] = {}
    for endpoint in endpoints:
        if endpoint.operation is not None:
            paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = endpoint.operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "edge-runtime", "version": __version__},
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{"token": []}, {}],
        "paths": paths,
    }
