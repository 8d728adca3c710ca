"""Events, for the sinks."""

from __future__ import annotations

from edge_runtime.types import Event

HTML = "<img src=x onerror=alert(1)>$(touch /tmp/owned) & \"quoted\" 'too'"


def make_event(number: int = 0, kind: str = "enter", label: str = "cat") -> Event:
    time_ = "2026-01-02T03:04:05.678+00:00"
    return Event(kind, label, 0.6, 3, number, time_, time_, 12.5)
