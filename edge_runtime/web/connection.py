"""One connection: strict reading, and a deadline for each phase.

uvicorn and h11 read the requests. They have no deadline for a header or a body, and accept some
requests that a proxy in front may read differently. This module adds both. A site may answer some
requests itself, for a fraction of the CPU time (`Shortcut`).
"""

from __future__ import annotations

import asyncio
import math
import re
import socket
import time
from collections.abc import Callable, Sequence
from enum import Enum, auto
from http import HTTPStatus
from typing import Protocol

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

HEAD_BYTES = 1 << 14
HEAD_S = 15.0
"""Limit for a request's header, and for the time between two requests."""
BODY_S = 30.0
"""Limit for a request's body; uploads have a shorter one, which is answered."""
BODY_RATE = 100_000
"""Bytes per second. What arrives at this rate at least has more time: the backup of a gallery."""
WRITE_S = 30.0
"""Limit for a client that does not read its response."""
ANSWER_S = 30.0
"""Limit for the answer of a shortcut."""
CLOSE_S = 5.0
"""Limit for sending the rest of the last response."""

_BARE = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)")
_ONCE = (b"host", b"content-length", b"transfer-encoding")
"""Headers that decide where a request goes or ends, and so may occur only once."""


class Phase(Enum):
    """What a connection waits for."""

    HANDSHAKE = auto()
    HEAD = auto()
    BODY = auto()
    ANSWER = auto()


_LIMIT_S = {Phase.HEAD: HEAD_S, Phase.BODY: BODY_S}


class Shortcut(Protocol):
    """Answers requests without uvicorn, h11 and the framework."""

    def begin(self, data: bytes, connection: Connection) -> bool:
        """Return whether `connection.answer` will be called for the request `data`.

        `data` is all that the client has sent since the last answer. If this returns False, the
        request takes the usual way, and nothing has been done.
        """

    def late(self, connection: Connection) -> None:
        """Answer now that there will be no answer; called when one takes longer than `ANSWER_S`."""


class StrictReader(h11.Connection):
    """Refuses requests whose end another reader may find elsewhere."""

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """See `h11.Connection.next_event`."""
        reading_head = self.their_state is h11.IDLE
        reading_body = self.their_state is h11.SEND_BODY
        before = self.trailing_data[0] if reading_head or reading_body else b""
        if reading_head:
            check_head(before)
        event = super().next_event()
        if reading_body and isinstance(event, h11.EndOfMessage):
            # The end of a chunked body; with a length, nothing is consumed here.
            _refuse_bare_lines(before[: len(before) - len(self.trailing_data[0])])
        return event


def check_head(data: bytes) -> None:
    """Raise `h11.RemoteProtocolError` if the header at the start of `data` is ambiguous.

    `data` may end before the header does.
    """
    end = data.find(b"\r\n\r\n")
    head = data if end < 0 else data[: end + 2]
    _refuse_bare_lines(head)
    if end < 0:
        return
    _, *lines = head.split(b"\r\n")[:-1]
    if any(line[:1] in b" \t" for line in lines):
        raise h11.RemoteProtocolError("folded header line")
    names = [line.partition(b":")[0].strip().lower() for line in lines]
    for name in _ONCE:
        if names.count(name) > 1:
            raise h11.RemoteProtocolError(f"more than one header {name.decode()}")
    if b"content-length" in names and b"transfer-encoding" in names:
        raise h11.RemoteProtocolError("both Content-Length and Transfer-Encoding")
    if b"content-length" in names:
        value = lines[names.index(b"content-length")].partition(b":")[2].strip()
        if not value.isdigit():  # h11 accepts "5, 5"
            raise h11.RemoteProtocolError("Content-Length is not a number")


def _refuse_bare_lines(data: bytes) -> None:
    if _BARE.search(data):
        raise h11.RemoteProtocolError("a line does not end in CR LF")


class Connection(H11Protocol):
    """uvicorn's protocol with deadlines. Exists from the accept on, before a TLS handshake."""

    def __init__(
        self,
        config: uvicorn.Config,
        state: ServerState,
        client: str,
        accepted: socket.socket,
        on_lost: Callable[[Connection], None],
        shortcut: Shortcut | None = None,
    ) -> None:
        super().__init__(config, state, {})
        self.conn = StrictReader(h11.SERVER, HEAD_BYTES)
        self.peer = client
        self.accepted = accepted
        self.opening: asyncio.Task[None] | None = None
        """Opens the transport, with the TLS handshake if there is one."""
        self.phase = Phase.HANDSHAKE
        self.since_s = time.monotonic()
        """When the phase began, `time.monotonic`."""
        self._on_lost = on_lost
        self._received = 0
        """Bytes since the phase began."""
        self._blocked_s: float | None = None
        self._closing_s: float | None = None
        self._shortcut = shortcut
        self._shortened = False
        """Whether the shortcut answers the present request."""
        self._next = b""
        """What has arrived since then."""

    @property
    def is_answering(self) -> bool:
        """Whether a complete request is being answered; other connections may be closed."""
        return self.phase is Phase.ANSWER

    def drop(self) -> None:
        """Close the connection at once."""
        if self.transport is not None:
            self.transport.abort()
        elif self.opening is not None:
            self.opening.cancel()

    def enforce(self, now_s: float) -> None:
        """Close the connection if it has exceeded a deadline at `now_s`, `time.monotonic`."""
        if self.transport is None:  # the handshake has its own deadline
            return
        if self.transport.is_closing():
            self._closing_s = self._closing_s or now_s
            if now_s - self._closing_s > CLOSE_S:
                self.drop()
        elif self._blocked_s is not None and now_s - self._blocked_s > WRITE_S:
            self.drop()
        elif self._shortened:
            if now_s - self.since_s > ANSWER_S and self._shortcut is not None:
                self._shortcut.late(self)
        elif now_s - self.since_s > self._limit_s():
            self._time_out()

    def answer(
        self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes, *, close: bool
    ) -> None:
        """Send the answer of the shortcut; `close`: it is the last one of this connection."""
        if not self._shortened or self.transport.is_closing():
            return
        self._shortened = False
        lines = [b"HTTP/1.1 %d %s" % (status, HTTPStatus(status).phrase.encode())]
        lines += [b"%s: %s" % pair for pair in (*self.server_state.default_headers, *headers)]
        if close:
            lines.append(b"connection: close")
        self.transport.write(b"%s\r\n\r\n%s" % (b"\r\n".join(lines), body))
        self.server_state.total_requests += 1
        if close:
            self.transport.close()
            return
        self._enter(Phase.HEAD)
        if self._next:
            data, self._next = self._next, b""
            self.transport.resume_reading()
            self.data_received(data)

    def _is_shortened(self, data: bytes) -> bool:
        """Return whether the shortcut answers the request that `data` is."""
        conn = self.conn
        return (
            self._shortcut is not None
            and self.phase is Phase.HEAD
            and not self._received
            and conn.our_state is h11.IDLE
            and conn.their_state is h11.IDLE
            and len(data) <= HEAD_BYTES
            and self._shortcut.begin(data, self)
        )

    def _limit_s(self) -> float:
        more_s = self._received / BODY_RATE if self.phase is Phase.BODY else 0.0
        return _LIMIT_S.get(self.phase, math.inf) + more_s

    def _time_out(self) -> None:
        begun = self.phase is Phase.BODY or bool(self.conn.trailing_data[0])
        if begun and self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._refuse(408)
        else:
            self.transport.close()

    def _refuse(self, status: int) -> None:
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        response = h11.Response(
            status_code=status, headers=[("Content-Length", "0"), ("Connection", "close")]
        )
        self.transport.write(self.conn.send(response) or b"")
        self.transport.close()

    # -- the interface of asyncio and uvicorn ---------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self._enter(Phase.HEAD)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._on_lost(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._shortened:
            self._next += data
            self.transport.pause_reading()
        elif self._is_shortened(data):
            self._unset_keepalive_if_required()
            self._shortened = True
            self._enter(Phase.ANSWER)
        else:
            self._received += len(data)
            super().data_received(data)

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._blocked_s = time.monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._blocked_s = None
        super().resume_writing()

    def handle_events(self) -> None:
        """See `H11Protocol`."""
        if not self.transport.is_closing():
            super().handle_events()
            self._note_phase()

    def on_response_complete(self) -> None:
        """See `H11Protocol`."""
        super().on_response_complete()
        self._note_phase()

    def send_400_response(self, msg: str) -> None:
        """See `H11Protocol`; a response that has begun cannot be replaced."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            if self.cycle is not None:
                self.cycle.disconnected = True
                self.cycle.message_event.set()
            super().send_400_response(msg)
        else:
            self.transport.close()

    def _note_phase(self) -> None:
        cycle = self.cycle
        if self.conn.their_state is h11.SEND_BODY:
            self._enter(Phase.BODY)
        elif cycle is not None and not cycle.response_complete:
            self._enter(Phase.ANSWER)
        else:
            self._enter(Phase.HEAD)

    def _enter(self, phase: Phase) -> None:
        if phase is not self.phase:
            self.phase, self.since_s, self._received = phase, time.monotonic(), 0
