"""The daemon's page and API over real HTTP."""

from __future__ import annotations

import json
import re
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import cv2

from edge_runtime.image import Image
from tests.support.service import CONFIG, Process

HTML = "<img src=x onerror=alert(1)>"
TOKEN = "s3cret-token"


class Answer:
    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Asks a running daemon."""

    def __init__(self, process: Process) -> None:
        self.process = process
        process.until_logged("the page is at ")
        said = "".join(process.log_lines)
        found = re.search(r"the page is at http://([^:]+):(\d+)/", said)
        assert found
        self.host, self.port = found[1], int(found[2])
        if self.host == "0.0.0.0":
            self.host = "127.0.0.1"
        self.url = f"http://{self.host}:{self.port}"

    def ask(self, method: str, path: str, body: bytes | None = None, /, **headers: str) -> Answer:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url + path, body, names, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())

    def raw(self, text: bytes, limit_s: float = 10.0) -> bytes:
        """What comes back for these very bytes."""
        with socket.create_connection((self.host, self.port), timeout=limit_s) as line:
            line.sendall(text)
            answer = b""
            try:
                while part := line.recv(65536):
                    answer += part
            except TimeoutError:
                pass
            return answer

    def until_ready(self) -> None:
        self.process.until(lambda: self.ask("GET", "/readyz").status == 200)


def encoded(image: Image, kind: str = ".jpg") -> bytes:
    done, data = cv2.imencode(kind, image)
    assert done
    return data.tobytes()


def start(folder: Path, film: Path, more: str = "", http: str = "port = 0") -> Process:
    config = folder / "edge.toml"
    config.write_text(f"{CONFIG.format(film=film)}\n{more}\n[http]\n{http}\n")
    return Process("--config", config)
