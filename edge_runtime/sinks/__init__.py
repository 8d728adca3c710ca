"""Destinations of events.

`base.Sink` is the interface: publish and close. A sink may be slow or fail. `outbox.Outbox` gives
it a bounded queue and its own thread, so the pipeline never waits for it. To add a kind of sink,
add a module here and a table to the configuration.
"""

from edge_runtime.sinks.base import Sink
from edge_runtime.sinks.outbox import Outbox
from edge_runtime.sinks.stream import JsonSink, ListSink, TextSink

__all__ = ["JsonSink", "ListSink", "Outbox", "Sink", "TextSink"]
