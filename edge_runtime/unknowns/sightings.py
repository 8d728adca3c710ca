"""Find in the stream of observations what is unknown and stands still. Runs on the main thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edge_runtime.code import Embedding, unpack
from edge_runtime.daemon.watcher import Observation
from edge_runtime.fitting.quantized import Floats, unit
from edge_runtime.image.lazy_jpeg import Picture
from edge_runtime.recognition.smoothing import Origin
from edge_runtime.types import QueryResult

STILL = 0.95
"""Cosine with the first frame of a stretch from which the scene stands still."""
STILL_S = 1.0
"""How long it stands still before it is taken."""
EVERY_S = 2.0
"""Shortest time between two sightings of one region."""
AGAIN_S = 60.0
"""A scene that stays as it is counts again after this time."""


@dataclass(frozen=True, eq=False)
class Sighting:
    """An unknown scene that stood still."""

    vector: Floats
    """float32 [F], of length 1; of a model without features, one number per bit."""
    embedding: Embedding
    picture: Picture
    """The region's part of the frame; decode and encode it on another thread."""
    origin: Origin
    taken_s: float
    """Time of the frame, seconds since the epoch."""


@dataclass(frozen=True)
class Share:
    """For how long a region has shown one thing, since the last message about it."""

    view: str
    still_s: float
    """Seconds for which it showed the last thing that was taken."""
    total_s: float
    """Seconds for which it was watched at all."""


@dataclass
class _View:
    """What one region shows now."""

    began_s: float = 0.0
    first: Floats | None = None
    """The vector of the stretch's first frame."""
    last: Embedding | None = None
    frames: int = 0
    taken: bool = False
    taken_s: float = -EVERY_S
    still_s: float = 0.0
    total_s: float = 0.0
    seen_s: float | None = None


def view_of(origin: Origin) -> str:
    """Return the name of a region for the statistics: CAMERA or CAMERA/REGION."""
    return origin.camera if origin.region is None else f"{origin.camera}/{origin.region}"


def vector_of(embedding: Embedding, bits: int) -> Floats:
    """Return what is compared, float32 [F] of length 1: the features, or the bits of the code."""
    if embedding.features is not None:
        return unit(embedding.features)
    return unit(2 * unpack(embedding.code, bits).astype(np.float32) - 1)


class Watch:
    """Selects sightings, at most one per region and `EVERY_S`."""

    def __init__(
        self,
        bits: int,
        window: Callable[[], int],
        send: Callable[[Sighting | Share], bool],
        is_settled: Callable[[QueryResult], bool] = lambda _: False,
    ) -> None:
        """`window`: frames over which a recognition is decided. `send` returns False if busy.

        `is_settled` tells which unknown things need no name.
        """
        self._bits = bits
        self._window = window
        self._send = send
        self._is_settled = is_settled
        self._views: dict[str, _View] = {}

    def observe(self, seen: Observation) -> None:
        """See `Observer`."""
        now_s, name = seen.frame.captured_at_s, view_of(seen.origin)
        view = self._views.setdefault(name, _View())
        passed_s = 0.0 if view.seen_s is None else min(max(now_s - view.seen_s, 0.0), EVERY_S)
        view.seen_s = now_s
        view.total_s += passed_s
        unknown = seen.result.label is None and seen.recognition is None
        embedding = seen.result.embedding
        if not unknown or embedding is None or not self._continues(view, embedding):
            self._report(name, view)
            view.frames, view.taken, view.began_s, view.first = 0, False, now_s, None
            if not unknown or embedding is None:
                return
            view.first = vector_of(embedding, self._bits)
        view.last = embedding
        view.frames += 1
        if view.taken:
            view.still_s += passed_s
            if now_s - view.taken_s < AGAIN_S:
                return
            self._report(name, view)
        elif view.frames < self._window() or now_s - view.began_s < STILL_S:
            return
        if now_s - view.taken_s < EVERY_S or self._is_settled(seen.result):
            return
        vector = vector_of(embedding, self._bits)
        taken_s = time.time() - max(time.monotonic() - now_s, 0.0)
        if self._send(Sighting(vector, embedding, seen.picture, seen.origin, taken_s)):
            view.taken, view.taken_s = True, now_s

    def _continues(self, view: _View, embedding: Embedding) -> bool:
        if view.first is None:
            return False
        # The change gate gives the last embedding again while nothing moves.
        return embedding is view.last or bool(
            view.first @ vector_of(embedding, self._bits) >= STILL
        )

    def _report(self, name: str, view: _View) -> None:
        if view.total_s >= 1 and self._send(Share(name, view.still_s, view.total_s)):
            view.still_s = view.total_s = 0.0
