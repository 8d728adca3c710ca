"""Temporal smoothing: turn the verdicts on single frames into recognitions and events."""

from __future__ import annotations

import secrets
import time
from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from edge_runtime.types import GALLERY, Event, Frame, Recognition, Verdict

WINDOW = 5
"""Number of frames over which a recognition is decided. A majority of them sets the label."""


@dataclass(frozen=True)
class Origin:
    """Where events come from."""

    board: str = ""
    camera: str = ""
    region: str | None = None


class Decider:
    """Decides which label the camera sees, once most of the latest frames agree.

    A label becomes current when the majority of the window names it. It is dropped when the
    majority names another label, or when the whole window is unknown. A blurred or dazzled frame is
    no evidence that the object is gone, so "unknown" must be unanimous. Labels do not flicker.

    With a cool-down, a label that returns within `cooldown_s` after its last announcement becomes
    current, but its "enter" event waits until the cool-down is over. If the label leaves before
    that, neither event is sent.
    """

    def __init__(
        self, window: int = WINDOW, *, cooldown_s: float = 0.0, origin: Origin | None = None
    ) -> None:
        self.window = window
        self.cooldown_s = cooldown_s
        self.origin = origin or Origin()
        self.current: Recognition | None = None
        self._verdicts: deque[Verdict] = deque(maxlen=window)
        self._majority = window // 2 + 1
        self._announced: str | None = None
        """The label whose "enter" event was sent and whose "leave" event is still to come."""
        self._announced_origin = GALLERY
        self._announced_at_s: dict[str, float] = {}

    def update(self, verdict: Verdict, frame: Frame, now_s: float) -> list[Event]:
        """Add one frame's verdict at `now_s` (`time.monotonic`); return the resulting events."""
        self._verdicts.append(verdict)
        current = self.current.label if self.current else None
        labels = [each.label for each in self._verdicts]
        label = max(dict.fromkeys(labels), key=labels.count)  # of equal counts, the earliest
        count = labels.count(label)
        needed = self._majority if label is not None else self.window
        if label is None and count >= needed:
            self.current = None
        elif label is None or label == current or count < needed:
            if self.current:
                self.current = self._recognition(self.current.label, self.current.since_s)
        else:
            self.current = self._recognition(label, now_s)
        changes = self._announce(now_s)
        if not changes:
            return []
        age_s = now_s - frame.captured_at_s
        return self._events(changes, frame.sequence, verdict.distance, age_s)

    def lose(self, reason: str, sequence: int) -> list[Event]:
        """Forget everything, since no frames come any more; return the resulting events.

        `sequence`: number of the last frame.
        """
        self._verdicts.clear()
        self.current = None
        changes = self._announce(time.monotonic())
        return [replace(event, reason=reason) for event in self._events(changes, sequence, None, 0)]

    def with_window(self, window: int, cooldown_s: float) -> Decider:
        """Return a decider with the same state and another window and cool-down."""
        other = Decider(window, cooldown_s=cooldown_s, origin=self.origin)
        other._verdicts.extend(self._verdicts)
        other.current, other._announced = self.current, self._announced
        other._announced_origin = self._announced_origin
        other._announced_at_s = dict(self._announced_at_s)
        return other

    def _recognition(self, label: str, since_s: float) -> Recognition:
        named = [each.confidence for each in self._verdicts if each.label == label]
        confidence = sum(named) / len(named) if named else 0.0
        return Recognition(label, confidence, len(named) / len(self._verdicts), since_s)

    def _events(
        self, changes: list[tuple[str, str]], sequence: int, distance: int | None, age_s: float
    ) -> list[Event]:
        now = datetime.now().astimezone()
        age = timedelta(seconds=age_s)
        entering = next((label for kind, label in changes if kind == "enter"), None)
        found = []
        for kind, label in changes:
            seen = self._recognition(label, 0.0) if self._verdicts else None
            if kind == "enter":
                self._announced_origin = self._origin_of(label)
            found.append(
                Event(
                    kind,
                    label,
                    seen.confidence if seen else 0.0,
                    distance,
                    sequence,
                    now.isoformat(timespec="milliseconds"),
                    (now - age).isoformat(timespec="milliseconds"),
                    age.total_seconds() * 1e3,
                    seen.agreement if seen else 0.0,
                    new_id(),
                    self.origin.board,
                    self.origin.camera,
                    self.origin.region,
                    next_label=entering if kind == "leave" else None,
                    origin=self._announced_origin,
                )
            )
        return found

    def _origin_of(self, label: str) -> str:
        """Return who gave the latest verdict that names `label`."""
        named = (each.origin for each in reversed(self._verdicts) if each.label == label)
        return next(named, GALLERY)

    def _announce(self, now_s: float) -> list[tuple[str, str]]:
        """Return the events to send as pairs of kind and label."""
        current = self.current.label if self.current else None
        changes = []
        if self._announced is not None and self._announced != current:
            changes.append(("leave", self._announced))
            self._announced = None
        if current is not None and self._announced is None and self._cooled_down(current, now_s):
            changes.append(("enter", current))
            self._announced = current
            self._announced_at_s = {
                name: at_s
                for name, at_s in self._announced_at_s.items()
                if now_s - at_s < self.cooldown_s
            }
            self._announced_at_s[current] = now_s
        return changes

    def _cooled_down(self, label: str, now_s: float) -> bool:
        announced_at_s = self._announced_at_s.get(label)
        return announced_at_s is None or now_s - announced_at_s >= self.cooldown_s


def new_id() -> str:
    """Return a new event id: 20 hexadecimal digits, which begin with the time in nanoseconds."""
    return f"{time.time_ns():016x}{secrets.token_hex(2)}"
