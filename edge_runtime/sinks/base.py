"""The interface of a sink."""

from __future__ import annotations

from abc import ABC, abstractmethod

from edge_runtime.types import Event


class Sink(ABC):
    """Receives events as they occur."""

    name: str = "sink"

    def open(self) -> None:  # noqa: B027  (most sinks connect at the first event)
        """Connect, if that must happen before the first event. An outbox calls it once."""

    @abstractmethod
    def publish(self, event: Event) -> None:
        """Deliver one event; may block. Raises `SinkError`."""

    def close(self) -> None:  # noqa: B027  (most sinks hold no resources)
        """Release all resources. No event follows."""
