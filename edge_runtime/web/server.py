"""The web server, on a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING

from edge_runtime.errors import ExtraMissingError, ServeError
from edge_runtime.settings import read_secret
from edge_runtime.settings.schema import HttpSettings

try:
    import uvicorn

    from edge_runtime.web.app import make_app
except ImportError as error:
    raise ExtraMissingError(
        f"cannot load the web server: {error}",
        where="http",
        remedy="pip install edge-runtime[http]",
    ) from error

if TYPE_CHECKING:
    from edge_runtime.daemon.service import Service

CONNECTIONS = 40
"""Limit of simultaneous connections; more get status 503."""


class WebServer:
    """Serves the page and the API from its creation on; raises `ServeError` if it cannot listen."""

    def __init__(self, service: Service, settings: HttpSettings) -> None:
        self._socket = _listen(settings.host, settings.port)
        host, port = self._socket.getsockname()[:2]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
        token = read_secret(settings.token_file) if settings.token_file else ""
        self._site = make_app(service, settings, token)
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._site.app,
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # a client must not be able to claim another address
                limit_concurrency=CONNECTIONS,
                timeout_keep_alive=15,
                h11_max_incomplete_event_size=1 << 14,
            )
        )
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise `ServeError` if the server has stopped: the configuration requires it."""
        if not self._thread.is_alive():
            raise ServeError(
                "the web server has stopped", where=self.url, remedy="restart the daemon"
            )

    def close(self, wait_s: float) -> None:
        """Stop the server and all open streams; the server and the gallery get `wait_s` each."""
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(wait_s)
        self._site.close(wait_s)
        self._socket.close()

    def _run(self) -> None:
        asyncio.run(self._server.serve([self._socket]))


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
