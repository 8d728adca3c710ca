"""Threads beside the main loop are restarted when they fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from edge_runtime.sinks import Outbox, Sink
from edge_runtime.system.helper_thread import HelperThread
from edge_runtime.types import Event

EVENT = Event("enter", "desk", 1.0, 0, 1, "2026-11-29T10:00:00+00:00", "", 1.0)


def _until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_a_thread_that_fails_is_restarted_and_counted() -> None:
    calls: list[int] = []
    end = threading.Event()

    def run() -> None:
        calls.append(len(calls))
        if len(calls) <= 3:
            raise OSError("no descriptors") if len(calls) < 3 else SystemExit(1)
        end.wait()

    thread = HelperThread("test", run, shortest_s=0.01)
    _until(lambda: len(calls) == 4)
    assert thread.state().alive
    assert thread.state().restarts == 3
    assert thread.state().last_error == "SystemExit: 1"
    end.set()
    thread.join()
    assert not thread.state().alive


def test_a_stopped_thread_is_not_restarted() -> None:
    failed = threading.Event()

    def run() -> None:
        failed.set()
        raise ValueError("always")

    thread = HelperThread("test", run, shortest_s=30)
    assert failed.wait(30)
    thread.stop()
    thread.join(30)
    assert not thread.is_alive()
    assert thread.state().restarts == 1


def test_an_outbox_goes_on_after_a_failure_and_counts_the_event() -> None:
    class Fatal(Sink):
        name = "fatal"
        published = 0

        def publish(self, event: Event) -> None:
            self.published += 1
            if self.published == 1:
                raise SystemExit

    outbox = Outbox(Fatal())
    outbox.publish(EVENT)
    outbox.publish(EVENT)
    _until(lambda: outbox.counts().waiting == 0)
    counts = outbox.counts()
    assert (counts.delivered, counts.failed, counts.dropped) == (1, 1, 0)
    assert outbox.thread.state().restarts == 1
    outbox.close()
