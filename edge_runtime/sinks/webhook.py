"""Send events to a web server or a messenger, each as one POST request."""

from __future__ import annotations

import urllib.error
import urllib.request
from contextlib import suppress
from http.client import HTTPException

from edge_runtime import __version__
from edge_runtime.errors import SinkError
from edge_runtime.sinks.base import Sink
from edge_runtime.sinks.deadline import Attempt
from edge_runtime.sinks.message import MessageFormat
from edge_runtime.types import Event

BUSY = frozenset({408, 425, 429})
"""Status codes below 500 that mean "try again later"."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuses redirects: only the configuration decides where events are sent."""

    def redirect_request(self, *_: object) -> None:
        return None


class WebhookSink(Sink):
    """Posts each event to an http or https address. Any response but 2xx is an error.

    `timeout_s` bounds a whole attempt: name lookup, connection, encryption and response.
    """

    name = "webhook"

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 5.0,
        token: str = "",
        format: MessageFormat | None = None,
        kinds: str = "all",
    ) -> None:
        """Send events of `kinds` to `url`, by default as JSON."""
        self._url, self._token = url, token
        self._timeout_s = timeout_s
        self._format = format or MessageFormat()
        self._kinds = kinds

    def publish(self, event: Event) -> None:
        """See `Sink.publish`."""
        if self._kinds not in ("all", event.kind) and event.kind != "test":
            return
        message = self._format.request(event, self._url, self._token)
        headers = {"User-Agent": f"edge-runtime/{__version__}", **message.headers}
        request = urllib.request.Request(message.url, message.body, headers, method="POST")
        where = f"webhook {request.host}"
        with Attempt(self._timeout_s) as attempt:
            opener = urllib.request.build_opener(_NoRedirect, *attempt.handlers())
            try:
                accepted = False
                with (
                    opener.open(request, timeout=self._timeout_s) as answer,
                    suppress(OSError, HTTPException),  # the server has accepted the event
                ):
                    accepted = not attempt.expired
                    answer.read(1 << 16)
                if not accepted:
                    raise OSError("the header is incomplete")
            except urllib.error.HTTPError as error:
                with error:
                    raise SinkError(
                        f"the server responded {error.code} {_printable(error.reason)}",
                        where=where,
                        remedy="check the address and the token",
                        retry=error.code >= 500 or error.code in BUSY,
                    ) from error
            except (OSError, ValueError, HTTPException) as error:
                if attempt.expired:
                    raise SinkError(
                        f"no complete response within {self._timeout_s:g} s", where=where
                    ) from error
                if isinstance(error, HTTPException):  # {!r}: the text may contain line breaks
                    raise SinkError(
                        f"the response is not valid HTTP: {error!r}", where=where
                    ) from error
                reason = _printable(str(getattr(error, "reason", error)))  # ValueError: malformed
                if self._token:  # that of Telegram is part of the address
                    reason = reason.replace(self._token, "***")
                raise SinkError(f"no response: {reason}", where=where) from error


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text)[:200]
