"""Sinks behind their outboxes, with a real broker, a real web server and real programs."""

from __future__ import annotations

import io
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.errors import ConfigError, SinkError
from edge_runtime.sinks import JsonSink, ListSink, Outbox, Sink, TextSink
from edge_runtime.sinks.command import CommandSink
from edge_runtime.sinks.mqtt import MqttOptions, MqttSink
from edge_runtime.sinks.webhook import WebhookSink
from edge_runtime.types import Event
from tests.daemon.broker import Broker, Listener, needs_broker, until
from tests.support.events import make_event

HTML = "<img src=x onerror=alert(1)>$(touch /tmp/owned) & \"quoted\" 'too'"


def _has_delivered(box: Outbox) -> bool:
    return box.counts().delivered > 0


class _ScriptedSink(Sink):
    """Ends each attempt as `orders` prescribes."""

    name = "scripted"

    def __init__(self, orders: Iterator[str]) -> None:
        self._orders = orders
        self.received: list[int] = []
        self.closed = 0

    def publish(self, event: Event) -> None:
        order = next(self._orders, "take")
        if order == "later":
            raise SinkError("not now")
        if order == "never":
            raise SinkError("not this one", retry=False)
        if order == "bug":
            raise ZeroDivisionError("a bug in the sink")
        self.received.append(event.sequence)

    def close(self) -> None:
        self.closed += 1


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from(["take", "later", "never", "bug"]), max_size=30),
    st.integers(1, 20),
    st.integers(1, 4),
    st.integers(1, 5),
)
def test_no_event_is_lost_without_being_counted(
    orders: list[str], count: int, attempts: int, capacity: int
) -> None:
    sink = _ScriptedSink(iter(orders))
    box = Outbox(sink, capacity=capacity, attempts=attempts, shortest_s=1e-4, longest_s=2e-4)
    for number in range(count):
        box.publish(make_event(number))
    until(lambda: not box.counts().waiting)
    box.close()
    counts = box.counts()
    assert counts.published == count == counts.delivered + counts.dropped + counts.failed
    assert counts.delivered == len(sink.received)
    assert sink.received == sorted(set(sink.received))
    assert sink.closed == 1


def test_a_blocked_sink_does_not_delay_the_pipeline() -> None:
    release, begun = threading.Event(), threading.Event()

    class Blocked(Sink):
        def publish(self, event: Event) -> None:
            begun.set()
            release.wait()

    box = Outbox(Blocked(), capacity=10)
    box.publish(make_event())
    assert begun.wait(5)
    began_s = time.monotonic()
    for number in range(1, 1000):
        box.publish(make_event(number))
    assert time.monotonic() - began_s < 5
    counts = box.counts()
    assert (counts.published, counts.dropped, counts.waiting) == (1000, 989, 11)
    box.close(0.05)
    assert box.counts().waiting == 1  # being published
    release.set()


def test_a_lossless_outbox_makes_the_source_wait() -> None:
    class Slow(ListSink):
        def publish(self, event: Event) -> None:
            time.sleep(0.001)
            super().publish(event)

    sink = Slow()
    box = Outbox(sink, capacity=2, lossless=True)
    for number in range(50):
        box.publish(make_event(number))
    box.close()
    assert [event.sequence for event in sink.events] == list(range(50))
    assert box.counts().dropped == 0


def test_events_left_at_shutdown_are_delivered_or_counted() -> None:
    box = Outbox(_ScriptedSink(iter(["later"] * 1000)), shortest_s=0.01, longest_s=0.02)
    for number in range(5):
        box.publish(make_event(number))
    box.close(0.1)
    counts = box.counts()
    assert counts.waiting == 0
    assert counts.dropped + counts.failed == 5


def test_one_line_per_event() -> None:
    text, lines = io.StringIO(), io.StringIO()
    TextSink(text).publish(make_event(label=HTML))
    JsonSink(lines).publish(make_event(label=HTML))
    assert text.getvalue().count("\n") == 1
    event = json.loads(lines.getvalue())
    assert event["label"] == HTML
    assert event["frame_time"] == "2026-01-02T03:04:05.678+00:00"


# -- webhook ----------------------------------------------------------------------------------


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


# -- exec -------------------------------------------------------------------------------------


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


# -- MQTT -------------------------------------------------------------------------------------


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path)
    broker.start()
    yield broker
    broker.stop()


@needs_broker
def test_mqtt_publishes_events_state_and_status(broker: Broker) -> None:
    listener = Listener(broker.port)
    box = Outbox(MqttSink(MqttOptions("127.0.0.1", broker.port, "home/eye")))
    box.publish(make_event(1, "enter", HTML))
    box.publish(make_event(2, "leave", HTML))
    until(lambda: len(listener.payloads("home/eye/event")) == 2)
    assert [json.loads(text)["sequence"] for text in listener.payloads("home/eye/event")] == [1, 2]
    assert json.loads(listener.payloads("home/eye/event")[0])["label"] == HTML
    until(lambda: listener.payloads("home/eye/status"))
    assert listener.payloads("home/eye/status")[-1] == "online"
    late = Listener(broker.port)  # the state is retained for later subscribers
    until(lambda: late.payloads("home/eye/state"))
    assert json.loads(late.payloads("home/eye/state")[0])["label"] is None
    box.close(2)
    until(lambda: listener.payloads("home/eye/status")[-1] == "offline")
    assert box.counts().delivered == 2
    late.close()
    listener.close()


@needs_broker
def test_a_replaced_sink_does_not_overwrite_the_status(broker: Broker) -> None:
    """The "offline" of the closed sink comes before the "online" of its successor."""
    listener = Listener(broker.port)
    options = MqttOptions("127.0.0.1", broker.port, "eye", client_id="eye")
    box = Outbox(MqttSink(options))
    until(lambda: listener.payloads("eye/status")[-1:] == ["online"])
    for number in range(5):
        box = Outbox(MqttSink(options), after=box)
        box.publish(make_event(number))
        until(partial(_has_delivered, box))
    time.sleep(0.3)
    assert listener.payloads("eye/status")[-1] == "online"
    assert [json.loads(text)["sequence"] for text in listener.payloads("eye/event")] == [
        0,
        1,
        2,
        3,
        4,
    ]
    box.close(2)
    listener.close()


class _Slow(_ScriptedSink):
    """Blocks in `publish` until `go` is set."""

    def __init__(self) -> None:
        super().__init__(iter(()))
        self.go = threading.Event()

    def publish(self, event: Event) -> None:
        assert self.go.wait(15)
        super().publish(event)


def test_a_sink_that_is_busy_at_shutdown_is_closed_later() -> None:
    slow, next_ = _Slow(), _ScriptedSink(iter(()))
    box = Outbox(slow)
    box.publish(make_event(1))
    successor = Outbox(next_, after=box)
    successor.publish(make_event(2))
    until(lambda: box._abandoned)
    assert not slow.closed
    assert not next_.received  # the successor waits
    slow.go.set()
    until(lambda: next_.received == [2])
    assert (slow.received, slow.closed) == ([1], 1)
    successor.close()
    assert next_.closed == 1


@needs_broker
def test_the_broker_publishes_the_last_will(broker: Broker) -> None:
    script = (
        "import sys, time\n"
        "from edge_runtime.sinks.mqtt import *\n"
        "from tests.support.events import make_event\n"
        f"MqttSink(MqttOptions('127.0.0.1', {broker.port}, 'eye')).publish(make_event())\n"
        "print('published', flush=True)\n"
        "time.sleep(60)\n"
    )
    listener = Listener(broker.port)
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert child.stdout
    assert child.stdout.readline() == b"published\n"
    child.kill()
    child.wait()
    child.stdout.close()
    until(lambda: listener.payloads("eye/status")[-1:] == ["offline"])
    listener.close()


@needs_broker
def test_events_wait_while_the_broker_is_away(broker: Broker) -> None:
    broker.stop()
    box = Outbox(
        MqttSink(MqttOptions("127.0.0.1", broker.port, "eye")), capacity=3, shortest_s=0.05
    )
    for number in range(6):
        box.publish(make_event(number))
    assert box.counts().delivered == 0
    broker.start()
    listener = Listener(broker.port)
    until(lambda: not box.counts().waiting, 40)
    counts = box.counts()
    assert counts.published == 6 == counts.delivered + counts.dropped
    assert counts.dropped in (2, 3)  # one may have been in publication
    box.close()
    listener.close()


@needs_broker
def test_a_broker_that_refuses_is_named(tmp_path: Path) -> None:
    strict = Broker(tmp_path, "allow_anonymous false")
    strict.start()
    sink = MqttSink(MqttOptions("127.0.0.1", strict.port, username="me", password="wrong"))
    try:
        with pytest.raises(SinkError, match=r"mqtt 127\.0\.0\.1:\d+: the broker refuses") as caught:
            sink.publish(make_event())
        assert caught.value.retry
    finally:
        sink.close()
        strict.stop()


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """A folder with our own certificate authority and its certificate for 127.0.0.1."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl: apt install openssl")

    def openssl(command: str) -> None:
        words = ["openssl", *command.split()]
        subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)

    curve = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    for name in ("ca", "unrelated"):
        openssl(f"req -x509 {curve} -keyout {name}.key -out {name}.pem -days 2 -subj /CN={name}")
    openssl(f"req {curve} -keyout broker.key -out broker.csr -subj /CN=broker")
    (tmp_path / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl("x509 -req -in broker.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 "
            "-extfile names -out broker.pem")  # fmt: skip
    return tmp_path


@pytest.fixture
def closed_broker(authority: Path) -> Iterator[Broker]:
    """A broker that accepts TLS connections only."""
    certificates = f"certfile {authority}/broker.pem\nkeyfile {authority}/broker.key"
    broker = Broker(authority, f"{certificates}\nuser root\nallow_anonymous true")
    broker.start()
    yield broker
    broker.stop()


def _encrypted(broker: Broker, ca_file: Path | None) -> MqttSink:
    return MqttSink(
        MqttOptions("127.0.0.1", broker.port, "eye", tls=True, ca_file=str(ca_file or ""))
    )


@needs_broker
def test_mqtt_over_tls_with_a_private_authority(closed_broker: Broker, authority: Path) -> None:
    sink = _encrypted(closed_broker, authority / "ca.pem")
    try:
        sink.publish(make_event())  # returns after the confirmation
    finally:
        sink.close()


@needs_broker
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")  # paho's
@pytest.mark.parametrize("trusted", ["unrelated.pem", ""])
def test_an_untrusted_broker_receives_nothing(
    closed_broker: Broker, authority: Path, trusted: str
) -> None:
    sink = _encrypted(closed_broker, authority / trusted if trusted else None)
    try:
        with pytest.raises(SinkError, match="certificate is not trusted") as caught:
            sink.publish(make_event())
        assert caught.value.retry  # the broker may get a valid certificate later
    finally:
        sink.close()


def test_certificates_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "garbage.pem").write_text("no certificate")
    for name, message in (("garbage.pem", "the file contains no"), ("nowhere.pem", "No such")):
        with pytest.raises(ConfigError, match=f"{name}: mqtt.ca_file: {message}"):
            MqttSink(MqttOptions("127.0.0.1", 1, tls=True, ca_file=str(tmp_path / name)))


@needs_broker
def test_a_test_event_has_a_topic_of_its_own(broker: Broker) -> None:
    listener = Listener(broker.port)
    box = Outbox(MqttSink(MqttOptions("127.0.0.1", broker.port, "home/eye")))
    assert box.attempt(make_event(0, "test"), 20) == ""
    until(lambda: listener.payloads("home/eye/test"))
    assert not listener.payloads("home/eye/event")
    assert not any('"label": "test"' in text for text in listener.payloads("home/eye/state"))
    broker.stop()
    assert "broker" in box.attempt(make_event(1, "test"), 30)
    box.close(0.1)
    listener.close()
