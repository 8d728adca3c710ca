"""The connection to the fleet's broker: a hint and a transport, never believed.

Without a broker, a board polls, and its proposals travel as a file.
"""

from __future__ import annotations

import json
import logging
import threading
from typing import Any

from edge_runtime.errors import EdgeRuntimeError, ExtraMissingError
from edge_runtime.fleet.following.joined import Joined
from edge_runtime.settings.secrets import read_secret

try:
    from paho.mqtt import client as paho
    from paho.mqtt.enums import CallbackAPIVersion
except ImportError as error:
    raise ExtraMissingError(
        f"paho-mqtt cannot be imported: {error}",
        where="fleet",
        remedy="pip install edge-runtime[fleet]",
    ) from error

log = logging.getLogger(__name__)

KEEPALIVE_S = 60
MOST_WAITING = 50
"""Messages that paho holds at a time."""
MOST_HINT_BYTES = 1024


class Link:
    """A connection that paho keeps in the background."""

    def __init__(self, mqtt: dict[str, Any], joined: Joined, role: str = "") -> None:
        """Connect to the broker of the fleet's signed file `mqtt`; raises `ConfigError`.

        A broker ends the older of two connections with the same name, so each `role` has its own.
        """
        self.topic = str(mqtt["topic"])
        self.hint = threading.Event()
        """Set when there may be a new version, or when the broker is there again."""
        self._waiting: list[paho.MQTTMessageInfo] = []
        self._address = f"{mqtt['host']}:{mqtt['port']}"
        self._refusal = ""
        name = "-".join(filter(None, ("edge-runtime-fleet", joined.board, role)))
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name)
        if joined.mqtt_user:
            password = read_secret(joined.mqtt_password_file) if joined.mqtt_password_file else None
            self._client.username_pw_set(joined.mqtt_user, password)
        if mqtt.get("tls") is True:
            self._client.tls_set(joined.mqtt_ca_file or None)
        self._client.max_queued_messages_set(MOST_WAITING)
        self._client.reconnect_delay_set(1, 60)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._client.connect_async(str(mqtt["host"]), int(mqtt["port"]), keepalive=KEEPALIVE_S)
        self._client.loop_start()

    @property
    def free(self) -> int:
        """How many messages may be sent now; 0 without a connection."""
        self._waiting = [each for each in self._waiting if not _is_done(each)]
        return MOST_WAITING - len(self._waiting) if self._client.is_connected() else 0

    def send(self, topic: str, body: dict[str, Any], *, retain: bool = False) -> bool:
        """Publish JSON under the fleet's topic; return whether it is on its way.

        Whether it arrives, only a version shows.
        """
        text = json.dumps(body, ensure_ascii=False)
        info = self._client.publish(f"{self.topic}/{topic}", text, 1, retain)
        self._waiting.append(info)
        return info.rc == paho.MQTT_ERR_SUCCESS

    def close(self) -> None:
        """Wait a moment for what was sent, then disconnect."""
        for each in self._waiting:
            if self._client.is_connected():
                try:
                    each.wait_for_publish(1.0)
                except (RuntimeError, ValueError):
                    break
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(
        self, client: paho.Client, _data: Any, _flags: Any, reason: Any, _properties: Any
    ) -> None:
        refusal = str(reason) if reason.is_failure else ""
        if refusal != self._refusal and refusal:
            log.warning(
                "mqtt %s: the broker refuses the connection: %s (join again with --mqtt-user and "
                "--mqtt-password-file)",
                self._address,
                refusal,
            )
        self._refusal = refusal
        if refusal:
            return
        client.subscribe(f"{self.topic}/version", qos=1)
        self.hint.set()

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        if len(message.payload) <= MOST_HINT_BYTES:
            self.hint.set()


def _is_done(info: paho.MQTTMessageInfo) -> bool:
    """Return whether a message needs no more room: it was published, or never will be."""
    try:
        return info.is_published()
    except (RuntimeError, ValueError):  # the connection ended while it was sent
        return True


def open_link(mqtt: dict[str, Any] | None, joined: Joined, role: str = "") -> Link | None:
    """Return a connection; None without a broker, or if it cannot be used, which is logged."""
    if mqtt is None:
        return None
    try:
        return Link(mqtt, joined, role)
    except (EdgeRuntimeError, OSError, ValueError) as error:
        log.warning("mqtt %s:%s: %s", mqtt["host"], mqtt["port"], error)
        return None
