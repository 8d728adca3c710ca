"""An endpoint of the API: handler, permission and documentation in one place."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Handler = Callable[[Request], Awaitable[Response]]
_PARAMETER = re.compile(r"\{(\w+)\}")


class Role(IntEnum):
    """What a client may do."""

    NOBODY = 0
    READER = 1
    OWNER = 2


@dataclass(frozen=True)
class Endpoint:
    """One method of one path."""

    method: str
    path: str
    """As in OpenAPI: `/api/labels/{label}`. The parameter `label` may contain slashes."""
    handler: Handler
    operation: dict[str, Any] | None = field(default=None, repr=False)
    """Its OpenAPI operation; None for the files of the page."""
    role: Role = Role.OWNER
    """Who may use it. `NOBODY`: it needs no token."""

    @property
    def route(self) -> Route:
        """The route for Starlette."""
        path = self.path.replace("{label}", "{label:path}")
        return Route(path, self.handler, methods=[self.method])

    @property
    def pattern(self) -> str:
        """The regular expression of its path."""
        literal = _PARAMETER.split(self.path)[::2]
        names = _PARAMETER.findall(self.path)
        parts = [".+" if name == "label" else "[^/]+" for name in names] + [""]
        return "".join(re.escape(text) + part for text, part in zip(literal, parts, strict=True))


class Permissions:
    """Who may use which path."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        patterns: dict[tuple[Role, str], list[str]] = {}
        for endpoint in endpoints:
            patterns.setdefault((endpoint.role, endpoint.method), []).append(endpoint.pattern)
        self._patterns = {key: re.compile("|".join(each)) for key, each in patterns.items()}

    def allows(self, role: Role, method: str, path: str) -> bool:
        """Return whether `role` may send `method` to `path`; only owners may for unknown ones."""
        method = "GET" if method in ("HEAD", "OPTIONS") else method
        return role is Role.OWNER or any(
            pattern.fullmatch(path)
            for (needed, of), pattern in self._patterns.items()
            if of == method and needed <= role
        )
