"""What a real broker retains about a board: never a state that no longer holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.sinks import Outbox
from edge_runtime.sinks.mqtt import MqttOptions, MqttSink
from edge_runtime.sinks.mqtt_session import SessionWatch
from edge_runtime.sinks.mqtt_state import RetainedState
from edge_runtime.sinks.topics import Place, Topics
from edge_runtime.types import CameraState, Event
from tests.daemon.broker import Broker, Listener, needs_broker, until
from tests.support.events import make_event
from tests.support.processes import ROOT

CONFIG = "homeassistant/device/edge_runtime_shed/config"
DOOR = Place("door")
TABLE, SHELF = Place("desk", "table"), Place("desk", "shelf")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path)
    broker.start()
    yield broker
    broker.stop()


def _options(broker: Broker, *places: Place, client_id: str = "") -> MqttOptions:
    return MqttOptions(
        "127.0.0.1", broker.port, "eye", client_id=client_id, board="shed", places=places
    )


def _event(place: Place, kind: str, label: str = "cat", **changes: Any) -> Event:
    event = replace(make_event(0, kind, label), id=f"{kind}-{label}", board="shed")
    return replace(event, camera=place.camera, region=place.region, **changes)


def _camera(name: str, state: str, *in_view: Event) -> CameraState:
    fault = "unplugged" if state == "degraded" else ""
    return CameraState("shed", name, state, "2026-01-02T03:04:05.678+00:00", fault, in_view)


def _seen(listener: Listener, topic: str) -> list[tuple[str | None, str]]:
    return [(each["label"], each["reason"]) for each in map(json.loads, listener.payloads(topic))]


@needs_broker
def test_the_state_is_null_with_the_reason_unless_a_label_is_in_view(broker: Broker) -> None:
    listener = Listener(broker.port)
    box = Outbox(MqttSink(_options(broker, DOOR)), cameras=[_camera("door", "starting")])

    def sees(label: str | None, reason: str = "") -> None:
        until(lambda: _seen(listener, "eye/state")[-1:] == [(label, reason)])

    sees(None, "starting")
    box.show(_camera("door", "running"))
    sees(None)
    box.publish(_event(DOOR, "enter", "cat"))
    box.publish(_event(DOOR, "leave", "cat", next_label="dog"))
    box.publish(_event(DOOR, "enter", "dog"))
    sees("dog")
    box.publish(_event(DOOR, "leave", "dog", reason="camera lost"))
    box.show(_camera("door", "degraded"))
    sees(None, "camera lost")
    until(lambda: json.loads(listener.payloads("eye/camera")[-1])["state"] == "degraded")
    box.show(_camera("door", "running"))
    sees(None)
    box.publish(_event(DOOR, "enter", "cat"))
    sees("cat")
    assert len(listener.payloads("eye/event")) == 5
    box.close(5)
    until(lambda: listener.payloads("eye/status")[-1:] == ["offline"])
    states = _seen(listener, "eye/state")
    assert [each for i, each in enumerate(states) if states[i - 1 : i] != [each]] == [
        (None, "starting"),
        (None, ""),
        ("cat", ""),
        ("dog", ""),
        (None, "camera lost"),
        (None, ""),
        ("cat", ""),
        (None, "stopped"),
    ]
    cameras = [json.loads(text)["state"] for text in listener.payloads("eye/camera")]
    assert list(dict.fromkeys(cameras)) == ["starting", "running", "degraded", "stopped"]
    topics = [topic for topic, _, _ in listener.messages]
    assert topics.index("eye/state") < topics.index("eye/status")  # "online" comes last
    late = Listener(broker.port)
    until(lambda: _seen(late, "eye/state") == [(None, "stopped")])
    late.close()
    listener.close()


@needs_broker
def test_each_camera_and_region_has_its_topics_and_names(broker: Broker) -> None:
    listener = Listener(broker.port)
    box = Outbox(MqttSink(_options(broker, DOOR, TABLE, SHELF)))
    box.show(_camera("door", "running"))
    box.show(_camera("desk", "running"))
    box.publish(_event(TABLE, "enter", "mug"))
    box.publish(_event(Place("cellar"), "enter", "rat"))  # just removed by a reload
    until(lambda: len(listener.payloads("eye/event")) == 2)
    until(lambda: _seen(listener, "eye/desk/table/state")[-1:] == [("mug", "")])
    until(lambda: not box.counts().waiting)
    event, state = (
        json.loads(listener.payloads(topic)[-1]) for topic in ("eye/event", "eye/desk/table/state")
    )
    assert (event["board"], event["camera"]) == ("shed", "cellar")
    assert {key: state[key] for key in ("board", "camera", "region", "event_id")} == {
        "board": "shed",
        "camera": "desk",
        "region": "table",
        "event_id": "enter-mug",
    }
    assert state["confidence"] == 0.6
    box.show(_camera("desk", "degraded"))
    until(lambda: _seen(listener, "eye/desk/table/state")[-1] == (None, "camera lost"))
    until(lambda: _seen(listener, "eye/desk/shelf/state")[-1] == (None, "camera lost"))
    camera = json.loads(listener.payloads("eye/desk/camera")[-1])
    assert camera == {
        "board": "shed",
        "camera": "desk",
        "state": "degraded",
        "time": "2026-01-02T03:04:05.678+00:00",
        "reason": "unplugged",
    }
    assert _seen(listener, "eye/door/state")[-1] == (None, "")
    assert not any("cellar" in topic for topic, _, _ in listener.messages)
    box.close(5)
    listener.close()


@needs_broker
def test_after_a_crash_the_status_says_that_the_state_no_longer_holds(broker: Broker) -> None:
    script = (
        "import sys, time\n"
        "from edge_runtime.sinks.mqtt import *\n"
        "from tests.support.events import make_event\n"
        f"MqttSink(MqttOptions('127.0.0.1', {broker.port}, 'eye')).publish(make_event())\n"
        "print('published', flush=True)\n"
        "time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT)
    assert child.stdout
    assert child.stdout.readline() == b"published\n"
    child.kill()
    child.wait()
    child.stdout.close()
    listener = Listener(broker.port)
    until(lambda: listener.payloads("eye/status")[-1:] == ["offline"])
    until(lambda: _seen(listener, "eye/state") == [("cat", "")])  # as it was
    box = Outbox(MqttSink(_options(broker, Place())))
    until(lambda: listener.payloads("eye/status")[-1:] == ["online"])
    messages = [(topic, text) for topic, text, _ in listener.messages]
    online = messages.index(("eye/status", "online"))
    states = [json.loads(text) for topic, text in messages[:online] if topic == "eye/state"]
    assert (states[-1]["label"], states[-1]["reason"]) == (None, "starting")
    box.close(5)
    listener.close()


@needs_broker
def test_a_broker_that_forgot_everything_is_told_again(broker: Broker) -> None:
    box = Outbox(MqttSink(_options(broker, DOOR)))
    box.show(_camera("door", "running"))
    box.publish(_event(DOOR, "enter"))
    until(lambda: box.counts().delivered == 1)
    broker.stop()
    broker.start()
    late = Listener(broker.port)
    until(lambda: _seen(late, "eye/state")[-1:] == [("cat", "")], 60)
    until(lambda: late.payloads("eye/status")[-1:] == ["online"])
    late.close()
    box.close(5)


@needs_broker
def test_a_sink_that_replaces_another_knows_what_is_in_view(broker: Broker) -> None:
    listener = Listener(broker.port)
    entered = _event(DOOR, "enter")
    first = Outbox(MqttSink(_options(broker, DOOR)))
    first.show(_camera("door", "running"))
    first.publish(entered)
    until(lambda: first.counts().delivered == 1)
    second = Outbox(
        MqttSink(_options(broker, DOOR)),
        after=first,
        cameras=[_camera("door", "running", entered)],
    )
    until(lambda: listener.payloads("eye/status") == ["online", "offline", "online"])
    assert _seen(listener, "eye/state")[-2:] == [(None, "stopped"), ("cat", "")]
    second.close(5)
    listener.close()


@needs_broker
def test_two_boards_with_one_client_id_are_noticed(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    boxes = [Outbox(MqttSink(_options(broker, DOOR, client_id="eye"))) for _ in range(2)]
    until(lambda: any(box.sink.fault for box in boxes), 60)
    fault = next(box.sink.fault for box in boxes if box.sink.fault)
    assert fault.startswith(f"mqtt 127.0.0.1:{broker.port}: the broker has ended 3 sessions")
    assert "give each board an mqtt.client_id of its own" in fault
    for box in boxes:
        box.close(5)
    assert 1 <= sum("client id" in each.getMessage() for each in caplog.records) <= 2


def test_only_short_sessions_in_a_row_are_a_fault() -> None:
    now = [0.0]
    watch = SessionWatch("eye", clock=lambda: now[0])

    def session(length_s: float) -> bool:
        watch.began()
        now[0] += length_s
        return watch.ended()

    assert [session(1), session(1), session(60), session(1), session(1)] == [False] * 5
    assert watch.fault == ""
    assert session(1)
    assert "client id" in watch.fault
    assert not session(1)  # is reported once
    watch.began()
    now[0] += 60
    assert watch.fault == ""  # the other one is gone
    anonymous = SessionWatch("", clock=lambda: now[0])
    for _ in range(9):
        anonymous.began()
        assert not anonymous.ended()
    assert anonymous.fault == ""


@needs_broker
def test_a_full_queue_drops_events_and_never_the_state_of_a_camera(broker: Broker) -> None:
    broker.stop()
    box = Outbox(MqttSink(_options(broker, DOOR)), capacity=3, shortest_s=0.05)
    for _ in range(4):
        box.publish(_event(DOOR, "enter"))
        box.show(_camera("door", "degraded"))
        box.show(_camera("door", "running"))
    box.show(_camera("door", "degraded"))
    with box._changed:
        waiting = [type(each).__name__ for each in box._queue]
    assert waiting.count("CameraState") == 1
    assert waiting[-1] == "CameraState"
    broker.start()
    listener = Listener(broker.port)
    until(lambda: not box.counts().waiting, 60)
    until(lambda: _seen(listener, "eye/state")[-1:] == [(None, "camera lost")], 60)
    counts = box.counts()
    assert counts.published == 4 == counts.delivered + counts.dropped
    box.close(5)
    listener.close()


@given(
    st.lists(
        st.tuples(
            st.sampled_from([DOOR, TABLE, SHELF]),
            st.sampled_from(["cat", "dog", "nothing", "starting", "running", "degraded"]),
        ),
        max_size=40,
    )
)
def test_the_retained_state_equals_that_of_a_model(steps: list[tuple[Place, str]]) -> None:
    """The model: a place shows the label that entered last, while its camera runs."""
    topics = Topics("eye", [DOOR, TABLE, SHELF])
    retained = RetainedState("shed", topics)
    broker = retained.messages()
    entered: dict[Place, Event] = {}
    cameras = dict.fromkeys(("door", "desk"), "starting")
    for place, step in steps:
        if step in ("starting", "running", "degraded"):
            cameras[place.camera] = step
            if step != "running":
                for each in [each for each in entered if each.camera == place.camera]:
                    leave = _event(each, "leave", entered.pop(each).label, reason="camera lost")
                    broker |= retained.event(leave)
            broker |= retained.show(_camera(place.camera, step, *entered.values()))
            continue
        if cameras[place.camera] != "running":
            continue
        if before := entered.pop(place, None):
            following = step if step != "nothing" else None
            broker |= retained.event(_event(place, "leave", before.label, next_label=following))
        if step != "nothing":
            entered[place] = _event(place, "enter", step)
            broker |= retained.event(entered[place])
        for each in (DOOR, TABLE, SHELF):
            state = json.loads(broker[topics.state(each)])
            assert state["label"] == (entered[each].label if each in entered else None)
            if cameras[each.camera] != "running":
                reason = {"degraded": "camera lost"}.get(cameras[each.camera], "starting")
                assert state["reason"] == reason
    assert broker == retained.messages()
    assert retained.event(_event(DOOR, "test")) == {}
    assert {json.loads(text).get("reason") for text in retained.stop().values()} <= {"stopped", ""}


@needs_broker
def test_the_daemon_publishes_below_the_name_of_the_board(broker: Broker, tmp_path: Path) -> None:
    listener = Listener(broker.port)
    config = tmp_path / "edge.toml"
    config.write_text(
        f'gallery.path = "g.sqlite"\nboard.name = "shed"\noutput.format = "none"\n'
        f'camera.source = "rtsp://127.0.0.1:9/none"\n'
        f'mqtt.host = "127.0.0.1"\nmqtt.port = {broker.port}\nhttp.port = 0\n'
    )
    child = subprocess.Popen(
        [sys.executable, "-m", "edge_runtime", "run", "--config", str(config)],
        cwd=ROOT,
        env=os.environ,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: listener.payloads("edge-runtime/shed/status") == ["online"], 60)
        until(lambda: "degraded" in listener.payloads("edge-runtime/shed/camera")[-1], 60)
        assert _seen(listener, "edge-runtime/shed/state")[-1] == (None, "camera lost")
        child.terminate()
        until(lambda: listener.payloads("edge-runtime/shed/status")[-1] == "offline")
        assert _seen(listener, "edge-runtime/shed/state")[-1] == (None, "stopped")
    finally:
        child.kill()
        child.wait()
        listener.close()


@needs_broker
def test_what_a_killed_daemon_left_of_removed_cameras_is_cleared(
    broker: Broker, tmp_path: Path
) -> None:
    """Two cameras with a region are killed with signal 9, and come back as one without regions."""
    config = tmp_path / "edge.toml"
    common = (
        'gallery.path = "g.sqlite"\nboard.name = "shed"\noutput.format = "none"\nhttp.port = 0\n'
        f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\ntopic = "eye"\ndiscovery = true\n'
    )
    camera = '[cameras.{}]\nsource = "rtsp://127.0.0.1:9/none"\n'
    region = '[regions.table]\ncamera = "desk"\narea = [0, 0, 0.5, 0.5]\n'

    def start(text: str) -> subprocess.Popen[bytes]:
        config.write_text(common + text)
        command = [sys.executable, "-m", "edge_runtime", "run", "--config", str(config)]
        return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)

    def retained() -> set[str]:
        late = Listener(broker.port)
        until(lambda: late.payloads("eye/end"))
        late.close()
        return {topic for topic, text, kept in late.messages if kept and text}

    other = Listener(broker.port)
    other.publish("eye/end", "end", retain=True)
    foreign = {
        "eye/attic/state": json.dumps({"board": "attic", "label": None}),
        "eye/attic/camera": "no JSON",
        "eye/cellar/door/state": "[7]",
    }
    for topic, text in foreign.items():
        other.publish(topic, text, retain=True)
    until(lambda: foreign.keys() <= {topic for topic, _, _ in other.messages})
    places = {"eye/door/state", "eye/door/camera", "eye/desk/table/state", "eye/desk/camera"}
    child = start(camera.format("door") + camera.format("desk") + region)
    try:
        until(lambda: other.payloads("eye/status") == ["online"], 60)
        other.publish("eye/desk/table/image", "JPEG", retain=True)  # of an event
        until(lambda: places | {"eye/desk/table/image"} <= retained())
        child.kill()
        child.wait()
        child = start(camera.format("door"))
        own = {"eye/state", "eye/camera", "eye/status", "eye/end"}
        until(lambda: retained() == {*own, *foreign, CONFIG}, 60)
        components = json.loads(other.payloads(CONFIG)[-1])["components"]
        assert set(components) == {
            "camera.door",
            "label.door",
            "event.door",
            "image.door",
            "reload",
        }
        child.kill()  # again, and now back to names with the camera
        child.wait()
        child = start(camera.format("door") + camera.format("hall"))
        places = {f"eye/{name}/{kind}" for name in ("door", "hall") for kind in ("state", "camera")}
        until(
            lambda: retained() == {*places, *own, *foreign, CONFIG} - {"eye/state", "eye/camera"},
            60,
        )
    finally:
        child.kill()
        child.wait()
        other.close()
