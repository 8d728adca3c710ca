"""The desk's connection to the fleet's broker.

A message is acknowledged only after it is durable, so the broker sends it again if the desk is
killed before. Nothing here is believed: see `edge_runtime.desk.intake`.
"""

from __future__ import annotations

import json
import logging
import queue
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge_runtime.desk.intake import MOST_PROPOSAL_BYTES
from edge_runtime.desk.settings import Broker
from edge_runtime.errors import DeskError
from edge_runtime.settings.secrets import read_secret

if TYPE_CHECKING:
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

log = logging.getLogger(__name__)

PROPOSALS, BOARDS, VERSION = "proposals", "boards", "version"
KEEPALIVE_S = 30
MOST_WAITING = 20_000
"""Messages in memory. The broker keeps the others, and sends them after a new connection."""


@dataclass(frozen=True)
class Message:
    """A message that is not acknowledged yet."""

    kind: str
    """`PROPOSALS` or `BOARDS`."""
    board: str
    payload: bytes
    kept: bool
    """Whether the broker had kept it for new subscribers."""
    number: int
    qos: int
    connection: int
    """Numbers of messages are only valid on the connection that brought them."""


class Line:
    """Receives proposals and states, and announces versions. It reconnects by itself."""

    def __init__(self, broker: Broker, topic: str, name: str) -> None:
        """Raises `ConfigError` or `DeskError` for unusable secrets or certificates."""
        self._topic = topic
        self._waiting: queue.Queue[Message] = queue.Queue(MOST_WAITING)
        self._lock = threading.Lock()
        self._connection = 0
        self._version: int | None = None
        self.connected = False
        self.fault = "not connected yet"
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"edge-runtime-desk-{name}",
            clean_session=False,
            manual_ack=True,
        )
        if broker.username:
            word = read_secret(broker.password_file) if broker.password_file else None
            client.username_pw_set(broker.username, word)
        if broker.tls:
            try:
                client.tls_set(broker.ca_file or None)
            except (OSError, ssl.SSLError, ValueError) as error:
                raise DeskError(
                    f"the certificates cannot be used: {error}", where=broker.ca_file or "broker"
                ) from error
        client.reconnect_delay_set(1, 30)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        self._client = client
        self._address = f"{broker.host}:{broker.port}"
        client.connect_async(broker.host, broker.port, KEEPALIVE_S)

    def start(self) -> None:
        """Connect on a thread, as often as needed."""
        self._client.loop_start()

    def collect(self, wait_s: float, most: int) -> list[Message]:
        """Return up to `most` messages, after at most `wait_s` if there are none."""
        found: list[Message] = []
        with suppress(queue.Empty):
            found.append(self._waiting.get(timeout=wait_s))
            while len(found) < most:
                found.append(self._waiting.get_nowait())
        return found

    def acknowledge(self, messages: list[Message]) -> None:
        """Tell the broker that these messages are durable."""
        with self._lock:
            for each in messages:
                if each.connection == self._connection and self.connected:
                    self._client.ack(each.number, each.qos)

    def announce(self, version: int) -> None:
        """Tell the boards to look now; the broker keeps it for those that connect later."""
        self._version = version
        if self.connected:
            text = json.dumps({"version": version})
            self._client.publish(f"{self._topic}/{VERSION}", text, qos=1, retain=True)

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    # -- called on paho's thread ----------------------------------------------------------------

    def _on_connect(
        self,
        client: paho.Client,
        _data: Any,
        _flags: paho.ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._fail(f"the broker {self._address} refuses the connection: {reason}")
            return
        with self._lock:
            self._connection += 1
            self.connected = True
        client.subscribe([(f"{self._topic}/{kind}/+", 1) for kind in (PROPOSALS, BOARDS)])
        if self._version is not None:
            self.announce(self._version)

    def _on_subscribe(self, *_: Any) -> None:
        """From now on, no message is missed."""
        if self.fault:
            log.info("connected to the broker %s", self._address)
        self.fault = ""

    def _on_disconnect(
        self,
        _client: paho.Client,
        _data: Any,
        _flags: paho.DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        with self._lock:
            self.connected = False
        self._fail(f"the connection to the broker {self._address} was lost: {reason}")

    def _fail(self, fault: str) -> None:
        if fault != self.fault:
            log.warning("%s", fault)
        self.fault = fault

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        # Full: not acknowledged, so the broker keeps it. A topic must be UTF-8.
        with suppress(queue.Full, UnicodeDecodeError):
            kind, _, board = message.topic.removeprefix(f"{self._topic}/").partition("/")
            self._waiting.put_nowait(
                Message(
                    kind,
                    board,
                    bytes(message.payload[: MOST_PROPOSAL_BYTES + 1]),  # more is refused
                    bool(message.retain),
                    message.mid,
                    message.qos,
                    self._connection,
                )
            )
