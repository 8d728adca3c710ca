"""Temporal smoothing: turn the verdicts on single frames into recognitions and events."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import replace
from datetime import datetime, timedelta

from edge_runtime.types import Event, Frame, Recognition, Verdict

WINDOW = 5
"""Number of frames over which a recognition is decided. A majority of them sets the label."""


class Decider:
    """Decides which label the camera sees, once most of the latest frames agree.

    A label becomes current when the majority of the window names it. It is dropped when the
    majority names another label, or when the whole window is unknown. A blurred or dazzled frame is
    no evidence that the object is gone, so "unknown" must be unanimous. Labels do not flicker.

    With a cool-down, a label that returns within `cooldown_s` after its last announcement becomes
    current, but its "enter" event waits until the cool-down is over. If the label leaves before
    that, neither event is sent.
    """

    def __init__(self, window: int = WINDOW, *, cooldown_s: float = 0.0) -> None:
        self.window = window
        self.cooldown_s = cooldown_s
        self.current: Recognition | None = None
        self._labels: deque[str | None] = deque(maxlen=window)
        self._majority = window // 2 + 1
        self._announced: str | None = None
        """The label whose "enter" event was sent and whose "leave" event is still to come."""
        self._announced_at_s: dict[str, float] = {}

    def update(self, verdict: Verdict, frame: Frame, now_s: float) -> list[Event]:
        """Add one frame's verdict at `now_s` (`time.monotonic`); return the resulting events."""
        self._labels.append(verdict.label)
        counts = Counter(self._labels)
        current = self.current.label if self.current else None
        label, count = counts.most_common(1)[0]
        needed = self._majority if label is not None else self._labels.maxlen or 0
        share = {name: votes / len(self._labels) for name, votes in counts.items()}
        if label == current or count < needed:
            if self.current:
                self.current = replace(self.current, confidence=share.get(current, 0.0))
        else:
            self.current = Recognition(label, share[label], now_s) if label is not None else None
        changes = self._announce(now_s)
        if not changes:
            return []
        now = datetime.now().astimezone()
        age = timedelta(seconds=now_s - frame.captured_at_s)
        return [
            Event(
                kind,
                name,
                share.get(name, 0.0),
                verdict.distance,
                frame.sequence,
                now.isoformat(timespec="milliseconds"),
                (now - age).isoformat(timespec="milliseconds"),
                age.total_seconds() * 1e3,
            )
            for kind, name in changes
        ]

    def with_window(self, window: int, cooldown_s: float) -> Decider:
        """Return a decider with the same state and another window and cool-down."""
        other = Decider(window, cooldown_s=cooldown_s)
        other._labels.extend(self._labels)
        other.current, other._announced = self.current, self._announced
        other._announced_at_s = dict(self._announced_at_s)
        return other

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
