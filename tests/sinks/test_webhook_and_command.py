"""The webhook and the exec sink, with a real web server and real programs."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from edge_runtime.errors import SinkError
from edge_runtime.sinks import Outbox
from edge_runtime.sinks.command import CommandSink
from edge_runtime.sinks.webhook import WebhookSink
from tests.daemon.broker import until
from tests.support.events import HTML, make_event


class _Hook(BaseHTTPRequestHandler):
    status_codes: ClassVar[list[int]] = []
    requests: ClassVar[list[tuple[dict[str, Any], str | None]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).requests.append((json.loads(body), self.headers["Authorization"]))
        code = type(self).status_codes.pop(0) if type(self).status_codes else 204
        self.send_response(code)
        if code == 302:
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def hook() -> Iterator[str]:
    _Hook.status_codes, _Hook.requests = [], []
    with ThreadingHTTPServer(("127.0.0.1", 0), _Hook) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook"
        server.shutdown()
        thread.join()


def test_a_webhook_retries_only_temporary_errors(hook: str) -> None:
    _Hook.status_codes = [500, 429, 200, 404, 302]
    box = Outbox(WebhookSink(hook, token="s3cret"), attempts=5, shortest_s=0.01)
    for number in range(4):
        box.publish(make_event(number, label=HTML))
    until(lambda: not box.counts().waiting)
    box.close()
    counts = box.counts()
    # The first event succeeds at the third attempt. 404 and a redirect are final.
    assert (counts.delivered, counts.failed) == (2, 2)
    assert [body["sequence"] for body, _ in _Hook.requests] == [0, 0, 0, 1, 2, 3]
    assert _Hook.requests[0] == (
        json.loads(json.dumps(make_event(label=HTML).__dict__)),
        "Bearer s3cret",
    )


def test_a_webhook_response_that_is_not_http_is_retried(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            for response in (b"garbage\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"):
                connection, _ = server.accept()
                with connection:
                    connection.recv(1 << 16)
                    connection.sendall(response)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(1 << 16):
                        pass

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        box = Outbox(WebhookSink(url, timeout_s=5.0), attempts=3, shortest_s=0.01)
        box.publish(make_event())
        until(lambda: box.counts().waiting == 0)
        box.close()
        thread.join(5.0)
    assert (box.counts().delivered, box.counts().failed) == (1, 0)
    (message,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "the response is not valid HTTP" in message
    assert "\n" not in message


def test_a_webhook_without_a_server() -> None:
    with pytest.raises(SinkError, match=r"webhook 127\.0\.0\.1:9: no response") as caught:
        WebhookSink("http://127.0.0.1:9/").publish(make_event())
    assert caught.value.retry


def test_a_program_receives_the_event_without_a_shell(tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = (
        "import os, sys; "
        f"open({str(out)!r}, 'w').write(os.environ['EDGE_LABEL'] + sys.stdin.read())"
    )
    CommandSink([sys.executable, "-c", script]).publish(make_event(label=HTML))
    label, line = out.read_text()[: len(HTML)], out.read_text()[len(HTML) :]
    assert label == HTML
    assert json.loads(line)["label"] == HTML


@pytest.mark.parametrize(
    ("command", "what"),
    [
        (["/nowhere/program"], "cannot run the program: No such file"),
        (["/etc/passwd"], "cannot run the program: Permission denied"),
        ([sys.executable, "-c", "import sys; sys.exit('no paper')"], "code 1: no paper"),
        (["sh", "-c", "sleep 60 & sleep 60"], "killed after 0.3 s"),
        (["true"], ""),
    ],
)
def test_programs_that_fail(command: list[str], what: str) -> None:
    sink = CommandSink(command, timeout_s=0.3 if "killed" in what else 30.0)
    if not what:
        sink.publish(make_event())
        return
    with pytest.raises(SinkError, match=what) as caught:
        sink.publish(make_event())
    assert not caught.value.retry
