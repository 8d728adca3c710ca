"""Who may ask for what: names, tokens, other sites' pages, and how often.

- A request must call us by a name that is ours, or by an address: a web page that has its own name
  point at this machine (DNS rebinding) gets nothing.
- With a token set, everything but the page's own files and the bare health answers needs it, as a
  bearer token or as the session that the page got for it.
- A change that a browser sends must come from our own page (Origin, Sec-Fetch-Site), so that no
  other page can enrol or remove anything on the user's behalf.
- Work and wrong tokens are counted for each client.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
import time
from collections import OrderedDict
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge_runtime.settings.read import is_this_machine
from edge_runtime.settings.schema import HttpSettings

COOKIE = "edge_session"
SESSION_S = 30 * 24 * 3600
SESSIONS = 64
WRONG_TOKENS_PER_MINUTE = 10
HEADER_BYTES = 1 << 14
_OPEN = frozenset({"/", "/app.js", "/style.css", "/icon.svg", "/healthz", "/readyz"})
"""Answered without a token: the page's files hold nothing, and health is only yes or no then."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Rate:
    """So many acts a minute for each client, saved up for half a minute at most."""

    def __init__(self, per_minute: int) -> None:
        self._per_s = per_minute / 60
        self._burst = max(1.0, per_minute / 2)
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allow(self, client: str) -> bool:
        """Whether `client` may act now; if so, it has."""
        now_s = time.monotonic()
        left, at_s = self._left.pop(client, (self._burst, now_s))
        left = min(self._burst, left + (now_s - at_s) * self._per_s)
        allowed = left >= 1
        self._left[client] = (left - allowed, now_s)
        while len(self._left) > 1000:
            self._left.popitem(last=False)
        return allowed


class AuthMiddleware:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp, settings: HttpSettings, token: str) -> None:
        self._app = app
        self._token = token
        self._names = {"localhost", settings.host.lower(), *map(str.lower, settings.names)}
        if not is_this_machine(settings.host):
            name = socket.gethostname().lower()
            self._names |= {name, f"{name}.local"}
        self._sessions: OrderedDict[str, float] = OrderedDict()
        self._work = Rate(settings.requests_per_minute)
        self._wrong = Rate(WRONG_TOKENS_PER_MINUTE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what may not be done, and hand on the rest."""
        if scope["type"] != "http":
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        answer = self._judge(scope)
        await (answer or self._app)(scope, receive, guarded)

    def _judge(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        path, client = scope["path"], (scope.get("client") or ("?",))[0]
        if sum(len(name) + len(value) for name, value in scope["headers"]) > HEADER_BYTES:
            return refuse(431, "more headers than any client of ours sends")
        if not self._is_our_name(headers.get("host", "")):
            return refuse(421, "this is not its name", "use its address, or list it in http.names")
        if scope["method"] not in _SAFE and not _is_from_our_page(headers):
            return refuse(403, "a page of another site asks for this")
        known = self._is_known(headers)
        scope["state"] = {"known": known, "guard": self, "client": client}
        if not known and path not in _OPEN and path != "/api/session":
            if headers.get("authorization") and not self._wrong.allow(client):
                return refuse(429, "too many wrong tokens", "wait a minute")
            return refuse(401, "a token is needed", "Authorization: Bearer TOKEN")
        if scope["method"] not in _SAFE and not self._work.allow(client):
            return refuse(429, "too many requests", "wait a little")
        return None

    def _is_our_name(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
            if name in self._names:
                return True
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _is_known(self, headers: Headers) -> bool:
        if not self._token:
            return True
        kind, _, shown = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self._matches(shown.strip()):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and self._sessions.get(cookie.value, 0) > time.time()

    def _matches(self, shown: str) -> bool:
        return hmac.compare_digest(shown.encode(), self._token.encode())

    def open_session(self, shown: str, client: str) -> JSONResponse:
        """A session for whoever shows the token."""
        if not self._matches(shown):
            allowed = self._wrong.allow(client)
            return refuse(401 if allowed else 429, "that is not the token", "see http.token_file")
        session = secrets.token_urlsafe(32)
        self._sessions[session] = time.time() + SESSION_S
        while len(self._sessions) > SESSIONS:
            self._sessions.popitem(last=False)
        answer = JSONResponse({"session": "open"})
        answer.set_cookie(COOKIE, session, SESSION_S, httponly=True, samesite="strict")
        return answer


def refuse(status: int, error: str, remedy: str = "") -> JSONResponse:
    """An error as every part of the API gives it."""
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse({"error": error, "remedy": remedy}, status, headers)


def _is_from_our_page(headers: Headers) -> bool:
    """A browser says where a request comes from; a program need not."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    try:
        return origin is None or urlsplit(origin).netloc == headers.get("host")
    except ValueError:
        return False
