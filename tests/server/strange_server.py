"""A web server that is not ours, or not well."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Strange:
    """Answers every request with `status`, `headers` and the parts of `body`."""

    def __init__(self, status: int, body: list[bytes], pause_s: float, **headers: str) -> None:
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        strange = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                sent = self.rfile.read(length)
                strange.requests.append((self.command, self.path, dict(self.headers), sent))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                try:
                    for part in body:
                        self.wfile.write(part)
                        time.sleep(pause_s)
                except OSError:
                    pass

            do_GET = do_POST = _answer  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@contextmanager
def strange_server(
    status: int = 200, *body: bytes, pause_s: float = 0.0, **headers: str
) -> Iterator[Strange]:
    strange = Strange(status, list(body), pause_s, **headers)
    thread = threading.Thread(target=strange.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield strange
    finally:
        strange.server.shutdown()
        strange.server.server_close()
        thread.join()
