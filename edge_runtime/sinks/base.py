"""The interface of a sink."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from edge_runtime.types import CameraState, Event


class Sink(ABC):
    """Receives events as they occur."""

    name: str = "sink"

    @property
    def fault(self) -> str:
        """What is wrong although events may be delivered, in one line; empty if nothing is."""
        return ""

    def open(self, cameras: Sequence[CameraState] = ()) -> None:  # noqa: B027  (most need it not)
        """Start. An outbox calls it once, before everything else.

        `cameras`: their states at this time. Later ones come by `show`.
        """

    @abstractmethod
    def publish(self, event: Event) -> None:
        """Deliver one event; may block. Raises `SinkError`."""

    def show(self, camera: CameraState) -> None:  # noqa: B027  (most sinks take only events)
        """Deliver the state of a camera after it changed; may block. Raises `SinkError`.

        Events and states keep their order. If several states of one camera wait for a slow sink,
        only the last one is delivered.
        """

    def test(self, event: Event) -> None:
        """Deliver an event of the kind "test", which changes no state; raises `SinkError`."""
        self.publish(event)

    def close(self) -> None:  # noqa: B027  (most sinks hold no resources)
        """Release all resources. No event follows."""
