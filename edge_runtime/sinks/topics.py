"""The MQTT topics of one board.

Below the configured topic: `event` (every event), `status` (of the board), and for each camera and
region `state` and `image`, for each camera `camera`. A board with one camera and no regions has
`TOPIC/state`, any other `TOPIC/CAMERA/state` or `TOPIC/CAMERA/REGION/state`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """A camera, or one region of it."""

    camera: str = ""
    region: str | None = None


class Topics:
    """Names the topics below `root`."""

    def __init__(self, root: str, places: Sequence[Place]) -> None:
        self._root = root
        self.places = tuple(places)
        self.cameras = tuple(dict.fromkeys(place.camera for place in places))
        self.plain = len(places) == 1 and places[0].region is None
        """Whether the names of camera and region are left out."""

    @property
    def event(self) -> str:
        """Each event, not retained."""
        return f"{self._root}/event"

    @property
    def status(self) -> str:
        """Whether the board is connected, retained; the last will."""
        return f"{self._root}/status"

    def state(self, place: Place) -> str:
        """What is in view, retained."""
        return self._below("state", place.camera, place.region)

    def image(self, place: Place) -> str:
        """The picture of the last "enter" event, retained."""
        return self._below("image", place.camera, place.region)

    def camera(self, camera: str) -> str:
        """The state of a camera, retained."""
        return self._below("camera", camera, None)

    @property
    def shown(self) -> frozenset[str]:
        """The retained topics of all places and cameras, without pictures."""
        states = {self.state(place) for place in self.places}
        return frozenset(states | {self.camera(name) for name in self.cameras})

    @property
    def filters(self) -> tuple[str, ...]:
        """Subscriptions to `state` and `camera` of every place that a board at `root` may have."""
        return tuple(
            f"{self._root}/{below}"
            for below in ("state", "+/state", "+/+/state", "camera", "+/camera")
        )

    def command(self, name: str) -> str:
        """Receives a command, if commands are on."""
        return f"{self._root}/command/{name}"

    def _below(self, name: str, camera: str, region: str | None) -> str:
        parts = [] if self.plain else [camera, *filter(None, [region])]
        return "/".join([self._root, *parts, name])
