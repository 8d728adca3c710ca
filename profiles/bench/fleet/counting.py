"""A static file server that counts the bytes it sends and receives."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Request:
    """One request."""

    path: str
    body: int
    """Bytes of the file that was sent."""
    wire: int
    """Bytes of the request and the response with their headers, without those of TCP."""


class CountingServer:
    """Serves a folder on the loopback address, as a static file server would."""

    def __init__(self, folder: Path) -> None:
        self.requests: list[Request] = []
        outer = self

        class Handler(SimpleHTTPRequestHandler):
            def __init__(self, *arguments: Any) -> None:
                super().__init__(*arguments, directory=str(folder))

            sent = 0

            def end_headers(self) -> None:
                self.sent = len(b"".join(vars(self)["_headers_buffer"])) + 2
                super().end_headers()

            def do_GET(self) -> None:
                received = len(self.requestline) + 2 + len(self.headers.as_bytes())
                file = self.send_head()
                body = 0
                if file is not None:
                    with file:
                        data = file.read()
                        body = len(data)
                        self.wfile.write(data)
                outer.requests.append(Request(self.path, body, received + self.sent + body))

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def clear(self) -> None:
        """Forget what was counted."""
        self.requests.clear()

    def total(self, prefix: str) -> dict[str, int]:
        """Return the sums for the paths that begin with `prefix`."""
        found = [each for each in self.requests if each.path.startswith(prefix)]
        return {
            "requests": len(found),
            "body": sum(each.body for each in found),
            "wire": sum(each.wire for each in found),
        }

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
