"""Announce a board to Home Assistant over MQTT: one device with its entities.

The message follows Home Assistant's device discovery (integration "mqtt", 2024.12 or newer). It is
retained, so Home Assistant finds the board whichever of both starts first.
"""

from __future__ import annotations

import json
import re
import zlib
from dataclasses import dataclass
from typing import Any

from edge_runtime import __version__
from edge_runtime.sinks.topics import Place, Topics

_CAMERA_STATES = ["starting", "running", "degraded", "stopped"]


@dataclass(frozen=True)
class Announced:
    """What is announced of a board."""

    board: str
    model: str = ""
    """The hardware."""
    images: bool = False
    commands: bool = False


def device_id(board: str) -> str:
    """Return the id of the board's device: letters, digits, "_" and "-"; different per board."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", board)
    return f"edge_runtime_{plain}" + ("" if plain == board else f"_{zlib.crc32(board.encode()):x}")


def config_topic(prefix: str, board: str) -> str:
    """Return the topic of the announcement."""
    return f"{prefix}/device/{device_id(board)}/config"


def announcement(topics: Topics, what: Announced) -> dict[str, Any]:
    """Return the message that announces the board and its entities."""
    device = device_id(what.board)
    components: dict[str, dict[str, Any]] = {}
    for camera in topics.cameras:
        key = _key("camera", camera)
        components[key] = _camera(topics, camera, _name(topics, "Camera", camera))
        for place in (each for each in topics.places if each.camera == camera):
            names = (place.camera, place.region or "")
            components[_key("label", *names)] = _label(topics, place)
            components[_key("event", *names)] = _event(topics, place)
            # An entity without options is one that Home Assistant removes.
            components[_key("image", *names)] = _image(topics, place) if what.images else {}
    components["reload"] = _reload(topics) if what.commands else {}
    platforms = {"camera": "sensor", "label": "sensor", "reload": "button"}
    for key, component in components.items():
        kind = key.partition(".")[0]
        if component:
            component["unique_id"] = f"{device}.{key}"
        component["platform"] = platforms.get(kind, kind)
    return {
        "device": {
            "identifiers": [device],
            "name": what.board,
            "manufacturer": "edge-runtime",
            **({"model": what.model} if what.model else {}),
            "sw_version": __version__,
        },
        "origin": {"name": "edge-runtime", "sw_version": __version__},
        "qos": 1,
        "components": components,
    }


def without_former(message: dict[str, Any], former: bytes) -> dict[str, Any] | None:
    """Return `message` with the removal of entities that only `former` has; None if it has none.

    `former`: the earlier announcement, as the broker retained it.
    """
    try:
        before = json.loads(former)["components"]
        gone = {
            key: {"platform": str(each["platform"])}
            for key, each in before.items()
            if key not in message["components"]
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None  # not ours
    return {**message, "components": {**message["components"], **gone}} if gone else None


def _label(topics: Topics, place: Place) -> dict[str, Any]:
    # "None" is Home Assistant's text for an unknown state. It refuses more than 255 characters.
    return {
        "name": _name(topics, "Label", place.camera, place.region),
        "icon": "mdi:eye",
        "state_topic": topics.state(place),
        "value_template": "{{ (value_json.label or 'None')[:255] }}",
        "json_attributes_topic": topics.state(place),
        "json_attributes_template": "{{ {'confidence': value_json.confidence, "
        "'since': value_json.since, 'reason': value_json.reason, "
        "'label': value_json.label} | tojson }}",
        **_while_camera_runs(topics, place.camera),
    }


def _event(topics: Topics, place: Place) -> dict[str, Any]:
    # An empty text is ignored: all regions share one topic.
    region = "none" if place.region is None else f"'{place.region}'"
    return {
        "name": _name(topics, "Event", place.camera, place.region),
        "icon": "mdi:eye-arrow-right",
        "event_types": ["enter", "leave"],
        "state_topic": topics.event,
        "value_template": "{% if value_json.camera == '" + place.camera + "' and "
        "value_json.region == " + region + " %}"
        "{{ dict(value_json, event_type=value_json.kind) | tojson }}{% endif %}",
        **_while_online(topics),
    }


def _image(topics: Topics, place: Place) -> dict[str, Any]:
    return {
        "name": _name(topics, "Last event", place.camera, place.region),
        "image_topic": topics.image(place),
        "content_type": "image/jpeg",
        **_while_online(topics),
    }


def _camera(topics: Topics, camera: str, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "icon": "mdi:camera",
        "entity_category": "diagnostic",
        "device_class": "enum",
        "options": _CAMERA_STATES,
        "state_topic": topics.camera(camera),
        "value_template": "{{ value_json.state }}",
        "json_attributes_topic": topics.camera(camera),
        "json_attributes_template": "{{ {'reason': value_json.reason, "
        "'since': value_json.time} | tojson }}",
        **_while_online(topics),
    }


def _reload(topics: Topics) -> dict[str, Any]:
    return {
        "name": "Reload the configuration",
        "icon": "mdi:reload",
        "entity_category": "config",
        "command_topic": topics.command("reload"),
        **_while_online(topics),
    }


def _while_online(topics: Topics) -> dict[str, Any]:
    return {"availability": [{"topic": topics.status}]}


def _while_camera_runs(topics: Topics, camera: str) -> dict[str, Any]:
    running = {
        "topic": topics.camera(camera),
        "value_template": "{{ 'online' if value_json.state == 'running' else 'offline' }}",
    }
    return {"availability": [{"topic": topics.status}, running], "availability_mode": "all"}


def _name(topics: Topics, what: str, camera: str, region: str | None = None) -> str:
    return what if topics.plain else " ".join([what, camera, *filter(None, [region])])


def _key(kind: str, *names: str) -> str:
    return ".".join([kind, *filter(None, names)])  # "-" may be part of a name
