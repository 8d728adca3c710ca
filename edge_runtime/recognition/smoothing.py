"""From neighbours to a name: one frame's verdict, and what several frames agree on."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from edge_runtime.recognition.voting import label_scores, verdict
from edge_runtime.types import Event, Frame, Match, Recognition, Verdict

NEIGHBOURS = 5
"""How many of the nearest items vote."""
WINDOW = 5
"""Frames over which the camera's recognitions are decided: a majority of them names it."""


def vote(matches: Sequence[Match], radius: int) -> Verdict:
    """What one frame shows: the neighbours within `radius` bits vote.

    `matches` come nearest first. With nothing within the radius the answer is "unknown", never a
    wrong name; the radius is measured with the model (its card says how).
    """
    return verdict([matches], label_scores([matches], radius))


class Decider:
    """Names what the camera looks at, once most of the latest frames agree.

    A label is taken up when the majority of the window names it. It is dropped when the majority
    names another one, or when the whole window is unknown: a blurred or dazzled frame is no
    evidence that the thing is gone, so "unknown" alone must be unanimous. Labels do not flicker.

    With a cool-down, a label that comes back sooner than `cooldown_s` after it was last announced
    is held, but not announced (nor is its leaving) before that time is over.
    """

    def __init__(self, window: int = WINDOW, *, cooldown_s: float = 0.0) -> None:
        self.window = window
        self.cooldown_s = cooldown_s
        self.current: Recognition | None = None
        self._verdicts: deque[str | None] = deque(maxlen=window)
        self._majority = window // 2 + 1
        self._announced: str | None = None
        """The label whose coming was told, and whose leaving will be."""
        self._told_s: dict[str, float] = {}

    def update(self, verdict: Verdict, frame: Frame, now_s: float) -> list[Event]:
        """Take in one frame's verdict at `now_s` (`time.monotonic`); gives what changed by it."""
        self._verdicts.append(verdict.label)
        counts = Counter(self._verdicts)
        held = self.current.label if self.current else None
        label, count = counts.most_common(1)[0]
        needed = self._majority if label is not None else self._verdicts.maxlen or 0
        share = {name: votes / len(self._verdicts) for name, votes in counts.items()}
        if label == held or count < needed:
            if self.current:
                self.current = replace(self.current, confidence=share.get(held, 0.0))
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

    def resized(self, window: int, cooldown_s: float) -> Decider:
        """One with another window and cool-down that holds what this one holds."""
        other = Decider(window, cooldown_s=cooldown_s)
        other._verdicts.extend(self._verdicts)
        other.current, other._announced = self.current, self._announced
        other._told_s = dict(self._told_s)
        return other

    def _announce(self, now_s: float) -> list[tuple[str, str]]:
        """What there is to tell: kind and label."""
        held = self.current.label if self.current else None
        changes = []
        if self._announced is not None and self._announced != held:
            changes.append(("leave", self._announced))
            self._announced = None
        if held is not None and self._announced is None and self._ready(held, now_s):
            changes.append(("enter", held))
            self._announced = held
            self._told_s = {
                name: at_s for name, at_s in self._told_s.items() if now_s - at_s < self.cooldown_s
            }
            self._told_s[held] = now_s
        return changes

    def _ready(self, label: str, now_s: float) -> bool:
        told_s = self._told_s.get(label)
        return told_s is None or now_s - told_s >= self.cooldown_s
