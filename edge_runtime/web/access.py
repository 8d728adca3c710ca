"""Access control: host names, tokens, cross-site requests and rate limits.

- The Host header must be an allowed name or an IP address. This prevents DNS rebinding, where the
  name of another web page resolves to this machine.
- If a token is configured, all requests require it, except for the page's own files and the bare
  health checks. It is sent as a bearer token, or as the session cookie that the page obtained.
- A second token permits only to look: metrics, status, events and the live view.
- A change requested by a browser must come from our own page (Origin, Sec-Fetch-Site), so that no
  other page can enroll or remove anything on the user's behalf.
- Requests that cause work, and wrong tokens, are limited per client. After too many wrong tokens, a
  right one is not tried either, so that the answers tell nothing.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge_runtime.errors import ConfigError
from edge_runtime.settings.read import is_this_machine
from edge_runtime.settings.schema import HttpSettings
from edge_runtime.settings.secrets import read_token
from edge_runtime.web.clients import Rate, client_of
from edge_runtime.web.endpoint import Endpoint, Permissions, Role

COOKIE = "edge_session"
SESSION_S = 30 * 24 * 3600
SESSIONS = 64
WRONG_TOKENS_PER_MINUTE = 10
HEADER_BYTES = 1 << 14
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
RawHeaders = list[tuple[bytes, bytes]]
_HEADERS = {
    b"content-security-policy": b"default-src 'self'; img-src 'self' blob:; "
    b"frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
}


@dataclass(frozen=True)
class Tokens:
    """The tokens of both roles; empty if there is none."""

    owner: str = ""
    reader: str = ""

    def role(self, token: str) -> Role:
        """Return the role that `token` gives, in constant time."""
        given = token.encode("utf-8", "surrogatepass")
        is_owner = hmac.compare_digest(given, self.owner.encode())
        is_reader = hmac.compare_digest(given, self.reader.encode())
        if is_owner and self.owner:
            return Role.OWNER
        return Role.READER if is_reader and self.reader else Role.NOBODY

    def of(self, role: Role) -> str:
        """Return the token of `role`."""
        return {Role.OWNER: self.owner, Role.READER: self.reader}.get(role, "")


def read_tokens(settings: HttpSettings) -> Tokens:
    """Read the token files of `settings`; raises `ConfigError`."""
    owner = read_token(settings.token_file) if settings.token_file else ""
    reader = read_token(settings.reader_token_file) if settings.reader_token_file else ""
    if owner and owner == reader:
        raise ConfigError(
            "both files contain the same token",
            where=settings.reader_token_file,
            remedy="make another one with: openssl rand -hex 16",
        )
    return Tokens(owner, reader)


class _Session(NamedTuple):
    role: Role
    token: str
    """The token that opened it. The session ends when the token changes."""
    end_s: float


class Access:
    """The tokens and the sessions. `replace` may be called from any thread."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._sessions: OrderedDict[str, _Session] = OrderedDict()

    @property
    def is_open(self) -> bool:
        """Whether no token is configured, so that everyone is the owner."""
        return not self._tokens.owner

    def role_of_token(self, token: str) -> Role:
        """Return the role that `token` gives."""
        return self._tokens.role(token)

    def role_of_session(self, name: str) -> Role:
        """Return the role of the session `name`."""
        session = self._sessions.get(name)
        return session.role if session is not None and self._is_valid(session) else Role.NOBODY

    def open_session(self, role: Role, token: str) -> str:
        """Return the name of a new session."""
        name = secrets.token_urlsafe(32)
        self._sessions[name] = _Session(role, token, time.time() + SESSION_S)
        while len(self._sessions) > SESSIONS:
            self._sessions.popitem(last=False)
        return name

    def replace(self, tokens: Tokens) -> tuple[str, int] | None:
        """Replace the tokens. The sessions of those that have changed end at once.

        Returns what has changed and the number of sessions that ended; None if nothing changed.
        """
        before, sessions = self._tokens, list(self._sessions.values())
        if tokens == before:
            return None
        valid = sum(map(self._is_valid, sessions))
        self._tokens = tokens
        names = [
            name
            for name, changed in (
                ("the token", tokens.owner != before.owner),
                ("the read-only token", tokens.reader != before.reader),
            )
            if changed
        ]
        return " and ".join(names), valid - sum(map(self._is_valid, sessions))

    def _is_valid(self, session: _Session) -> bool:
        return session.token == self._tokens.of(session.role) and session.end_s > time.time()


def with_security_headers(headers: RawHeaders) -> RawHeaders:
    """Return the headers of an answer with those that every answer has."""
    found = [pair for pair in headers if pair[0] not in _HEADERS]
    if not any(name == b"cache-control" for name, _ in found):
        found.append((b"cache-control", b"no-store"))
    return [*found, *_HEADERS.items()]


class Guard:
    """Decides about each request."""

    def __init__(self, settings: HttpSettings, access: Access, permissions: Permissions) -> None:
        self._access = access
        self._permissions = permissions
        self._names = {"localhost", settings.host.lower(), *map(str.lower, settings.names)}
        if not is_this_machine(settings.host):
            name = socket.gethostname().lower()
            self._names |= {name, f"{name}.local"}
        self._work = Rate(settings.requests_per_minute)
        self._wrong = Rate(WRONG_TOKENS_PER_MINUTE)

    def refusal(self, scope: Scope) -> JSONResponse | None:
        """Return the answer to a request that is not allowed; None if it is.

        Notes the role and the client in `scope["state"]`.
        """
        headers = Headers(scope=scope)
        path, client = scope["path"], client_of((scope.get("client") or ("?",))[0])
        if sum(len(name) + len(value) for name, value in scope["headers"]) > HEADER_BYTES:
            return refuse(431, "request headers too large")
        if not self._is_allowed_host(headers.get("host", "")):
            return refuse(
                421, "Host header not allowed", "use the IP address, or add the name to http.names"
            )
        if scope["method"] not in _SAFE and not _is_from_our_page(headers):
            return refuse(403, "cross-site request not allowed")
        role = self._role(headers, client)
        allowed = self._permissions.allows(role or Role.NOBODY, scope["method"], path)
        if role is None and not allowed:
            return refuse(429, "too many wrong tokens", "wait a minute")
        role = role or Role.NOBODY
        scope["state"] = {"role": role, "auth": self, "client": client}
        if role is Role.NOBODY and not allowed:
            return refuse(401, "token required", "send the header Authorization: Bearer TOKEN")
        if not allowed:
            return refuse(
                403, "this token permits only to look", "use the token of http.token_file"
            )
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

    def _role(self, headers: Headers, client: str) -> Role | None:
        """Return the client's role; None if it has sent too many wrong tokens to be heard."""
        if self._access.is_open:
            return Role.OWNER
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            cookie = None
        role = self._access.role_of_session(cookie.value) if cookie else Role.NOBODY
        kind, _, token = headers.get("authorization", "").partition(" ")
        if role is Role.NOBODY and kind.lower() == "bearer":
            return self._try(token.strip(), client)
        return role

    def _try(self, token: str, client: str) -> Role | None:
        if self._wrong.is_used_up(client):
            return None
        role = self._access.role_of_token(token)
        if role is Role.NOBODY:
            self._wrong.allow(client)
        return role

    def open_session(self, token: str, client: str, *, secure: bool) -> JSONResponse:
        """Return a response with a session cookie if `token` is a configured one.

        `secure`: the cookie is sent only over https.
        """
        role = self._try(token, client)
        if role is None:
            return refuse(429, "too many wrong tokens", "wait a minute")
        if role is Role.NOBODY:
            return refuse(401, "wrong token", "see http.token_file")
        answer = JSONResponse({"session": "open", "role": role.name.lower()})
        name = self._access.open_session(role, token)
        answer.set_cookie(COOKIE, name, SESSION_S, httponly=True, samesite="strict", secure=secure)
        return answer


class AuthMiddleware:
    """The ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request that is not allowed, and pass on the others."""
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = with_security_headers(list(message["headers"]))
            await send(message)

        refusal = self._guard.refusal(scope)
        await (refusal or self._app)(scope, receive, send_with_headers)


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


def guarded_app(endpoints: Sequence[Endpoint], guard: Guard, handlers: dict[Any, Any]) -> Starlette:
    """Return the application that serves `endpoints`, each to those who may use it.

    `handlers`: functions by the type of the exceptions that they answer.
    """
    return Starlette(
        routes=[endpoint.route for endpoint in endpoints],
        middleware=[Middleware(AuthMiddleware, guard=guard)],
        exception_handlers=handlers,
    )
