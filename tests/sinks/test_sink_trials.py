"""A test event goes through one sink, once, outside its queue."""

from __future__ import annotations

import threading

from edge_runtime.errors import SinkError
from edge_runtime.sinks import Outbox, Sink
from edge_runtime.types import Event
from tests.support.events import make_event


class _Refusing(Sink):
    name = "refusing"

    def __init__(self) -> None:
        self.tries = 0

    def publish(self, event: Event) -> None:
        self.tries += 1
        if event.kind == "test":
            raise SinkError("not this one", where="here", remedy="do that")


def test_an_attempt_is_made_once_and_not_counted() -> None:
    sink = _Refusing()
    box = Outbox(sink, shortest_s=1e-4, longest_s=2e-4)
    for _ in range(2):
        assert box.attempt(make_event(0, "test"), 20) == "here: not this one (do that)"
    assert sink.tries == 2
    box.publish(make_event(1))
    box.close(10)
    assert box.counts().published == box.counts().delivered == 1
    assert box.last_error == ""


def test_an_attempt_does_not_wait_for_a_sink_that_hangs() -> None:
    begun, released = threading.Event(), threading.Event()

    class Blocked(Sink):
        name = "slow"

        def __init__(self) -> None:
            self.seen: list[int] = []

        def publish(self, event: Event) -> None:
            self.seen.append(event.sequence)
            begun.set()
            released.wait(30)

    sink = Blocked()
    box = Outbox(sink)
    box.publish(make_event(0))
    assert begun.wait(20)
    try:
        assert "no answer within" in box.attempt(make_event(1, "test"), 0.1)
    finally:
        released.set()
    assert box.attempt(make_event(2, "test"), 20) == ""
    box.close(10)
    assert sink.seen == [0, 2]  # the one that came too late was not sent
