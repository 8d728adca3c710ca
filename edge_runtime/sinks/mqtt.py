"""Publish events to an MQTT broker, for home automation and other subscribers.

Topics below the configured one: `event` (each event, QoS 1), `state` (the last recognition,
retained, so that a subscriber that connects later receives it) and `status` (retained: "online", or
"offline", which the broker sets if the connection breaks).
"""

from __future__ import annotations

import json
import ssl
import sys
import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import ConfigError, ExtraMissingError, SinkError
from edge_runtime.sinks.base import Sink
from edge_runtime.types import Event

if TYPE_CHECKING:
    from paho.mqtt.client import MQTTMessageInfo

ANSWER_S = 5.0
"""Limit for the broker to confirm a message or a connection."""


@dataclass(frozen=True)
class MqttOptions:
    """The broker, the credentials and the topic."""

    host: str
    port: int = 1883
    topic: str = "edge-runtime"
    client_id: str = ""
    username: str = ""
    password: str = ""
    tls: bool = False
    ca_file: str = ""


class MqttSink(Sink):
    """Holds a connection to a broker from `open`, or from the first event.

    paho reconnects in the background.
    """

    name = "mqtt"

    def __init__(self, options: MqttOptions) -> None:
        try:
            from paho.mqtt import client as paho
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError as error:
            raise ExtraMissingError(
                f"paho-mqtt cannot be imported: {error}",
                where="mqtt",
                remedy="pip install edge-runtime[mqtt]",
            ) from error
        self._options = options
        self._where = f"mqtt {options.host}:{options.port}"
        self._refusal = ""
        self._pending: list[MQTTMessageInfo] = []
        self._pending_for: Event | None = None
        self._connected = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=options.client_id or "")
        self._client.will_set(f"{options.topic}/status", "offline", qos=1, retain=True)
        if options.username:
            self._client.username_pw_set(options.username, options.password or None)
        if options.tls:
            self._client.tls_set_context(_trust(options.ca_file))
        self._client.reconnect_delay_set(min_delay=1, max_delay=30)
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        self._opened = False

    def open(self) -> None:
        """See `Sink.open`. From now on `status` is "online" while the broker is reachable."""
        if not self._opened:
            self._opened = True
            self._client.connect_async(self._options.host, self._options.port, keepalive=30)
            self._client.loop_start()

    def publish(self, event: Event) -> None:
        """See `Sink.publish`. Returns when the broker has confirmed the event."""
        self.open()
        if not self._connected.wait(ANSWER_S):
            raise SinkError(
                self._refusal or "no connection to the broker",
                where=self._where,
                remedy="check that the broker runs, and the address, user and password",
            )
        # paho still holds a message that an earlier attempt passed to it, and sends it after a
        # reconnect. A new attempt must wait for the confirmation only.
        if self._pending_for is not event:
            self._pending_for, self._pending = event, self._send(event)
        for message in self._pending:
            try:
                message.wait_for_publish(ANSWER_S)
            except (RuntimeError, ValueError) as error:
                self._pending_for = None
                raise SinkError(str(error), where=self._where) from error
            if not message.is_published():
                raise SinkError("the broker does not confirm the event", where=self._where)
        self._pending_for = None

    def close(self) -> None:
        """See `Sink.close`. Sets `status` to "offline" itself; the last will is for failures."""
        if self._connected.is_set():
            offline = self._client.publish(
                f"{self._options.topic}/status", "offline", qos=1, retain=True
            )
            offline.wait_for_publish(0.3)
        self._client.disconnect()
        self._client.loop_stop()

    def _send(self, event: Event) -> list[MQTTMessageInfo]:
        topic = self._options.topic
        body = json.dumps(asdict(event), ensure_ascii=False)
        entered = event.kind == "enter"
        state = {"label": event.label if entered else None, "since": event.time}
        return [
            self._client.publish(f"{topic}/event", body, qos=1),
            self._client.publish(
                f"{topic}/state", json.dumps(state, ensure_ascii=False), qos=1, retain=True
            ),
        ]

    def _on_connect(
        self, client: Any, _data: object, _flags: object, reason: Any, _properties: object
    ) -> None:
        if reason.is_failure:
            self._refusal = f"the broker refuses the connection: {reason}"
            return
        self._refusal = ""
        client.publish(f"{self._options.topic}/status", "online", qos=1, retain=True)
        self._connected.set()

    def _on_connect_fail(self, _client: Any, _data: object) -> None:
        error = (
            sys.exception()
        )  # paho calls this inside its except block and does not pass the error
        if isinstance(error, ssl.SSLCertVerificationError):
            self._refusal = f"the broker's certificate is not trusted: {error.verify_message}"
        else:
            self._refusal = f"no connection to the broker: {error}" if error else ""

    def _on_disconnect(
        self, _client: Any, _data: object, _flags: object, _reason: Any, _properties: object
    ) -> None:
        self._connected.clear()


def _trust(ca_file: str) -> ssl.SSLContext:
    """Return the context that verifies the broker's certificate; raises `ConfigError`."""
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        what = (
            "the file contains no certificates"
            if isinstance(error, ssl.SSLError)
            else str(error.strerror)
        )
        raise ConfigError(
            f"mqtt.ca_file: {what}", where=ca_file, remedy="name a PEM file"
        ) from error
