"""A source for tests at the seam: every fault that a camera can have, on order."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from edge_runtime.camera.base import Shot, Source
from edge_runtime.image.lazy_jpeg import Picture


class FakeSource(Source):
    """Delivers the given items in order: an image or picture, an error to raise, a callable
    to wait in, or None for the end of the stream."""

    name = "fake"

    def __init__(self, items: Iterable[object], *, live: bool = False) -> None:
        self.live = live
        self.opened = self.closed = 0
        self._items: Iterator[object] = iter(items)

    def clone(self) -> FakeSource:
        """See `Source.clone`: goes on where this one was."""
        return FakeSource(self._items, live=self.live)

    def open(self) -> None:
        """See `Source.open`."""
        self.opened += 1

    def next(self) -> Shot | None:
        """See `Source.next`."""
        for item in self._items:
            if isinstance(item, Exception):
                raise item
            if callable(item):
                item()
                continue
            if item is None:
                return None
            picture = item if isinstance(item, Picture) else Picture(item)  # type: ignore[arg-type]
            return Shot(picture, time.monotonic())
        return None

    def close(self) -> None:
        """See `Source.close`."""
        self.closed += 1
