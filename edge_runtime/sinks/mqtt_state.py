"""What an MQTT broker retains for a board: the truth about what is in view, and since when."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import Any

from edge_runtime.sinks.topics import Place, Topics
from edge_runtime.types import CameraState, Event

STARTING, LOST, STOPPED = "starting", "camera lost", "stopped"
"""The reasons why no label is known, beside that nothing known is in view (an empty reason)."""


class RetainedState:
    """The retained messages of all places and cameras, by topic. Not thread-safe."""

    def __init__(self, board: str, topics: Topics) -> None:
        self._board, self._topics = board, topics
        self._states: dict[Place, dict[str, Any]] = {}
        self._cameras: dict[str, dict[str, Any]] = {}
        for camera in topics.cameras:
            self.show(CameraState(board, camera, "starting", _now()))

    def messages(self) -> dict[str, str]:
        """Return every retained message by topic."""
        states = {self._topics.state(place): each for place, each in self._states.items()}
        cameras = {self._topics.camera(name): each for name, each in self._cameras.items()}
        return {topic: _text(each) for topic, each in (states | cameras).items()}

    def event(self, event: Event) -> dict[str, str]:
        """Take an event; return the messages that change.

        A label that is replaced in the same frame is followed by its successor at once, so its
        state is not published: there is no null between two labels.
        """
        place = Place(event.camera, event.region)
        changes = event.kind == "enter" or (event.kind == "leave" and not event.next_label)
        if place not in self._topics.places or not changes:
            return {}
        self._states[place] = (
            self._in_view(event)
            if event.kind == "enter"
            else self._nothing(place, event.time, event.reason, event.id)
        )
        return {self._topics.state(place): _text(self._states[place])}

    def show(self, camera: CameraState) -> dict[str, str]:
        """Take the state of a camera; return the messages that change."""
        if camera.camera not in self._topics.cameras:
            return {}
        before = self.messages()
        self._cameras[camera.camera] = asdict(camera)
        del self._cameras[camera.camera]["in_view"]
        entered = {Place(each.camera, each.region): each for each in camera.in_view}
        reason = {"running": "", "starting": STARTING, "degraded": LOST}.get(camera.state, STOPPED)
        for place in self._topics.places:
            if place.camera != camera.camera:
                continue
            known = self._states.get(place)
            if not reason and place in entered:
                self._states[place] = self._in_view(entered[place])
            elif known is None or known["label"] is not None or known["reason"] != reason:
                self._states[place] = self._nothing(place, camera.time, reason)
        return {topic: text for topic, text in self.messages().items() if before.get(topic) != text}

    def stop(self) -> dict[str, str]:
        """Return the messages of a board that stops."""
        for camera in self._topics.cameras:
            self.show(CameraState(self._board, camera, "stopped", _now()))
        return self.messages()

    def _in_view(self, event: Event) -> dict[str, Any]:
        return {
            **self._nothing(Place(event.camera, event.region), event.time, "", event.id),
            "label": event.label,
            "confidence": event.confidence,
            "agreement": event.agreement,
        }

    def _nothing(self, place: Place, since: str, reason: str, event: str = "") -> dict[str, Any]:
        return {
            "label": None,
            "since": since,
            "reason": reason,
            "confidence": None,
            "agreement": None,
            "board": self._board,
            "camera": place.camera,
            "region": place.region,
            "event_id": event or None,
        }


def left_behind(board: str, topics: Topics, topic: str, payload: bytes) -> tuple[str, ...]:
    """Return the topics to clear, if the retained `payload` is of a place that the board lacks now.

    A board that was killed cannot take back what the broker retains. Only what names this board is
    its own: another board may publish below the same topic. A picture comes before its state, so
    that a board that is killed again finds the state again.
    """
    if topic in topics.shown or not payload:
        return ()
    try:
        is_own = json.loads(payload)["board"] == board
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()  # not ours
    if not is_own:
        return ()
    parent, _, kind = topic.rpartition("/")
    return (f"{parent}/image", topic) if kind == "state" else (topic,)


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="milliseconds")


def _text(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)
