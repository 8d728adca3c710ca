"""Sinks behind their outboxes: a real broker, a real web server, real programs."""

from __future__ import annotations

import io
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
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
from tests.support.events import make_event

HTML = "<img src=x onerror=alert(1)>$(touch /tmp/owned) & \"quoted\" 'too'"


def _until(condition: Callable[[], Any], limit_s: float = 15.0) -> Any:
    end_s = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < end_s, "it never happened"
        time.sleep(0.01)
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class _Moody(Sink):
    """Follows orders: what each attempt does."""

    name = "moody"

    def __init__(self, orders: Iterator[str]) -> None:
        self._orders = orders
        self.got: list[int] = []
        self.closed = 0

    def publish(self, event: Event) -> None:
        order = next(self._orders, "take")
        if order == "later":
            raise SinkError("not now")
        if order == "never":
            raise SinkError("not this one", retry=False)
        if order == "bug":
            raise ZeroDivisionError("a bug of the sink's")
        self.got.append(event.sequence)

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
    sink = _Moody(iter(orders))
    box = Outbox(sink, capacity=capacity, attempts=attempts, shortest_s=1e-4, longest_s=2e-4)
    for number in range(count):
        box.publish(make_event(number))
    _until(lambda: not box.counts().waiting)
    box.close()
    counts = box.counts()
    assert counts.published == count == counts.delivered + counts.dropped + counts.failed
    assert counts.delivered == len(sink.got)
    assert sink.got == sorted(set(sink.got))
    assert sink.closed == 1


def test_a_dead_sink_does_not_delay_the_path() -> None:
    release, begun = threading.Event(), threading.Event()

    class Dead(Sink):
        def publish(self, event: Event) -> None:
            begun.set()
            release.wait()

    box = Outbox(Dead(), capacity=10)
    box.publish(make_event())
    assert begun.wait(5)
    began_s = time.monotonic()
    for number in range(1, 1000):
        box.publish(make_event(number))
    assert time.monotonic() - began_s < 5
    counts = box.counts()
    assert (counts.published, counts.dropped, counts.waiting) == (1000, 989, 11)
    box.close(0.05)
    assert box.counts().waiting == 1  # in the sink's hands
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


def test_what_is_left_at_the_end_is_delivered_or_counted() -> None:
    box = Outbox(_Moody(iter(["later"] * 1000)), shortest_s=0.01, longest_s=0.02)
    for number in range(5):
        box.publish(make_event(number))
    box.close(0.1)
    counts = box.counts()
    assert counts.waiting == 0
    assert counts.dropped + counts.failed == 5


def test_one_line_anmake_event() -> None:
    text, lines = io.StringIO(), io.StringIO()
    TextSink(text).publish(make_event(label=HTML))
    JsonSink(lines).publish(make_event(label=HTML))
    assert text.getvalue().count("\n") == 1
    event = json.loads(lines.getvalue())
    assert event["label"] == HTML
    assert event["frame_time"] == "2026-01-02T03:04:05.678+00:00"


# -- webhook ----------------------------------------------------------------------------------


class _Hook(BaseHTTPRequestHandler):
    answers: ClassVar[list[int]] = []
    seen: ClassVar[list[tuple[dict[str, Any], str | None]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).seen.append((json.loads(body), self.headers["Authorization"]))
        code = type(self).answers.pop(0) if type(self).answers else 204
        self.send_response(code)
        if code == 302:
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def hook() -> Iterator[str]:
    _Hook.answers, _Hook.seen = [], []
    with ThreadingHTTPServer(("127.0.0.1", 0), _Hook) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook"
        server.shutdown()
        thread.join()


def test_a_webhook_that_has_a_bad_day(hook: str) -> None:
    _Hook.answers = [500, 429, 200, 404, 302]
    box = Outbox(WebhookSink(hook, token="s3cret"), attempts=5, shortest_s=0.01)
    for number in range(4):
        box.publish(make_event(number, label=HTML))
    _until(lambda: not box.counts().waiting)
    box.close()
    counts = box.counts()
    # The first event is taken at the third attempt; "not found" and a redirect are final.
    assert (counts.delivered, counts.failed) == (2, 2)
    assert [body["sequence"] for body, _ in _Hook.seen] == [0, 0, 0, 1, 2, 3]
    assert _Hook.seen[0] == (
        json.loads(json.dumps(make_event(label=HTML).__dict__)),
        "Bearer s3cret",
    )


def test_a_webhook_that_answers_no_http_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            for words in (b"garbage\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"):
                channel, _ = server.accept()
                with channel:
                    channel.recv(1 << 16)
                    channel.sendall(words)
                    channel.shutdown(socket.SHUT_WR)
                    while channel.recv(1 << 16):
                        pass

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        box = Outbox(WebhookSink(url, timeout_s=5.0), attempts=3, shortest_s=0.01)
        box.publish(make_event())
        _until(lambda: box.counts().waiting == 0)
        box.close()
        thread.join(5.0)
    assert (box.counts().delivered, box.counts().failed) == (1, 0)
    (said,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "the answer is no HTTP" in said
    assert "\n" not in said


def test_a_webhook_where_nobody_is() -> None:
    with pytest.raises(SinkError, match=r"webhook 127\.0\.0\.1:9: no answer") as caught:
        WebhookSink("http://127.0.0.1:9/").publish(make_event())
    assert caught.value.retry


# -- exec -------------------------------------------------------------------------------------


def test_a_program_gets_the_event_and_no_shell_reads_it(tmp_path: Path) -> None:
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
        (["/nowhere/program"], "cannot be run: No such file"),
        (["/etc/passwd"], "cannot be run: Permission denied"),
        ([sys.executable, "-c", "import sys; sys.exit('no paper')"], "code 1: no paper"),
        (["sh", "-c", "sleep 60 & sleep 60"], "took longer than 0.3 s"),
        (["true"], ""),
    ],
)
def test_programs_that_fail(command: list[str], what: str) -> None:
    sink = CommandSink(command, timeout_s=0.3)
    if not what:
        sink.publish(make_event())
        return
    with pytest.raises(SinkError, match=what) as caught:
        sink.publish(make_event())
    assert not caught.value.retry


# -- MQTT -------------------------------------------------------------------------------------

BROKER = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
needs_broker = pytest.mark.skipif(BROKER is None, reason="no mosquitto: apt install mosquitto")


class Broker:
    """A real one, on a port that stays the same when it is started again."""

    def __init__(self, folder: Path, extra: str = "allow_anonymous true") -> None:
        self.port = _free_port()
        self._config = folder / "mosquitto.conf"
        self._config.write_text(f"listener {self.port} 127.0.0.1\n{extra}\n")
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert BROKER
        self._child = subprocess.Popen(
            [BROKER, "-c", self._config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _until(self._answers)

    def stop(self) -> None:
        if self._child:
            self._child.kill()
            self._child.wait()
            self._child = None

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Listener:
    """Another client, that writes down what it hears."""

    def __init__(self, port: int) -> None:
        from paho.mqtt import client as paho
        from paho.mqtt.enums import CallbackAPIVersion

        self.heard: list[tuple[str, str, bool]] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        listening = threading.Event()  # what is published before that is not heard
        self._client.on_subscribe = lambda *_: listening.set()
        self._client.on_message = lambda _client, _data, message: self.heard.append(
            (message.topic, message.payload.decode(), message.retain)
        )
        self._client.connect_async("127.0.0.1", port)
        self._client.loop_start()
        assert listening.wait(15)

    def of(self, topic: str) -> list[str]:
        return [text for name, text, _ in self.heard if name == topic]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    made = Broker(tmp_path)
    made.start()
    yield made
    made.stop()


@needs_broker
def test_mqtt_tells_events_state_and_whether_we_are_there(broker: Broker) -> None:
    ear = Listener(broker.port)
    box = Outbox(MqttSink(MqttOptions("127.0.0.1", broker.port, "home/eye")))
    box.publish(make_event(1, "enter", HTML))
    box.publish(make_event(2, "leave", HTML))
    _until(lambda: len(ear.of("home/eye/event")) == 2)
    assert [json.loads(text)["sequence"] for text in ear.of("home/eye/event")] == [1, 2]
    assert json.loads(ear.of("home/eye/event")[0])["label"] == HTML
    _until(lambda: ear.of("home/eye/status"))
    assert ear.of("home/eye/status")[-1] == "online"
    late = Listener(broker.port)  # the state is kept for whoever comes later
    _until(lambda: late.of("home/eye/state"))
    assert json.loads(late.of("home/eye/state")[0])["label"] is None
    box.close(2)
    _until(lambda: ear.of("home/eye/status")[-1] == "offline")
    assert box.counts().delivered == 2
    late.close()
    ear.close()


@needs_broker
def test_one_that_takes_anothers_place_has_the_last_word(broker: Broker) -> None:
    """The farewell of the one before does not say that we are gone."""
    ear = Listener(broker.port)
    options = MqttOptions("127.0.0.1", broker.port, "eye", client_id="eye")
    box = Outbox(MqttSink(options))
    _until(lambda: ear.of("eye/status")[-1:] == ["online"])
    for number in range(5):
        box = Outbox(MqttSink(options), after=box)
        box.publish(make_event(number))
        _until(lambda box=box: box.counts().delivered)
    time.sleep(0.3)
    assert ear.of("eye/status")[-1] == "online"
    assert [json.loads(text)["sequence"] for text in ear.of("eye/event")] == [0, 1, 2, 3, 4]
    box.close(2)
    ear.close()


class _Slow(_Moody):
    """Is at one event for as long as it is let."""

    def __init__(self) -> None:
        super().__init__(iter(()))
        self.go = threading.Event()

    def publish(self, event: Event) -> None:
        assert self.go.wait(15)
        super().publish(event)


def test_a_sink_that_is_busy_at_the_end_is_closed_when_it_is_not() -> None:
    slow, next_ = _Slow(), _Moody(iter(()))
    box = Outbox(slow)
    box.publish(make_event(1))
    follower = Outbox(next_, after=box)
    follower.publish(make_event(2))
    _until(lambda: box._given_up)
    assert not slow.closed
    assert not next_.got  # one after the other
    slow.go.set()
    _until(lambda: next_.got == [2])
    assert (slow.got, slow.closed) == ([1], 1)
    follower.close()
    assert next_.closed == 1


@needs_broker
def test_the_broker_tells_of_our_death(broker: Broker) -> None:
    script = (
        "import sys, time\n"
        "from edge_runtime.sinks.mqtt import *\n"
        "from tests.support.events import make_event\n"
        f"MqttSink(MqttOptions('127.0.0.1', {broker.port}, 'eye')).publish(make_event())\n"
        "print('told', flush=True)\n"
        "time.sleep(60)\n"
    )
    ear = Listener(broker.port)
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert child.stdout
    assert child.stdout.readline() == b"told\n"
    child.kill()
    child.wait()
    child.stdout.close()
    _until(lambda: ear.of("eye/status")[-1:] == ["offline"])
    ear.close()


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
    ear = Listener(broker.port)
    _until(lambda: not box.counts().waiting, 40)
    counts = box.counts()
    assert counts.published == 6 == counts.delivered + counts.dropped
    assert counts.dropped in (2, 3)  # one may have been in the sink's hands
    box.close()
    ear.close()


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
    """A folder with a certificate authority of our own, and what it says of 127.0.0.1."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl: apt install openssl")

    def openssl(command: str) -> None:
        words = ["openssl", *command.split()]
        subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)

    curve = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    for name in ("ca", "stranger"):
        openssl(f"req -x509 {curve} -keyout {name}.key -out {name}.pem -days 2 -subj /CN={name}")
    openssl(f"req {curve} -keyout broker.key -out broker.csr -subj /CN=broker")
    (tmp_path / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl("x509 -req -in broker.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 "
            "-extfile names -out broker.pem")  # fmt: skip
    return tmp_path


@pytest.fixture
def closed_broker(authority: Path) -> Iterator[Broker]:
    """One that talks TLS alone."""
    certificates = f"certfile {authority}/broker.pem\nkeyfile {authority}/broker.key"
    made = Broker(authority, f"{certificates}\nuser root\nallow_anonymous true")
    made.start()
    yield made
    made.stop()


def _encrypted(broker: Broker, ca_file: Path | None) -> MqttSink:
    return MqttSink(
        MqttOptions("127.0.0.1", broker.port, "eye", tls=True, ca_file=str(ca_file or ""))
    )


@needs_broker
def test_mqtt_over_tls_with_an_authority_of_ones_own(
    closed_broker: Broker, authority: Path
) -> None:
    sink = _encrypted(closed_broker, authority / "ca.pem")
    try:
        sink.publish(make_event())  # returns when it is confirmed
    finally:
        sink.close()


@needs_broker
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")  # paho's
@pytest.mark.parametrize("trusted", ["stranger.pem", ""])
def test_a_broker_that_is_not_trusted_hears_nothing(
    closed_broker: Broker, authority: Path, trusted: str
) -> None:
    sink = _encrypted(closed_broker, authority / trusted if trusted else None)
    try:
        with pytest.raises(SinkError, match="certificate is not to be trusted") as caught:
            sink.publish(make_event())
        assert caught.value.retry  # it may be given a good one
    finally:
        sink.close()


def test_certificates_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "garbage.pem").write_text("no certificate")
    for name, said in (("garbage.pem", "no certificates in it"), ("nowhere.pem", "No such file")):
        with pytest.raises(ConfigError, match=f"{name}: mqtt.ca_file: {said}"):
            MqttSink(MqttOptions("127.0.0.1", 1, tls=True, ca_file=str(tmp_path / name)))
