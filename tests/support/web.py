"""The daemon's page and API over real HTTP."""

from __future__ import annotations

import json
import re
import socket
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_runtime.image import Image
from tests.support.service import CONFIG, Process

HTML = "<img src=x onerror=alert(1)>"
TOKEN = "s3cret-token-of-the-owner"
READER = "s3cret-token-of-a-reader"


class Answer:
    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Asks a running daemon."""

    def __init__(self, process: Process, context: ssl.SSLContext | None = None) -> None:
        """`context`: verifies the certificate of an https page."""
        self.process = process
        self.context = context
        process.until_logged("the page is at ")
        said = "".join(process.log_lines)
        found = re.search(r"the page is at (https?)://([^:]+):(\d+)/", said)
        assert found
        scheme, self.host, self.port = found[1], found[2], int(found[3])
        if self.host == "0.0.0.0":
            self.host = "127.0.0.1"
        self.url = f"{scheme}://{self.host}:{self.port}"

    def ask(self, method: str, path: str, body: bytes | None = None, /, **headers: str) -> Answer:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url + path, body, names, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30, context=self.context) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())
        except urllib.error.URLError:
            self.process.check_running()  # its log says more than a refused connection
            raise

    def region(self) -> dict[str, Any]:
        """Return the status of the first camera's first region."""
        found: dict[str, Any] = self.ask("GET", "/api/status").json()["cameras"][0]["regions"][0]
        return found

    def connect(self, source: str = "", limit_s: float = 30.0) -> socket.socket:
        """Open a connection, from the address `source` of this machine if it is given."""
        return socket.create_connection(
            (self.host, self.port), limit_s, (source, 0) if source else None
        )

    def status_of(self, path: str, *, source: str = "", token: str = "") -> int:
        """Return the status of a GET request on a connection of its own."""
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        head += f"Authorization: Bearer {token}\r\n" if token else ""
        with self.connect(source) as line:
            line.sendall(f"{head}\r\n".encode())
            answer = line.recv(65536)
        return int(answer.split()[1])

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


def write_secret(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(f"{text}\n")


def encoded(image: Image, kind: str = ".jpg") -> bytes:
    done, data = cv2.imencode(kind, image)
    assert done
    return data.tobytes()


def start_cameras(
    folder: Path, films: dict[str, Path], more: str = "", http: str = "port = 0"
) -> Process:
    """Start a daemon with a page and one camera for each of `films`, by their names."""
    config = folder / "edge.toml"
    head = 'gallery.path = "g.sqlite"\ngallery.keep_pictures = true\noutput.format = "json"\n'
    cameras = "".join(
        f'[cameras.{name}]\nsource = "{film}"\nloop = true\nreal_time = true\n'
        for name, film in films.items()
    )
    config.write_text(f"{head}{cameras}{more}\n[http]\n{http}\nrequests_per_minute = 100000\n")
    return Process("--config", config)


def make_film(path: Path, image: Image) -> Path:
    """Write one second of a film of `image`."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 20, (640, 480))
    for _ in range(20):
        writer.write(np.asarray(cv2.resize(image, (640, 480)), np.uint8))
    writer.release()
    return path


def start(folder: Path, film: Path, more: str = "", http: str = "port = 0") -> Process:
    config = folder / "edge.toml"
    config.write_text(f"{CONFIG.format(film=film)}\n{more}\n[http]\n{http}\n")
    return Process("--config", config)


def check_answer(document: Any, method: str, path: str, status: int, body: Any) -> None:
    """Compare an answer with its schema in the OpenAPI `document`, which allows no other fields."""
    jsonschema_rs = pytest.importorskip("jsonschema_rs")
    described = document["paths"][path][method.lower()]["responses"][str(status)]
    schema = described["content"]["application/json"]["schema"]
    jsonschema_rs.validator_for(schema).validate(body)
