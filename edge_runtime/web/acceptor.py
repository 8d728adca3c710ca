"""Accepts connections, with limits in total and per client.

A connection over a limit takes the place of the one that has waited longest for its client. So a
client that opens many connections and sends nothing, or a byte now and then, shuts out nobody.
uvicorn accepts without a limit, and sees a TLS connection only after its handshake.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from edge_runtime.web.clients import client_of
from edge_runtime.web.connection import HEAD_S, Connection

log = logging.getLogger(__name__)

CONNECTIONS = 96
"""Limit of simultaneous connections."""
CONNECTIONS_PER_CLIENT = 40
"""More than all requests that are answered at the same time: at most 8 event streams, 8 live views
and the work that waits for the gallery. So a place can always be made for a health check."""
AT_ONCE = 4
"""Connections accepted before those that are open are served."""
SEND_BUFFER = 1 << 17
"""Bytes that the kernel keeps for a client that reads slowly. Its own limit is several megabytes:
memory, and many seconds by which a live view may lag behind."""
SPARES = 4
"""File descriptors kept for connections, for the time when there are no others."""
PAUSE_S = 0.2
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

MakeConnection = Callable[[str, socket.socket, Callable[[Connection], None]], Connection]


class Acceptor:
    """Accepts connections on a listening socket. Used on the event loop's thread."""

    def __init__(
        self,
        listener: socket.socket,
        connect: MakeConnection,
        tls: Callable[[], ssl.SSLContext | None],
    ) -> None:
        """`connect` makes the protocol; `tls` returns the current context, or None for HTTP."""
        self._listener = listener
        self._connect = connect
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._open: dict[Connection, None] = {}  # oldest first
        self._spares: list[int] = []
        self._resume: asyncio.TimerHandle | None = None
        self._fill_spares()
        listener.setblocking(False)
        self._loop.add_reader(listener, self._accept)

    def __len__(self) -> int:
        return len(self._open)

    def sweep(self) -> None:
        """Enforce the deadlines; called about once per second."""
        now_s = time.monotonic()
        for connection in list(self._open):
            connection.enforce(now_s)
        self._fill_spares()

    def drop_all(self) -> int:
        """Close all connections, and return their number."""
        connections = list(self._open)
        for connection in connections:
            connection.drop()
        return len(connections)

    def close(self) -> None:
        """Stop accepting; the listening socket stays open."""
        if self._resume is not None:
            self._resume.cancel()
        self._loop.remove_reader(self._listener)
        self.drop_all()
        while self._spares:
            os.close(self._spares.pop())

    async def wait_closed(self) -> None:
        """Return at once; uvicorn waits for the connections itself."""

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                accepted, address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._make_descriptor(error)
                else:
                    log.warning("cannot accept a connection: %s", error)
                    self._pause()
                return
            self._begin(accepted, address[0])

    def _begin(self, accepted: socket.socket, address: str) -> None:
        client = client_of(address)
        if not self._make_room(client):
            accepted.close()
            return
        accepted.setblocking(False)
        with suppress(OSError):  # a response consists of two writes; do not delay the second
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        connection = self._connect(client, accepted, self._forget)
        self._open[connection] = None
        connection.opening = self._loop.create_task(self._open_transport(connection))
        connection.opening.add_done_callback(lambda done: self._opened(connection, done))

    async def _open_transport(self, connection: Connection) -> None:
        tls = self._tls()
        limits = {"ssl_handshake_timeout": HEAD_S, "ssl_shutdown_timeout": 1.0} if tls else {}
        await self._loop.connect_accepted_socket(
            lambda: connection, connection.accepted, ssl=tls, **limits
        )

    def _opened(self, connection: Connection, done: asyncio.Task[None]) -> None:
        failed = done.cancelled() or done.exception() is not None  # such as a failed handshake
        if failed and connection.transport is None:
            connection.accepted.close()
            self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        self._open.pop(connection, None)

    def _make_room(self, client: str) -> bool:
        """Close connections until `client` may open one; return whether that was possible."""
        counts = Counter(connection.peer for connection in self._open)
        if counts[client] >= CONNECTIONS_PER_CLIENT and not self._drop_one(client):
            return False
        return len(self._open) < CONNECTIONS or self._drop_one()

    def _drop_one(self, client: str | None = None) -> bool:
        """Close the connection that has waited longest, of `client` or of the largest client."""
        waiting = [each for each in self._open if not each.is_answering]
        if client is None and waiting:
            client = Counter(each.peer for each in waiting).most_common(1)[0][0]
        waiting = [each for each in waiting if each.peer == client]
        if not waiting:
            return False
        longest = min(waiting, key=lambda each: each.since_s)
        longest.drop()
        self._forget(longest)
        return True

    # -- without file descriptors ---------------------------------------------------------------

    def _make_descriptor(self, error: OSError) -> None:
        """Give up a spare descriptor, or the connection that has waited longest."""
        log.warning("connections wait: %s", error.strerror)
        if self._spares:
            os.close(self._spares.pop())
            return
        self._drop_one()
        self._pause()

    def _fill_spares(self) -> None:
        with suppress(OSError):
            while len(self._spares) < SPARES:
                self._spares.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))

    def _pause(self) -> None:
        self._loop.remove_reader(self._listener)
        self._resume = self._loop.call_later(
            PAUSE_S, self._loop.add_reader, self._listener, self._accept
        )
