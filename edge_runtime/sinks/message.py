"""The HTTP requests by which events reach web servers and messengers."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote

from edge_runtime.settings.template import DEFAULT
from edge_runtime.types import Event

LONGEST = 1900
"""Characters of a message. Discord takes 2000, Telegram 4096."""


@dataclass(frozen=True)
class Message:
    """One request."""

    url: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class MessageFormat:
    """How an event becomes a request: `name` is json, text, ntfy, telegram or discord."""

    name: str = "json"
    template: str = DEFAULT
    chat_id: str = ""
    """Of Telegram."""

    def request(self, event: Event, url: str, token: str) -> Message:
        """Return the request that sends `event` to `url` with `token`, which may be empty."""
        bearer = {"Authorization": f"Bearer {token}"} if token else {}
        if self.name == "json":
            return _json(url, asdict(event), bearer)
        text = message_of(event, self.template)
        if self.name == "telegram":  # the token is part of the address, so it is never shown
            address = f"{url.rstrip('/')}/bot{quote(token, safe=':')}/sendMessage"
            return _json(address, {"chat_id": self.chat_id, "text": text}, {})
        if self.name == "discord":  # a label like "@everyone" must notify nobody
            return _json(url, {"content": text, "allowed_mentions": {"parse": []}}, bearer)
        headers = {"Content-Type": "text/plain; charset=utf-8", **bearer}
        if self.name == "ntfy":
            headers["Title"] = _header(event.board or "edge-runtime")
            headers["Tags"] = "eye" if event.kind == "enter" else "wave"
        return Message(url, headers, text.encode())


def message_of(event: Event, template: str = DEFAULT) -> str:
    """Return the text of a message; `template` was checked with `template_fault`."""
    place = "/".join(filter(None, (event.board, event.camera, event.region)))
    left = f"left ({event.reason})" if event.reason else "left"
    values: dict[str, Any] = {
        key: "" if value is None else value for key, value in asdict(event).items()
    }
    if event.distance is None:
        values["distance"] = -1
    what = {"enter": "came into view", "leave": left}.get(event.kind, "is a test")
    values |= {"place": place, "what": what}
    text = template.format_map(values)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _json(url: str, body: dict[str, Any], headers: dict[str, str]) -> Message:
    headers = {"Content-Type": "application/json", **headers}
    return Message(url, headers, json.dumps(body, ensure_ascii=False).encode())


def _header(text: str) -> str:
    """Return `text` as a header's value, encoded (RFC 2047) unless it is plain ASCII."""
    if text.isascii() and text.isprintable():
        return text
    return f"=?utf-8?B?{base64.b64encode(text.encode()).decode()}?="
