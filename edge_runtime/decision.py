"""From neighbours to a name: one frame's verdict, and what several frames agree on."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from edge_runtime.fusion import standings, verdict
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
    return verdict([matches], standings([matches], radius))


class Decider:
    """Names what the camera looks at, once most of the latest frames agree.

    A label is taken up when the majority of the window names it. It is dropped when the majority
    names another one, or when the whole window is unknown: a blurred or dazzled frame is no
    evidence that the thing is gone, so "unknown" alone must be unanimous. Labels do not flicker.
    """

    def __init__(self, window: int = WINDOW) -> None:
        self._verdicts: deque[str | None] = deque(maxlen=window)
        self._majority = window // 2 + 1
        self.current: Recognition | None = None

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
            return []
        self.current = Recognition(label, share[label], now_s) if label is not None else None
        return [
            Event(
                kind,
                name,
                share.get(name, 0.0),
                verdict.distance,
                frame.sequence,
                datetime.now().astimezone().isoformat(timespec="milliseconds"),
                (now_s - frame.captured_at_s) * 1e3,
            )
            for kind, name in (("leave", held), ("enter", label))
            if name is not None
        ]
