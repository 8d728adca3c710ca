"""HTTP connections that end at a deadline, whatever the server or the name service does.

A timeout of a socket bounds each wait. A server that sends one byte per second never exceeds it.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.request import HTTPHandler, HTTPSHandler, Request

Address = tuple[str, int]


class _Lookup(threading.Thread):
    """One request to the name service, which cannot be interrupted."""

    def __init__(self, address: Address) -> None:
        super().__init__(name="name-lookup", daemon=True)
        self.address = address
        self.found: list[Any] = []
        self.error: OSError | None = None
        self.start()

    def run(self) -> None:
        try:
            self.found = socket.getaddrinfo(*self.address, 0, socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            self.error = error if isinstance(error, OSError) else OSError(str(error))


class Attempt:
    """A context manager: connections made in it are shut down after `timeout_s`."""

    _lookup: _Lookup | None = None
    """The one that still runs. It is shared, so that a dead name service costs one thread."""
    _lock = threading.Lock()

    def __init__(self, timeout_s: float) -> None:
        self._end_s = time.monotonic() + timeout_s
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(timeout_s, self._shut_down)
        self._timer.daemon = True
        self.expired = False

    def __enter__(self) -> Attempt:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            for each in self._sockets:
                each.close()
            self._sockets.clear()

    def handlers(self) -> tuple[HTTPHandler, HTTPSHandler]:
        """Return handlers for urllib that connect through `connect`."""
        attempt = self

        class Plain(HTTPConnection):
            def connect(self) -> None:
                self._create_connection = attempt.connect
                super().connect()

        class Encrypted(HTTPSConnection):
            def connect(self) -> None:
                self._create_connection = attempt.connect
                super().connect()

        class PlainHandler(HTTPHandler):
            def http_open(self, req: Request) -> HTTPResponse:
                return self.do_open(Plain, req)

        class EncryptedHandler(HTTPSHandler):
            def https_open(self, req: Request) -> HTTPResponse:
                return self.do_open(Encrypted, req)

        return PlainHandler(), EncryptedHandler()

    def connect(self, address: Address, *_: object) -> socket.socket:
        """Connect to `address` as `socket.create_connection` does; raises `OSError`."""
        error: OSError = OSError("the name has no address")
        for family, kind, protocol, _name, place in self._addresses(address):
            connection = socket.socket(family, kind, protocol)
            try:
                connection.settimeout(max(0.001, self._rest_s()))
                connection.connect(place)
                with self._lock:
                    self._sockets.append(connection.dup())  # TLS takes the socket itself
                if self.expired:
                    self._shut_down()
                return connection
            except OSError as failed:
                connection.close()
                error = failed
        raise error

    def _addresses(self, address: Address) -> list[Any]:
        with self._lock:
            lookup = Attempt._lookup
            if lookup is None or not lookup.is_alive() or lookup.address != address:
                lookup = Attempt._lookup = _Lookup(address)
        lookup.join(max(0.0, self._rest_s()))
        if lookup.is_alive():
            raise OSError("the name service does not answer")
        if lookup.error is not None:
            raise lookup.error
        return lookup.found

    def _rest_s(self) -> float:
        return self._end_s - time.monotonic()

    def _shut_down(self) -> None:
        self.expired = True
        with self._lock:
            for each in self._sockets:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
