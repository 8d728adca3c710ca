"""Answer the most frequent request, GET of one code, without the framework.

HTTP and the framework take several times as much CPU time as the search. So the header of such a
request is read once by the same strict reader, and known from then on. The guard decides about each
request, as it does about all others. What is not plain takes the usual way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from urllib.parse import parse_qsl

import h11
from starlette.responses import Response

from edge_runtime.errors import BusyError, EdgeRuntimeError
from edge_runtime.remote.http import RemoteError
from edge_runtime.server.answers import headers_of, near_json, refusal
from edge_runtime.server.codes import Query, Scope, code_from_hex
from edge_runtime.server.parameters import check_model, check_names, scope_of
from edge_runtime.server.worker import Result, Worker
from edge_runtime.web.access import Guard, RawHeaders, with_security_headers
from edge_runtime.web.connection import ANSWER_S, HEAD_BYTES, Connection, StrictReader
from edge_runtime.web.photos import UploadError

HEADS = 256
"""Headers that are known, each of at most HEAD_BYTES."""
_TARGET = re.compile(rb"GET (/v1/near/([0-9a-fA-F]+))(?:\?([\w.,=&-]*))? (?=HTTP/1\.1\r\n)")
_UNUSUAL = frozenset(
    (b"content-length", b"transfer-encoding", b"expect", b"upgrade", b"if-none-match")
)


@dataclass(frozen=True)
class _Head:
    """The header of a request, after its first line."""

    headers: RawHeaders
    close: bool
    """Whether the client wants no other answer on this connection."""


@dataclass(frozen=True)
class _Asked:
    """A request that waits for its answer."""

    connection: Connection
    query: Query
    given: Mapping[str, str]
    """Its parameters."""
    close: bool


class NearShortcut:
    """See `edge_runtime.web.connection.Shortcut`. Used on the event loop's thread."""

    def __init__(self, worker: Worker, bits: int, guard: Guard) -> None:
        """Answer from `worker` what `guard` allows; codes have `bits` bits."""
        self._worker = worker
        self._bits = bits
        self._guard = guard

    def begin(self, data: bytes, connection: Connection) -> bool:
        """See `Shortcut`."""
        target = _TARGET.match(data)
        head = _read_head(data[target.end() :]) if target else None
        if target is None or head is None:
            return False
        path, code, parameters = target[1], target[2], target[3]
        scope = {
            "type": "http",
            "method": "GET",
            "path": path.decode(),
            "headers": head.headers,
            "client": connection.client,
        }
        loop = connection.loop
        if refused := self._guard.refusal(scope):
            loop.call_soon(_answer, connection, refused, head.close)
            return True
        try:
            given, wanted = _read_parameters(parameters or b"", self._bits)
            query = Query(code_from_hex(code.decode(), self._bits), wanted)
        except EdgeRuntimeError:
            return False  # the framework says what is wrong
        try:
            answer = self._worker.ask([query])
        except BusyError as error:
            loop.call_soon(_answer, connection, refusal(error), head.close)
            return True
        asked = _Asked(connection, query, given, head.close)
        answer.add_done_callback(partial(self._answered, asked))
        return True

    def late(self, connection: Connection) -> None:
        """See `Shortcut`."""
        error = RemoteError(f"no answer within {ANSWER_S:g} s")
        _answer(connection, refusal(error), close=True)

    def _answered(self, asked: _Asked, answer: Future[Result]) -> None:
        """Pass the answer on to the event loop; called on the thread that searches."""
        with suppress(RuntimeError):  # the loop has ended
            asked.connection.loop.call_soon_threadsafe(self._send, asked, answer)

    def _send(self, asked: _Asked, answer: Future[Result]) -> None:
        try:
            content, (found,) = answer.result()
            check_model(asked.given, content)
        except (EdgeRuntimeError, UploadError) as error:
            _answer(asked.connection, refusal(error), asked.close)
            return
        except Exception:  # the thread that searches logs it
            fault = Response("Internal Server Error", 500, media_type="text/plain")
            _answer(asked.connection, fault, asked.close)
            return
        body = near_json(content, asked.query.code, found)
        headers = with_security_headers(headers_of(content, body))
        asked.connection.answer(200, headers, body, close=asked.close)


def _answer(connection: Connection, response: Response, close: bool) -> None:
    headers = with_security_headers(list(response.raw_headers))
    connection.answer(response.status_code, headers, bytes(response.body), close=close)


@lru_cache(HEADS)
def _read_head(rest: bytes) -> _Head | None:
    """Read the end of a request after its target; None unless it is plain and has no body."""
    reader = StrictReader(h11.SERVER, HEAD_BYTES)
    reader.receive_data(b"GET / " + rest)
    try:
        request, end = reader.next_event(), reader.next_event()
    except h11.RemoteProtocolError:
        return None
    if not isinstance(request, h11.Request) or not isinstance(end, h11.EndOfMessage):
        return None
    headers = [(bytes(name), bytes(value)) for name, value in request.headers]
    wishes = [value.strip().lower() for name, value in headers if name == b"connection"]
    if reader.trailing_data[0] or _UNUSUAL & {name for name, _ in headers}:
        return None
    if wishes not in ([], [b"close"], [b"keep-alive"]):
        return None
    return _Head(headers, wishes == [b"close"])


@lru_cache(HEADS)
def _read_parameters(text: bytes, bits: int) -> tuple[Mapping[str, str], Scope]:
    """Return the parameters of an address, and the scope in them; raises `InputError`."""
    given = dict(parse_qsl(text.decode(), keep_blank_values=True))
    check_names(given)
    return given, scope_of(given, bits)
