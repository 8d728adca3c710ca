"""Where events go.

A `base.Sink` is the small contract: publish, close. It may be slow or dead; `outbox.Outbox` gives
it a bounded queue and a thread of its own, so that the path never waits for it. Adding a kind of
sink is adding a module here and a table to the configuration.
"""

from edge_runtime.sinks.base import Sink
from edge_runtime.sinks.outbox import Outbox
from edge_runtime.sinks.stream import JsonSink, ListSink, TextSink

__all__ = ["JsonSink", "ListSink", "Outbox", "Sink", "TextSink"]
