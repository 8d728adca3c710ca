"""Publish events to an MQTT broker, for home automation and other subscribers.

The topics are those of `topics.Topics`. Retained messages tell what is in view now, also to who
subscribes later. They are null from the start until the first recognition, while a camera is lost,
and after the stop. A crash changes only `status`, by the last will: the state holds only while the
status is "online". What a process that was killed left of cameras and regions that are no longer
there is read back from the broker at each connection, and cleared.
"""

from __future__ import annotations

import json
import logging
import ssl
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import ConfigError, ExtraMissingError, SinkError
from edge_runtime.sinks.base import Sink
from edge_runtime.sinks.home_assistant import (
    Announced,
    announcement,
    config_topic,
    without_former,
)
from edge_runtime.sinks.mqtt_session import SessionWatch
from edge_runtime.sinks.mqtt_state import RetainedState, left_behind
from edge_runtime.sinks.topics import Place, Topics
from edge_runtime.system.printable import printable
from edge_runtime.types import CameraState, Event

if TYPE_CHECKING:
    from paho.mqtt.client import MQTTMessageInfo

log = logging.getLogger(__name__)

ANSWER_S = 5.0
"""Limit for the broker to confirm a message or a connection."""


@dataclass(frozen=True)
class MqttOptions:
    """The broker, the credentials, the topic, and what the board watches."""

    host: str
    port: int = 1883
    topic: str = "edge-runtime"
    client_id: str = ""
    username: str = ""
    password: str = ""
    tls: bool = False
    ca_file: str = ""
    board: str = ""
    places: tuple[Place, ...] = (Place(),)
    """All cameras, or all regions of those that have some."""
    discovery: bool = False
    discovery_prefix: str = "homeassistant"
    images: bool = False
    commands: bool = False
    model: str = ""
    """The board's hardware, for the announcement."""


class MqttSink(Sink):
    """Holds a connection to a broker from `open`, or from the first event.

    paho reconnects in the background.
    """

    name = "mqtt"

    def __init__(
        self,
        options: MqttOptions,
        *,
        picture: Callable[[Event], bytes | None] = lambda _event: None,
        command: Callable[[str], None] = lambda _name: None,
    ) -> None:
        """Publish as `options` say.

        `picture` returns the JPEG of an "enter" event, if there is still one; `command` executes a
        command. Both are called on threads of this sink.
        """
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
        self._pending_for: Event | CameraState | None = None
        self._topics = Topics(options.topic, options.places)
        self._retained = RetainedState(options.board, self._topics)
        self._order = threading.Lock()
        """Held while retained messages are computed and passed to paho, so that an older one never
        follows a newer one."""
        self._session = SessionWatch(options.client_id)
        self._picture, self._command = picture, command
        self._config_topic = config_topic(options.discovery_prefix, options.board)
        self._announcement = announcement(
            self._topics, Announced(options.board, options.model, options.images, options.commands)
        )
        self._connected = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=options.client_id or "")
        self._client.will_set(self._topics.status, "offline", qos=1, retain=True)
        if options.username:
            self._client.username_pw_set(options.username, options.password or None)
        if options.tls:
            self._client.tls_set_context(_trust(options.ca_file))
        self._client.reconnect_delay_set(min_delay=1, max_delay=30)
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._opened = False

    @property
    def fault(self) -> str:
        """See `Sink.fault`."""
        return self._session.fault and f"{self._where}: {self._session.fault}"

    def open(self, cameras: Sequence[CameraState] = ()) -> None:
        """See `Sink.open`. From now on `status` is "online" while the broker is reachable."""
        if not self._opened:
            self._opened = True
            for camera in cameras:
                self._retained.show(camera)
            self._client.connect_async(self._options.host, self._options.port, keepalive=30)
            self._client.loop_start()

    def publish(self, event: Event) -> None:
        """See `Sink.publish`. Returns when the broker has confirmed the event."""
        self._deliver(event, lambda: self._send_event(event))

    def show(self, camera: CameraState) -> None:
        """See `Sink.show`. Returns when the broker has confirmed the state."""
        self._deliver(camera, lambda: self._send_retained(self._retained.show(camera)))

    def test(self, event: Event) -> None:
        """See `Sink.test`. Publishes to the topic `test`, so that no subscriber acts on it."""
        topic = f"{self._options.topic}/test"
        body = json.dumps(asdict(event), ensure_ascii=False)
        self._deliver(event, lambda: [self._client.publish(topic, body, qos=1)])

    def _deliver(
        self, item: Event | CameraState, send: Callable[[], list[MQTTMessageInfo]]
    ) -> None:
        self.open()
        if not self._connected.wait(ANSWER_S):
            raise SinkError(
                self._refusal or self._session.fault or "no connection to the broker",
                where=self._where,
                remedy=""
                if self._session.fault
                else "check that the broker runs, and the address, user and password",
            )
        # paho still holds a message that an earlier attempt passed to it, and sends it after a
        # reconnect. A new attempt must wait for the confirmation only.
        if self._pending_for is not item:
            with self._order:
                self._pending_for, self._pending = item, send()
        for message in self._pending:
            try:
                message.wait_for_publish(ANSWER_S)
            except (RuntimeError, ValueError) as error:
                self._pending_for = None
                raise SinkError(str(error), where=self._where) from error
            if not message.is_published():
                raise SinkError("the broker does not confirm the message", where=self._where)
        self._pending_for = None

    def close(self) -> None:
        """See `Sink.close`. Sets `status` to "offline" itself; the last will is for failures."""
        if self._connected.is_set():
            with self._order:
                self._send_retained(self._retained.stop())
                offline = self._client.publish(self._topics.status, "offline", qos=1, retain=True)
            offline.wait_for_publish(0.3)
        self._client.disconnect()
        self._client.loop_stop()

    def _send_event(self, event: Event) -> list[MQTTMessageInfo]:
        body = json.dumps(asdict(event), ensure_ascii=False)
        place, sent = Place(event.camera, event.region), []
        shown = self._options.images and event.kind == "enter" and place in self._topics.places
        if shown and (picture := self._picture(event)):  # first: it is there when it is wanted
            sent.append(self._client.publish(self._topics.image(place), picture, 1, True))
        sent.append(self._client.publish(self._topics.event, body, qos=1))
        return sent + self._send_retained(self._retained.event(event))

    def _send_retained(self, messages: dict[str, str], qos: int = 1) -> list[MQTTMessageInfo]:
        return [
            self._client.publish(topic, text, qos=qos, retain=True)
            for topic, text in messages.items()
        ]

    def _on_connect(
        self, client: Any, _data: object, _flags: object, reason: Any, _properties: object
    ) -> None:
        if reason.is_failure:
            self._refusal = f"the broker refuses the connection: {reason}"
            return
        self._refusal = ""
        self._session.began()
        # The broker may have lost what it retained, or may retain what an earlier process left.
        # QoS 0: paho would repeat messages of QoS 1 after the next reconnect, when they are old.
        # "online" is last, so that no state of an earlier process is read together with it.
        with self._order:
            if self._options.board:
                client.subscribe(
                    [(each, 0) for each in (*self._topics.filters, self._topics.status)]
                )
            self._send_retained(self._retained.messages(), qos=0)
            if not self._options.images:
                for place in self._topics.places:
                    client.publish(self._topics.image(place), b"", qos=0, retain=True)
            if self._options.board:
                client.subscribe(self._config_topic, qos=1)
            if self._options.discovery:
                self._announce(self._announcement)
            if self._options.commands:
                client.subscribe(self._topics.command("+"), qos=1)
            client.publish(self._topics.status, "online", qos=0, retain=True)
        self._connected.set()

    def _announce(self, message: dict[str, Any] | None) -> None:
        text = "" if message is None else json.dumps(message, ensure_ascii=False)
        self._client.publish(self._config_topic, text, qos=0, retain=True)

    def _on_message(self, _client: Any, _data: object, message: Any) -> None:
        if message.topic == self._config_topic:
            if message.retain and message.payload:  # of an earlier configuration
                self._replace_announcement(message.payload)
        elif message.topic == self._topics.status:
            # Our own "online" follows all that the broker retained.
            if not message.retain and message.payload == b"online":
                self._client.unsubscribe([*self._topics.filters, self._topics.status])
        elif message.topic.rpartition("/")[2] in ("state", "camera"):
            if message.retain:
                self._clear(message.topic, message.payload)
        elif not message.retain:  # a command that is retained would be executed at every start
            name = message.topic.rpartition("/")[2]
            log.info("%s: received the command %s", self._where, printable(name))
            self._command(name)

    def _clear(self, topic: str, payload: bytes) -> None:
        for each in left_behind(self._options.board, self._topics, topic, payload):
            log.info("%s: cleared %s of an earlier configuration", self._where, printable(each))
            self._client.publish(each, b"", qos=0, retain=True)

    def _replace_announcement(self, former: bytes) -> None:
        """Take back what only an earlier configuration announced."""
        if not self._options.discovery:
            self._announce(None)
        elif removing := without_former(self._announcement, former):
            self._announce(removing)
            self._announce(self._announcement)

    def _on_connect_fail(self, _client: Any, _data: object) -> None:
        error = (
            sys.exception()
        )  # paho calls this inside its except block and does not pass the error
        if isinstance(error, ssl.SSLCertVerificationError):
            self._refusal = f"the broker's certificate is not trusted: {error.verify_message}"
        else:
            self._refusal = f"no connection to the broker: {error}" if error else ""

    def _on_disconnect(
        self, _client: Any, _data: object, _flags: object, reason: Any, _properties: object
    ) -> None:
        self._connected.clear()
        if reason.is_failure and self._session.ended():
            log.error("%s", self.fault)


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
