"""The web server, on a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

from edge_runtime.daemon.parts import Change
from edge_runtime.errors import ExtraMissingError, ServeError
from edge_runtime.settings.schema import HttpSettings, Settings
from edge_runtime.system.helper_thread import HelperThread
from edge_runtime.web.tls import open_tls

try:
    import uvicorn
    from starlette.types import ASGIApp

    from edge_runtime.web.acceptor import Acceptor
    from edge_runtime.web.access import Access, read_tokens
    from edge_runtime.web.connection import HEAD_S, Connection, Shortcut
except ImportError as error:
    raise ExtraMissingError(
        f"cannot load the web server: {error}",
        where="http",
        remedy="pip install edge-runtime[http]",
    ) from error

if TYPE_CHECKING:
    from edge_runtime.daemon.service import Service

log = logging.getLogger(__name__)

TICK_S = 1.0
"""Time between two checks of the connections' deadlines."""
RELOADABLE = ("token_file", "reader_token_file", "certificate_file", "key_file")
"""Keys of [http] whose changes, and the changes of the files they name, SIGHUP applies."""


class Site(Protocol):
    """A web application. Created on the thread of its owner, used on the server's."""

    @property
    def app(self) -> ASGIApp:
        """The application."""

    @property
    def shortcut(self) -> Shortcut | None:
        """What answers some requests without the application; None for nothing."""

    def begin(self) -> None:
        """Forget the clients of an earlier event loop; called before each one starts."""

    def close(self, wait_s: float) -> None:
        """Release all resources within `wait_s`."""


class SiteServer:
    """Serves a site from its creation on; raises `ServeError` if it cannot listen."""

    def __init__(self, settings: HttpSettings, make_site: Callable[[Access], Site]) -> None:
        """Raises `ConfigError` if a token or a certificate cannot be used."""
        self._settings = settings
        self._access = Access(read_tokens(settings))
        self._tls = open_tls(settings)
        self._socket = _listen(settings.host, settings.port)
        host, port = self._socket.getsockname()[:2]
        scheme = "https" if self._tls else "http"
        self.url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/"
        self._server: _Server | None = None
        self._closed = False
        try:
            self._site = make_site(self._access)
        except BaseException:
            self._socket.close()
            raise
        self._thread = HelperThread("http", self._run)

    @property
    def threads(self) -> Sequence[HelperThread]:
        """See `AttachedPart`."""
        return (self._thread,)

    def check(self) -> None:
        """Raise `ServeError` if the server has ended."""
        if not self._thread.is_alive():
            raise ServeError("the web server has stopped", where=self.url, remedy="start it again")

    def prepare_http(self, new: HttpSettings) -> Change:
        """Read what the new settings name, and change nothing yet; raises `ConfigError`."""
        old = self._settings
        tokens, tls = read_tokens(new), open_tls(new)
        scheme_changes = bool(tls) != bool(self._tls)
        rest = {key: getattr(old, key) for key in RELOADABLE}

        def apply() -> None:
            self._settings = new
            if not scheme_changes:
                self._tls = tls
            if revoked := self._access.replace(tokens):
                closed = self._close_connections()
                log.info(
                    "http: %s changed: %d sessions and %d connections closed", *revoked, closed
                )

        return Change(
            apply, scheme_changes or replace(new, **rest) != old, tables=frozenset({"http"})
        )

    def close(self, wait_s: float) -> None:
        """Stop the server and all open streams; the server and the site get `wait_s` each."""
        self._closed = True
        self._thread.stop()
        if self._server is not None:
            self._server.end()
        self._thread.join(wait_s)
        self._site.close(wait_s)
        self._socket.close()

    def _close_connections(self) -> int:
        """Close all connections, as the streams among them are not authorized again."""
        server = self._server
        return server.drop_all() if server is not None else 0

    def _run(self) -> None:
        if not self._closed:
            self._site.begin()
            self._server = _Server(self._site, self._socket, lambda: self._tls)
            if self._closed:
                self._server.end()
            asyncio.run(self._server.serve())


class WebServer(SiteServer):
    """Serves the page and the API of a daemon."""

    def __init__(self, service: Service, settings: HttpSettings) -> None:
        """See `SiteServer`."""
        from edge_runtime.web.app import DaemonSite

        super().__init__(settings, lambda access: DaemonSite(service, settings, access))

    def prepare(self, settings: Settings) -> Change:
        """See `AttachedPart`; raises `ConfigError`."""
        if settings.http is None:
            return Change(needs_restart=True)
        return self.prepare_http(settings.http)


class _Server(uvicorn.Server):
    """uvicorn with its own way to accept connections."""

    def __init__(
        self, site: Site, listener: socket.socket, tls: Callable[[], ssl.SSLContext | None]
    ) -> None:
        super().__init__(
            uvicorn.Config(
                site.app,
                loop="asyncio",
                http=Connection,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # a client must not be able to claim another address
                timeout_keep_alive=int(HEAD_S),
            )
        )
        self._shortcut = site.shortcut
        self._listener = listener
        self._tls = tls
        self._acceptor: Acceptor | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See `uvicorn.Server`; called on the server's thread."""
        self._loop = asyncio.get_running_loop()
        self._acceptor = Acceptor(self._listener, self._connect, self._tls)
        self.servers = [self._acceptor]  # type: ignore[list-item]
        self.started = True

    async def main_loop(self) -> None:
        """See `uvicorn.Server`, which wakes up ten times per second."""
        while not await self.on_tick(0):
            if self._acceptor is not None:
                self._acceptor.sweep()
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._ending.wait()

    def end(self) -> None:
        """End the server soon; may be called on another thread."""
        self.should_exit = self.force_exit = True
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._ending.set)

    def drop_all(self) -> int:
        """Close all connections, and return their number; called on another thread."""
        loop, acceptor = self._loop, self._acceptor
        if loop is None or acceptor is None:
            return 0
        number = len(acceptor)
        with suppress(RuntimeError):  # the loop has ended, and its connections with it
            loop.call_soon_threadsafe(acceptor.drop_all)
        return number

    def _connect(
        self, client: str, accepted: socket.socket, on_lost: Callable[[Connection], None]
    ) -> Connection:
        return Connection(self.config, self.server_state, client, accepted, on_lost, self._shortcut)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(128)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise ServeError(
            f"cannot listen: {error.strerror}",
            where=f"{host}:{port}",
            remedy="another program may use the port; choose another one",
        ) from error
    return listener
