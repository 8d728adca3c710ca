"""The contract of a sink."""

from __future__ import annotations

from abc import ABC, abstractmethod

from edge_runtime.types import Event


class Sink(ABC):
    """Takes events as they happen."""

    name: str = "sink"

    def open(self) -> None:  # noqa: B027  (most sinks connect when there is something to tell)
        """Connect, if that is to be done before the first event. An outbox calls it, once."""

    @abstractmethod
    def publish(self, event: Event) -> None:
        """Deliver one event; may block. Raises `SinkError`."""

    def close(self) -> None:  # noqa: B027  (most sinks hold nothing)
        """No further event will come."""
