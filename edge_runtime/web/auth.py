"""Access control: host names, tokens, cross-site requests and rate limits.

- The Host header must be an allowed name or an IP address. This prevents DNS rebinding, where the
  name of another web page resolves to this machine.
- If a token is configured, all requests require it, except for the page's own files and the bare
  health checks. It is sent as a bearer token, or as the session cookie that the page obtained.
- A change requested by a browser must come from our own page (Origin, Sec-Fetch-Site), so that no
  other page can enroll or remove anything on the user's behalf.
- Requests that cause work, and wrong tokens, are limited per client.
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
"""Available without a token. The page's files contain no data, and the health checks then return
only their status."""
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
    """A rate limit per client: a token bucket that holds half a minute's worth of requests."""

    def __init__(self, per_minute: int) -> None:
        self._per_s = per_minute / 60
        self._burst = max(1.0, per_minute / 2)
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allow(self, client: str) -> bool:
        """Return whether `client` may make a request now, and count it if so."""
        now_s = time.monotonic()
        left, at_s = self._left.pop(client, (self._burst, now_s))
        left = min(self._burst, left + (now_s - at_s) * self._per_s)
        allowed = left >= 1
        self._left[client] = (left - allowed, now_s)
        while len(self._left) > 1000:
            self._left.popitem(last=False)
        return allowed


class AuthMiddleware:
    """The ASGI middleware around the whole app."""

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
        """Refuse a request that is not allowed, and pass on the others."""
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        path, client = scope["path"], (scope.get("client") or ("?",))[0]
        if sum(len(name) + len(value) for name, value in scope["headers"]) > HEADER_BYTES:
            return refuse(431, "request headers too large")
        if not self._is_allowed_host(headers.get("host", "")):
            return refuse(
                421, "Host header not allowed", "use the IP address, or add the name to http.names"
            )
        if scope["method"] not in _SAFE and not _is_from_our_page(headers):
            return refuse(403, "cross-site request not allowed")
        authorized = self._is_authorized(headers)
        scope["state"] = {"authorized": authorized, "auth": self, "client": client}
        if not authorized and path not in _OPEN and path != "/api/session":
            if headers.get("authorization") and not self._wrong.allow(client):
                return refuse(429, "too many wrong tokens", "wait a minute")
            return refuse(401, "token required", "send the header Authorization: Bearer TOKEN")
        if scope["method"] not in _SAFE and not self._work.allow(client):
            return refuse(429, "too many requests", "wait a few seconds")
        return None

    def _is_allowed_host(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
            if name in self._names:
                return True
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _is_authorized(self, headers: Headers) -> bool:
        if not self._token:
            return True
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self._matches(token.strip()):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and self._sessions.get(cookie.value, 0) > time.time()

    def _matches(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self._token.encode())

    def open_session(self, token: str, client: str) -> JSONResponse:
        """Return a response with a session cookie if `token` is the configured one."""
        if not self._matches(token):
            allowed = self._wrong.allow(client)
            return refuse(401 if allowed else 429, "wrong token", "see http.token_file")
        session = secrets.token_urlsafe(32)
        self._sessions[session] = time.time() + SESSION_S
        while len(self._sessions) > SESSIONS:
            self._sessions.popitem(last=False)
        answer = JSONResponse({"session": "open"})
        answer.set_cookie(COOKIE, session, SESSION_S, httponly=True, samesite="strict")
        return answer


def refuse(status: int, error: str, remedy: str = "") -> JSONResponse:
    """Return an error response in the format of the API."""
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse({"error": error, "remedy": remedy}, status, headers)


def _is_from_our_page(headers: Headers) -> bool:
    """Return whether a browser sent the request from our page, or a program sent it."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    try:
        return origin is None or urlsplit(origin).netloc == headers.get("host")
    except ValueError:
        return False
