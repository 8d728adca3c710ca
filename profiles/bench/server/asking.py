"""Ask a server of codes over sockets, with little work of the client's own."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass, field

from edge_runtime.code import Code

K = 5


@dataclass
class Asked:
    """What a server answered."""

    distances: list[list[int]] = field(default_factory=list)
    """Distances of the matches of each query."""
    size: int = 0
    """Bytes of the bodies."""
    waits_s: list[float] = field(default_factory=list)
    """Seconds of each request, with its connection if that was opened for it."""


def single(port: int, codes: Code, *, keep: bool) -> Asked:
    """Ask for each of `codes` with GET; `keep`: over one connection, as keep-alive."""
    asked = Asked()
    wish = "" if keep else "Connection: close\r\n"
    connection = _connect(port) if keep else None
    for code in codes:
        target = f"/v1/near/{code.tobytes().hex()}?k={K}"
        head = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{wish}\r\n"
        began_s = time.perf_counter()
        used = connection or _connect(port)
        used.sendall(head.encode())
        body = _read(used)
        if connection is None:
            used.close()
        asked.waits_s.append(time.perf_counter() - began_s)
        asked.size += len(body)
        asked.distances.append([each["distance"] for each in json.loads(body)["matches"]])
    if connection is not None:
        connection.close()
    return asked


def batches(port: int, codes: Code, *, size: int) -> Asked:
    """Ask for `codes` with POST, `size` codes at once, over one connection."""
    asked = Asked()
    with _connect(port) as connection:
        for start in range(0, len(codes), size):
            names = [code.tobytes().hex() for code in codes[start : start + size]]
            sent = json.dumps({"codes": names, "k": K}).encode()
            head = f"POST /v1/near HTTP/1.1\r\nHost: x\r\nContent-Length: {len(sent)}\r\n\r\n"
            head = head.replace("Host: x", f"Host: 127.0.0.1:{port}")
            began_s = time.perf_counter()
            connection.sendall(head.encode() + sent)
            body = _read(connection)
            asked.waits_s.append(time.perf_counter() - began_s)
            asked.size += len(body)
            for answer in json.loads(body)["answers"]:
                asked.distances.append([each["distance"] for each in answer["matches"]])
    return asked


def _connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), 600)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _read(connection: socket.socket) -> bytes:
    """Return the body of one answer; its header must have the length."""
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += _some(connection)
    head, body = data[:end].lower(), data[end + 4 :]
    if not head.startswith(b"http/1.1 200 "):
        raise OSError(f"the server answered {head[:60]!r}")
    length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += _some(connection)
    return body


def _some(connection: socket.socket) -> bytes:
    part = connection.recv(1 << 18)
    if not part:
        raise OSError("the server closed the connection")
    return part
