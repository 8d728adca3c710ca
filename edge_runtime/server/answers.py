"""The answers of the server, in JSON and as HTTP responses."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from starlette.responses import Response

from edge_runtime.code import Code
from edge_runtime.errors import EdgeRuntimeError
from edge_runtime.remote.http import RemoteError
from edge_runtime.server.codes import Answer, Content, Query, code_to_hex
from edge_runtime.types import Match, Verdict
from edge_runtime.web.access import RawHeaders, refuse
from edge_runtime.web.photos import UploadError
from edge_runtime.web.routes.faults import fault_response

_ENCODER = msgspec.json.Encoder()


class _Match(msgspec.Struct, gc=False):
    id: int
    label: str
    distance: int
    penalty: float
    meters: float | None
    similarity: float | None


class _Near(msgspec.Struct, gc=False):
    version: str
    model_id: str
    code: str
    matches: list[_Match]


class _Label(msgspec.Struct, gc=False):
    label: str
    similarity: float


class _Verdict(msgspec.Struct, gc=False):
    label: str | None
    confidence: float
    distance: int | None
    similarity: float | None


class _Answer(msgspec.Struct, gc=False):
    code: str
    matches: list[_Match]
    labels: list[_Label] | None
    verdict: _Verdict | None


class _Batch(msgspec.Struct, gc=False):
    version: str
    model_id: str
    answers: list[_Answer]


def near_json(content: Content, code: Code, answer: Answer) -> bytes:
    """Return the answer for one code (uint64 [W])."""
    name = code_to_hex(code, content.bits)
    return _ENCODER.encode(_Near(content.version, content.model_id, name, _matches(answer.matches)))


def batch_json(content: Content, queries: Sequence[Query], answers: Sequence[Answer]) -> bytes:
    """Return the answers for many codes."""
    found = [
        _Answer(
            code_to_hex(query.code, content.bits),
            _matches(answer.matches),
            None
            if answer.labels is None
            else [_Label(one.label, one.similarity) for one in answer.labels],
            None if answer.verdict is None else _verdict(answer.verdict),
        )
        for query, answer in zip(queries, answers, strict=True)
    ]
    return _ENCODER.encode(_Batch(content.version, content.model_id, found))


def _verdict(verdict: Verdict) -> _Verdict:
    return _Verdict(verdict.label, verdict.confidence, verdict.distance, verdict.similarity)


def content_json(content: Content) -> bytes:
    """Return what is searched."""
    return _ENCODER.encode(content)


def headers_of(content: Content, body: bytes) -> RawHeaders:
    """Return the headers of the answer `body`."""
    return [
        (b"etag", b'"%s"' % content.version.encode()),
        (b"cache-control", b"private, no-cache"),
        (b"content-length", b"%d" % len(body)),
        (b"content-type", b"application/json"),
    ]


def json_response(content: Content, body: bytes) -> Response:
    """Return the answer `body` with its headers."""
    response = Response(body)
    response.raw_headers = headers_of(content, body)
    return response


def refusal(error: EdgeRuntimeError | UploadError) -> Response:
    """Return what answers a request that ended in `error`."""
    if isinstance(error, RemoteError):
        return refuse(503, error.what, error.remedy)
    return fault_response(error)


def _matches(matches: Sequence[Match]) -> list[_Match]:
    return [
        _Match(one.id, one.label, one.distance, one.penalty, one.meters, one.similarity)
        for one in matches
    ]
