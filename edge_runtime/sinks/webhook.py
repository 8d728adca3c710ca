"""Events to a web server: one POST of JSON each."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import asdict
from http.client import HTTPException

from edge_runtime import __version__
from edge_runtime.errors import SinkError
from edge_runtime.sinks.base import Sink
from edge_runtime.types import Event

BUSY = frozenset({408, 425, 429})
"""Answers below 500 that mean "later"."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A hook is told where to go by its configuration alone."""

    def redirect_request(self, *_: object) -> None:
        return None


class WebhookSink(Sink):
    """Posts each event to an http or https address; anything but a 2xx answer is a fault."""

    name = "webhook"

    def __init__(self, url: str, *, timeout_s: float = 5.0, token: str = "") -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": f"edge-runtime/{__version__}",
            **({"Authorization": f"Bearer {token}"} if token else {}),
        }
        self._opener = urllib.request.build_opener(_NoRedirect)

    def publish(self, event: Event) -> None:
        """See `Sink.publish`."""
        body = json.dumps(asdict(event), ensure_ascii=False).encode()
        request = urllib.request.Request(self._url, body, self._headers, method="POST")
        where = f"webhook {request.host}"
        try:
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                answer.read(1 << 16)
        except urllib.error.HTTPError as error:
            with error:
                raise SinkError(
                    f"the server answers {error.code} {error.reason}",
                    where=where,
                    remedy="check the address and the token",
                    retry=error.code >= 500 or error.code in BUSY,
                ) from error
        except (OSError, ValueError) as error:  # ValueError: an answer that is half HTTP
            reason = getattr(error, "reason", error)
            raise SinkError(f"no answer: {reason}", where=where) from error
        except HTTPException as error:  # as it is, it may hold line breaks
            raise SinkError(f"the answer is no HTTP: {error!r}", where=where) from error
