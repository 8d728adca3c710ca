"""A real MQTT broker and a client that listens to it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BROKER = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
needs_broker = pytest.mark.skipif(BROKER is None, reason="no mosquitto: apt install mosquitto")


def until(condition: Callable[[], Any], limit_s: float = 15.0) -> Any:
    end_s = time.monotonic() + limit_s
    while not (result := condition()):
        assert time.monotonic() < end_s, "timed out"
        time.sleep(0.01)
    return result


def free_port() -> int:
    """Return a port of the loopback address that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Broker:
    """A real MQTT broker whose port stays the same across restarts."""

    def __init__(self, folder: Path, extra: str = "allow_anonymous true") -> None:
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        self._config.write_text(f"listener {self.port} 127.0.0.1\n{extra}\n")
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert BROKER
        self._child = subprocess.Popen(
            [BROKER, "-c", self._config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(self._answers)

    def stop(self) -> None:
        if self._child:
            self._child.kill()
            self._child.wait()
            self._child = None

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Listener:
    """A client that records every message."""

    def __init__(self, port: int) -> None:
        from paho.mqtt import client as paho
        from paho.mqtt.enums import CallbackAPIVersion

        self.messages: list[tuple[str, str, bool]] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        subscribed = threading.Event()  # earlier messages are not received
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.on_message = lambda _client, _data, message: self.messages.append(
            (message.topic, message.payload.decode(), message.retain)
        )
        self._client.connect_async("127.0.0.1", port)
        self._client.loop_start()
        assert subscribed.wait(15)

    def payloads(self, topic: str) -> list[str]:
        return [text for name, text, _ in self.messages if name == topic]

    def publish(self, topic: str, text: str, *, retain: bool = False) -> None:
        self._client.publish(topic, text, qos=1, retain=retain).wait_for_publish(15)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
