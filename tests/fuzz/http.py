"""The reader of HTTP requests: the connection, access control and the bodies of requests."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from typing import Any

from tests.fuzz.reader import Reader

_HOST = b"HTTP/1.1\r\nHost: localhost\r\n"
_TOKEN = "0123456789abcdef"
_PIECE = 7
"""Bytes that arrive at once, the second time."""


class Answered(Exception):  # noqa: N818  (names how the input ended, for the harness)
    """The status codes of the responses."""


def reader() -> Reader:
    """Return the reader of what a client sends to the web server."""
    from edge_runtime.settings.schema import HttpSettings

    settings = HttpSettings(max_upload_mb=0.01)
    _answers([seeds()[0]], settings)  # imports all modules before the limit of memory applies
    return Reader("http", seeds, lambda data: _read(data, settings), (Answered,), memory_mb=64)


def seeds() -> list[bytes]:
    """Return requests of every kind, some one after the other, and ambiguous ones."""
    photo = b"Content-Type: image/jpeg\r\n"
    token = f"Authorization: Bearer {_TOKEN}\r\n".encode()
    body = json.dumps({"token": _TOKEN}).encode()
    length = b"Content-Length: %d\r\n\r\n" % len(body)
    get = b"GET /healthz " + _HOST + b"\r\n"
    post = b"POST /api/session " + _HOST
    query = b"POST /api/query " + _HOST + photo + token
    chunks = b"Transfer-Encoding: chunked\r\n\r\n"
    return [
        get,
        get + get + b"GET / HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /api/events?limit=%ED%A0%80 " + _HOST + token + b"\r\n",
        b"GET /api/labels/%FF/photo " + _HOST + b"Cookie: edge_session=x; =\r\n\r\n",
        post + length + body + get,
        post + chunks + b"%x;a=b\r\n%s\r\n0\r\nX: y\r\n\r\n" % (len(body), body) + get,
        post + b"Expect: 100-continue\r\n" + length + body,
        query + b"Content-Length: 4\r\n\r\n\xff\xd8\xff\xe0",
        query + b"Content-Length: 40000\r\n\r\n" + bytes(99),
        b"POST /api/query "
        + _HOST
        + photo
        + token
        + chunks
        + b"4\r\nRIFF\r\n8\r\n\0\0\0\0WEBP\r\n",
        b"DELETE /x " + _HOST + token + b"Origin: http://[::\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: [::1]:80\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        post + b"Content-Length: 2\r\n" + chunks + b"0\r\n\r\n",
        post + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        post + b"X: y\n\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ]


def _read(data: bytes, settings: Any) -> None:
    """Read `data` at once and in pieces.

    The answers may differ: an error in a body can be seen before or after the response.
    """
    whole = _answers([data] if data else [], settings)
    _answers([data[at : at + _PIECE] for at in range(0, len(data), _PIECE)], settings)
    raise Answered(" ".join(whole))


def _answers(pieces: list[bytes], settings: Any) -> list[str]:
    faults: list[str] = []

    class Faults(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.ERROR:
                faults.append(f"{record.getMessage()} {record.exc_info}")

    for name in ("uvicorn.error", "asyncio"):
        log = logging.getLogger(name)
        log.handlers, log.propagate = [Faults()], False
    sent = asyncio.run(_talk(pieces, settings, faults))
    if faults:
        raise RuntimeError(" ".join("; ".join(faults).split()))
    return re.findall(r"HTTP/1\.1 ([2-5]\d\d) ", sent.decode("latin-1"))


async def _talk(pieces: list[bytes], settings: Any, faults: list[str]) -> bytes:
    import socket

    from uvicorn import Config
    from uvicorn.server import ServerState

    from edge_runtime.web.connection import Connection

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: faults.append(str(context)))
    config = Config(_app(settings), ws="none", lifespan="off", log_config=None, access_log=False)
    state = ServerState()
    with socket.socket() as unused:
        connection = Connection(config, state, "127.0.0.1", unused, lambda _: None)
        transport = _Transport(connection)
        connection.connection_made(transport)
        for piece in pieces:
            while transport.paused and not transport.is_closing():
                await asyncio.sleep(0)
            if transport.is_closing():
                break
            connection.data_received(piece)
            await asyncio.sleep(0)
        for _ in range(200):  # let it answer what is complete
            await asyncio.sleep(0)
        transport.close()
        async with asyncio.timeout(30):
            while state.tasks:
                await asyncio.sleep(0)
    return bytes(transport.sent)


def _app(settings: Any) -> Any:
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response

    from edge_runtime.web.access import Access, AuthMiddleware, Guard, Tokens
    from edge_runtime.web.endpoint import Endpoint, Permissions, Role
    from edge_runtime.web.photos import Uploads
    from edge_runtime.web.routes.context import small_json
    from edge_runtime.web.routes.faults import HANDLERS

    uploads = Uploads(settings)

    async def session(request: Request) -> Response:
        token = (await small_json(request)).get("token")
        auth: Guard = request.scope["state"]["auth"]
        client = request.scope["state"]["client"]
        return auth.open_session(str(token), client, secure=False)

    async def query(request: Request) -> Response:
        async with uploads.receive(request) as data:
            return JSONResponse({"bytes": len(data)})

    async def page(request: Request) -> Response:
        return JSONResponse(dict(request.query_params))

    endpoints = [
        Endpoint("POST", "/api/session", session, role=Role.NOBODY),
        Endpoint("POST", "/api/query", query),
        Endpoint("GET", "/", page, role=Role.NOBODY),
        Endpoint("GET", "/metrics", page, role=Role.READER),
        Endpoint("GET", "/api/labels/{label}", page),
    ]
    guard = Guard(settings, Access(Tokens(_TOKEN)), Permissions(endpoints))
    access = Middleware(AuthMiddleware, guard=guard)
    routes = [endpoint.route for endpoint in endpoints]
    return Starlette(routes=routes, middleware=[access], exception_handlers=HANDLERS)


class _Transport(asyncio.Transport):
    """Collects what is sent."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.sent = bytearray()
        self.paused = False
        self._protocol, self._closing = protocol, False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    abort = close

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False
