"""The announcement to Home Assistant, with a real broker and, if there is one, the real core.

HOME_ASSISTANT_PYTHON: a command that runs a Python with the packages homeassistant and paho-mqtt.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.settings import parse_settings
from edge_runtime.sinks import Outbox
from edge_runtime.sinks.home_assistant import (
    Announced,
    announcement,
    config_topic,
    device_id,
    without_former,
)
from edge_runtime.sinks.mqtt import MqttOptions, MqttSink
from edge_runtime.sinks.topics import Place, Topics
from edge_runtime.types import CameraState, Event
from tests.daemon.broker import Broker, Listener, needs_broker, until
from tests.support.events import make_event
from tests.support.processes import ROOT

DOOR, TABLE = Place("door"), Place("desk", "table")
CORE = os.environ.get("HOME_ASSISTANT_PYTHON")
CONFIG = "homeassistant/device/edge_runtime_shed/config"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path)
    broker.start()
    yield broker
    broker.stop()


def _options(broker: Broker, *places: Place, **changes: Any) -> MqttOptions:
    options = MqttOptions("127.0.0.1", broker.port, "eye", board="shed", places=places)
    return replace(options, **{"discovery": True, **changes})


def _camera(name: str, state: str = "running") -> CameraState:
    return CameraState("shed", name, state, "2026-01-02T03:04:05.678+00:00")


def _event(place: Place, kind: str, label: str, **changes: Any) -> Event:
    event = replace(make_event(0, kind, label), board="shed", id=f"{kind}-{label}")
    return replace(event, camera=place.camera, region=place.region, **changes)


def _components(listener: Listener) -> dict[str, Any]:
    texts = [text for text in listener.payloads(CONFIG)[-1:] if text]
    return dict(json.loads(texts[0])["components"]) if texts else {}


def test_the_announcement_names_every_topic() -> None:
    topics = Topics("eye", [DOOR, TABLE])
    message = announcement(topics, Announced("shed", "Pi", images=True, commands=True))
    assert message["device"]["identifiers"] == ["edge_runtime_shed"]
    assert message["device"]["model"] == "Pi"
    kinds = {key: each["platform"] for key, each in message["components"].items()}
    assert kinds == {
        "camera.door": "sensor",
        "label.door": "sensor",
        "event.door": "event",
        "image.door": "image",
        "camera.desk": "sensor",
        "label.desk.table": "sensor",
        "event.desk.table": "event",
        "image.desk.table": "image",
        "reload": "button",
    }
    ids = [each["unique_id"] for each in message["components"].values()]
    assert len(set(ids)) == len(ids)
    label = message["components"]["label.desk.table"]
    assert label["state_topic"] == "eye/desk/table/state"
    assert [each["topic"] for each in label["availability"]] == ["eye/status", "eye/desk/camera"]
    off = announcement(topics, Announced("shed"))["components"]
    assert off["image.door"] == {"platform": "image"}  # removes the entity
    assert off["reload"] == {"platform": "button"}


def test_every_board_has_an_id_of_its_own_that_topics_allow() -> None:
    boards = ["shed", "shed 1", "shed_1", "schöner Schuppen", "shed.1", ""]
    ids = [device_id(board) for board in boards]
    assert len(set(ids)) == len(boards)
    for each in ids:
        assert each.isascii()
        assert all(sign.isalnum() or sign in "_-" for sign in each)
    assert config_topic("ha", "shed") == "ha/device/edge_runtime_shed/config"


@pytest.mark.parametrize(
    "former",
    [b"", b"{", b"[]", b"7", b'{"components": 3}', b'{"components": {"a": 1}}', b"[" * 9999],
)
def test_a_former_message_of_others_is_ignored(former: bytes) -> None:
    message = announcement(Topics("eye", [DOOR]), Announced("shed"))
    assert without_former(message, former) is None
    assert without_former(message, json.dumps(message).encode()) is None


@needs_broker
def test_what_is_no_longer_there_is_removed(broker: Broker) -> None:
    listener = Listener(broker.port)
    box = Outbox(MqttSink(_options(broker, DOOR, TABLE)))
    until(lambda: "label.desk.table" in _components(listener))
    box.close(5)
    box = Outbox(MqttSink(_options(broker, DOOR)))

    def removes() -> bool:
        texts = listener.payloads(CONFIG)[:-1]
        parts = [json.loads(text)["components"].get("label.desk.table") for text in texts]
        return {"platform": "sensor"} in parts and "label.desk.table" not in _components(listener)

    until(removes)
    assert "label.door" in _components(listener)
    box.close(5)
    box = Outbox(MqttSink(_options(broker, DOOR, discovery=False)))
    until(lambda: listener.payloads(CONFIG)[-1] == "")
    box.close(5)
    late = Listener(broker.port)
    until(lambda: late.payloads("eye/status"))
    assert late.payloads(CONFIG) == []
    late.close()
    listener.close()


@needs_broker
def test_pictures_are_published_only_if_wanted_and_removed_again(broker: Broker) -> None:
    calls = []

    def picture(event: Event) -> bytes:
        calls.append(event.label)
        return f"JPEG of {event.label}".encode()

    listener = Listener(broker.port)
    box = Outbox(MqttSink(_options(broker, DOOR, images=True), picture=picture))
    box.show(_camera("door"))
    box.publish(_event(DOOR, "enter", "cat"))
    box.publish(_event(DOOR, "leave", "cat"))
    until(lambda: len(listener.payloads("eye/event")) == 2)
    topics = [topic for topic, _, _ in listener.messages]
    assert topics.index("eye/image") < topics.index("eye/event")  # it is there when it is wanted
    box.close(5)
    late = Listener(broker.port)
    until(lambda: late.payloads("eye/image") == ["JPEG of cat"])
    box = Outbox(MqttSink(_options(broker, DOOR), picture=picture))
    box.publish(_event(DOOR, "enter", "dog"))
    until(lambda: late.payloads("eye/image")[-1] == "")
    until(lambda: box.counts().delivered == 1)
    box.close(5)
    assert calls == ["cat"]
    late.close()
    listener.close()


@needs_broker
@pytest.mark.parametrize("on", [True, False])
def test_commands_are_off_unless_wanted(broker: Broker, on: bool) -> None:
    received: list[str] = []
    listener = Listener(broker.port)
    listener.publish("eye/command/old", "PRESS", retain=True)
    box = Outbox(MqttSink(_options(broker, DOOR, commands=on), command=received.append))
    until(lambda: listener.payloads("eye/status") == ["online"])
    listener.publish("eye/command/reload", "PRESS")
    until(lambda: listener.payloads("eye/command/reload"))
    box.publish(_event(DOOR, "enter", "cat"))
    until(lambda: box.counts().delivered == 1)
    if on:
        until(lambda: received == ["reload"])
    box.close(5)
    assert received == (["reload"] if on else [])  # and never a retained one
    listener.close()


class Core:
    """The real Home Assistant core with its MQTT integration, without a user interface."""

    SCRIPT = Path(__file__).with_name("home_assistant_core.py").read_text()

    def __init__(self, port: int) -> None:
        assert CORE
        self._child = subprocess.Popen(
            [*shlex.split(CORE), "-c", self.SCRIPT, str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, request: str = "states") -> dict[str, Any]:
        assert self._child.stdin
        assert self._child.stdout
        print(request, file=self._child.stdin, flush=True)
        return dict(json.loads(self._child.stdout.readline()))

    def until(self, condition: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        states: dict[str, Any] = {}

        def holds() -> Any:
            nonlocal states
            states = self.ask()
            return condition(states)

        until(holds, 60)
        return states

    def close(self) -> None:
        self._child.communicate("end\n", timeout=60)


@needs_broker
@pytest.mark.slow
@pytest.mark.skipif(not CORE, reason="HOME_ASSISTANT_PYTHON is not set")
def test_the_real_core_shows_every_entity(broker: Broker) -> None:
    core = Core(broker.port)
    received: list[str] = []
    box = Outbox(
        MqttSink(
            _options(broker, DOOR, TABLE, images=True, commands=True, model="Pi"),
            picture=lambda _event: b"\xff\xd8\xff",
            command=received.append,
        )
    )
    try:
        box.show(_camera("door"))
        box.show(_camera("desk"))
        expected = {
            "sensor.shed_camera_door",
            "sensor.shed_label_door",
            "event.shed_event_door",
            "image.shed_last_event_door",
            "sensor.shed_label_desk_table",
            "event.shed_event_desk_table",
            "button.shed_reload_the_configuration",
        }
        core.until(lambda now: expected <= set(now))
        core.until(lambda now: now["sensor.shed_label_door"]["state"] == "unknown")  # nothing
        box.publish(_event(DOOR, "enter", "<b>'mug' & \"cup\"</b>"))
        box.publish(_event(TABLE, "enter", "x" * 300))
        states = core.until(lambda now: now["sensor.shed_label_desk_table"]["state"] == "x" * 255)
        label = states["sensor.shed_label_door"]
        assert label["state"] == "<b>'mug' & \"cup\"</b>"
        assert label["attributes"]["confidence"] == 0.6
        event = states["event.shed_event_door"]["attributes"]
        assert (event["event_type"], event["label"]) == ("enter", "<b>'mug' & \"cup\"</b>")
        assert states["image.shed_last_event_door"]["state"] != "unknown"
        box.publish(_event(DOOR, "leave", "mug", reason="camera lost"))
        box.show(_camera("door", "degraded"))
        states = core.until(lambda now: now["sensor.shed_camera_door"]["state"] == "degraded")
        core.until(lambda now: now["sensor.shed_label_door"]["state"] == "unavailable")
        core.ask("press button.shed_reload_the_configuration")
        until(lambda: received == ["reload"])
        box.close(5)
        core.until(lambda now: now["sensor.shed_camera_door"]["state"] == "unavailable")
        box = Outbox(MqttSink(_options(broker, DOOR)))
        core.until(lambda now: "image.shed_last_event_door" not in now)
        core.until(lambda now: "sensor.shed_label_desk_table" not in now)
        box.close(5)
        box = Outbox(MqttSink(_options(broker, DOOR, discovery=False)))
        core.until(lambda now: not any("shed" in entity for entity in now))
        assert core.ask("problems") == {}
    finally:
        box.close(5)
        core.close()


def test_the_documented_configuration_is_valid() -> None:
    document = (ROOT / "docs" / "HOME_ASSISTANT.md").read_text()
    settings = parse_settings(document.split("```toml\n")[1].split("```")[0])
    assert settings.mqtt
    assert settings.mqtt.discovery
    assert not (settings.mqtt.images or settings.mqtt.commands)
