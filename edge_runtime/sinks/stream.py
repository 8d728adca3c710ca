"""Write events as lines of text or JSON, or store them in memory."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TextIO

from edge_runtime.sinks.base import Sink
from edge_runtime.system.printable import printable, printable_json
from edge_runtime.types import Event


class TextSink(Sink):
    """Writes one human-readable line per event."""

    name = "text"

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def publish(self, event: Event) -> None:
        """See `Sink.publish`."""
        entered = event.kind == "enter"
        place = "/".join(filter(None, (event.camera, event.region)))
        facts = [
            f"{event.confidence:.0%} sure" if entered else event.reason,
            f"{event.agreement:.0%} of the frames",
            f"{event.distance} bits away" if entered else "",
            f"{event.latency_ms:.1f} ms",
        ]
        mark = {"enter": "+", "leave": "-"}.get(event.kind, "?")
        self._stream.write(
            f"{event.time[11:23]}  {place or 'frame'} {event.sequence:>5}  {mark} "
            f"{printable(event.label)}  ({', '.join(filter(None, facts))})\n"
        )
        self._stream.flush()


class JsonSink(Sink):
    """Writes one JSON object per line, for programs."""

    name = "json"

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def publish(self, event: Event) -> None:
        """See `Sink.publish`."""
        self._stream.write(printable_json(json.dumps(asdict(event), ensure_ascii=False)) + "\n")
        self._stream.flush()


class ListSink(Sink):
    """Stores events in memory, for tests and the demo."""

    name = "list"

    def __init__(self) -> None:
        self.events: list[Event] = []

    def publish(self, event: Event) -> None:
        """See `Sink.publish`."""
        self.events.append(event)
