"""MQTT with a real broker: events, state, last will, encryption."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from edge_runtime.errors import ConfigError, SinkError
from edge_runtime.sinks import Outbox
from edge_runtime.sinks.mqtt import MqttOptions, MqttSink
from tests.daemon.broker import Broker, Listener, needs_broker, until
from tests.support.events import HTML, make_event


def _has_delivered(box: Outbox) -> bool:
    return box.counts().delivered > 0


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
