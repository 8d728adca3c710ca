"""Send events to a web server, each as one POST request with JSON."""

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
"""Status codes below 500 that mean "try again later"."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuses redirects: only the configuration decides where events are sent."""

    def redirect_request(self, *_: object) -> None:
        return None


class WebhookSink(Sink):
    """Posts each event to an http or https address. Any response but 2xx is an error."""

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
                    f"the server responded {error.code} {error.reason}",
                    where=where,
                    remedy="check the address and the token",
                    retry=error.code >= 500 or error.code in BUSY,
                ) from error
        except (OSError, ValueError) as error:  # ValueError: a malformed HTTP response
            reason = getattr(error, "reason", error)
            raise SinkError(f"no response: {reason}", where=where) from error
        except HTTPException as error:  # {!r}: the text may contain line breaks
            raise SinkError(f"the response is not valid HTTP: {error!r}", where=where) from error
