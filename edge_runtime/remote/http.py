"""One HTTP request with a deadline for all of it, and a limit on the answer."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from urllib.parse import urlsplit

from edge_runtime import __version__
from edge_runtime.errors import ServiceError
from edge_runtime.sinks.deadline import Attempt


class RemoteError(ServiceError):
    """A server of codes does not answer, or not completely."""


@dataclass(frozen=True)
class Response:
    """A complete answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuses redirects: only the configuration decides where a request is sent."""

    def redirect_request(self, *_: object) -> None:
        return None


def send(
    method: str,
    url: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    timeout_s: float,
    most_bytes: int,
) -> Response:
    """Return the answer of any status; raises `RemoteError` if none is complete in `timeout_s`.

    The deadline covers name lookup, connection, encryption and the answer of at most `most_bytes`.
    """
    where = urlsplit(url).netloc.rpartition("@")[2]
    sent = {"User-Agent": f"edge-runtime/{__version__}", **(headers or {})}
    try:
        request = urllib.request.Request(url, body, sent, method=method)
    except ValueError as error:
        raise RemoteError("not a valid address", where=where) from error
    with Attempt(timeout_s) as attempt:
        # An environment's proxy must not see the codes unless the address is that of the proxy.
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), _NoRedirect, *attempt.handlers()
        )
        try:
            try:
                answer = opener.open(request, timeout=timeout_s)
            except urllib.error.HTTPError as error:
                answer = error
            with answer:
                data = answer.read(most_bytes + 1)
                length = answer.headers.get("Content-Length", "")
            if attempt.expired:
                raise TimeoutError
            if len(data) > most_bytes:
                raise RemoteError(f"the answer has more than {most_bytes} bytes", where=where)
            if length.isdecimal() and int(length) != len(data):
                raise RemoteError("the answer is incomplete", where=where)
            return Response(answer.status or 0, dict(answer.headers), data)
        except (OSError, ValueError, HTTPException) as error:
            raise _explained(error, where, timeout_s, expired=attempt.expired) from error


def _explained(error: Exception, where: str, timeout_s: float, *, expired: bool) -> RemoteError:
    cause = getattr(error, "reason", error)
    if expired or isinstance(cause, TimeoutError):
        return RemoteError(f"no complete answer within {timeout_s:g} s", where=where)
    if isinstance(cause, ssl.SSLError):
        return RemoteError(f"no encrypted connection: {cause.reason}", where=where)
    if isinstance(error, HTTPException):  # {!r}: the text may contain line breaks
        return RemoteError(f"the answer is not valid HTTP: {error!r:.100}", where=where)
    reason = getattr(cause, "strerror", None) or str(cause)
    return RemoteError(f"no answer: {reason:.100}", where=where, remedy="check the address")
