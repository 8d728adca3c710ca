"""Outboxes: no event is lost without being counted, and no sink delays the pipeline."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.errors import SinkError
from edge_runtime.sinks import JsonSink, ListSink, Outbox, Sink, TextSink
from edge_runtime.types import Event
from tests.daemon.broker import until
from tests.support.events import HTML, make_event


class _ScriptedSink(Sink):
    """Ends each attempt as `orders` prescribes."""

    name = "scripted"

    def __init__(self, orders: Iterator[str]) -> None:
        self._orders = orders
        self.received: list[int] = []
        self.closed = 0

    def publish(self, event: Event) -> None:
        order = next(self._orders, "take")
        if order == "later":
            raise SinkError("not now")
        if order == "never":
            raise SinkError("not this one", retry=False)
        if order == "bug":
            raise ZeroDivisionError("a bug in the sink")
        self.received.append(event.sequence)

    def close(self) -> None:
        self.closed += 1


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from(["take", "later", "never", "bug"]), max_size=30),
    st.integers(1, 20),
    st.integers(1, 4),
    st.integers(1, 5),
)
def test_no_event_is_lost_without_being_counted(
    orders: list[str], count: int, attempts: int, capacity: int
) -> None:
    sink = _ScriptedSink(iter(orders))
    box = Outbox(sink, capacity=capacity, attempts=attempts, shortest_s=1e-4, longest_s=2e-4)
    for number in range(count):
        box.publish(make_event(number))
    until(lambda: not box.counts().waiting)
    box.close()
    counts = box.counts()
    assert counts.published == count == counts.delivered + counts.dropped + counts.failed
    assert counts.delivered == len(sink.received)
    assert sink.received == sorted(set(sink.received))
    assert sink.closed == 1


def test_a_blocked_sink_does_not_delay_the_pipeline() -> None:
    release, begun = threading.Event(), threading.Event()

    class Blocked(Sink):
        def publish(self, event: Event) -> None:
            begun.set()
            release.wait()

    box = Outbox(Blocked(), capacity=10)
    box.publish(make_event())
    assert begun.wait(5)
    began_s = time.monotonic()
    for number in range(1, 1000):
        box.publish(make_event(number))
    assert time.monotonic() - began_s < 5
    counts = box.counts()
    assert (counts.published, counts.dropped, counts.waiting) == (1000, 989, 11)
    box.close(0.05)
    assert box.counts().waiting == 1  # being published
    release.set()


def test_a_lossless_outbox_makes_the_source_wait() -> None:
    class Slow(ListSink):
        def publish(self, event: Event) -> None:
            time.sleep(0.001)
            super().publish(event)

    sink = Slow()
    box = Outbox(sink, capacity=2, lossless=True)
    for number in range(50):
        box.publish(make_event(number))
    box.close()
    assert [event.sequence for event in sink.events] == list(range(50))
    assert box.counts().dropped == 0


def test_events_left_at_shutdown_are_delivered_or_counted() -> None:
    box = Outbox(_ScriptedSink(iter(["later"] * 1000)), shortest_s=0.01, longest_s=0.02)
    for number in range(5):
        box.publish(make_event(number))
    box.close(0.1)
    counts = box.counts()
    assert counts.waiting == 0
    assert counts.dropped + counts.failed == 5


def test_one_line_per_event() -> None:
    text, lines = io.StringIO(), io.StringIO()
    TextSink(text).publish(make_event(label=HTML))
    JsonSink(lines).publish(make_event(label=HTML))
    assert text.getvalue().count("\n") == 1
    event = json.loads(lines.getvalue())
    assert event["label"] == HTML
    assert event["frame_time"] == "2026-01-02T03:04:05.678+00:00"


class _Slow(_ScriptedSink):
    """Blocks in `publish` until `go` is set."""

    def __init__(self) -> None:
        super().__init__(iter(()))
        self.go = threading.Event()

    def publish(self, event: Event) -> None:
        assert self.go.wait(15)
        super().publish(event)


def test_a_sink_that_is_busy_at_shutdown_is_closed_later() -> None:
    slow, next_ = _Slow(), _ScriptedSink(iter(()))
    box = Outbox(slow)
    box.publish(make_event(1))
    successor = Outbox(next_, after=box)
    successor.publish(make_event(2))
    until(lambda: box._abandoned)
    assert not slow.closed
    assert not next_.received  # the successor waits
    slow.go.set()
    until(lambda: next_.received == [2])
    assert (slow.received, slow.closed) == ([1], 1)
    successor.close()
    assert next_.closed == 1
