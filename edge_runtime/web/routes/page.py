"""The files of the page, and the exchange of a token for a session."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from edge_runtime.web import schemas
from edge_runtime.web.access import Guard, refuse
from edge_runtime.web.endpoint import Endpoint, Role
from edge_runtime.web.openapi import json_body, operation, responses
from edge_runtime.web.routes.context import small_json

STATIC = Path(__file__).parents[1] / "static"
TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
}
_TOKEN = {"type": "object", "properties": {"token": schemas.TEXT}, "required": ["token"]}


class _File(NamedTuple):
    content: bytes
    compressed: bytes
    """By gzip; empty if that gains nothing."""
    kind: str
    tag: str

    @classmethod
    def read(cls, path: Path) -> _File:
        content = path.read_bytes()
        compressed = gzip.compress(content, 9, mtime=0) if path.suffix != ".png" else b""
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        return cls(content, compressed, TYPES[path.suffix], tag)


class PageFiles:
    """The files of a page and its sessions. Everyone may load the files: they contain no data."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        """`files`: what to read, by its path in the URL."""
        # In memory, as opening a file fails when there are no file descriptors left.
        self._files = {path: _File.read(file) for path, file in files.items()}

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """See `Endpoints`."""
        session = operation(
            "Exchange the token for a session cookie",
            responses((200, "The cookie is set", schemas.SESSION), faults=(400, 408, 413, 422)),
            requestBody=json_body(_TOKEN),
        )
        who = operation("What this client may do", responses((200, "The role", schemas.SESSION)))
        return [
            *(Endpoint("GET", path, self._file, role=Role.NOBODY) for path in self._files),
            Endpoint("GET", "/api/session", self._role, who, Role.READER),
            Endpoint("POST", "/api/session", self._session, session, Role.NOBODY),
        ]

    async def _file(self, request: Request) -> Response:
        file = self._files[request.scope["path"]]
        headers = {"ETag": file.tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        if request.headers.get("if-none-match") == file.tag:
            return Response(status_code=304, headers=headers)
        content = file.content
        if file.compressed and "gzip" in request.headers.get("accept-encoding", ""):
            content, headers["Content-Encoding"] = file.compressed, "gzip"
        return Response(content, media_type=file.kind, headers=headers)

    async def _role(self, request: Request) -> Response:
        role: Role = request.scope["state"]["role"]
        return JSONResponse({"session": "open", "role": role.name.lower()})

    async def _session(self, request: Request) -> Response:
        body = await small_json(request)
        token = body.get("token")
        if not isinstance(token, str):
            return refuse(422, "token is missing", 'send {"token": "..."}')
        auth: Guard = request.scope["state"]["auth"]
        secure = request.scope["scheme"] == "https"
        return auth.open_session(token, request.scope["state"]["client"], secure=secure)

    def begin(self) -> None:
        """See `Endpoints`."""

    def close(self, wait_s: float) -> None:
        """See `Endpoints`."""


class PageEndpoints(PageFiles):
    """The page of a daemon."""

    def __init__(self) -> None:
        files = {
            f"/{file.relative_to(STATIC).as_posix()}": file
            for file in sorted(STATIC.rglob("*"))
            if file.suffix in TYPES
        }
        files["/"] = files.pop("/index.html")
        super().__init__(files)
