"""A scripted source for tests; it can produce every fault of a camera."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from edge_runtime.camera.base import Shot, Source
from edge_runtime.image.lazy_jpeg import Picture


class FakeSource(Source):
    """Delivers items in order: images or pictures, exceptions to raise, callables to call (such as
    a wait), or None for the end of the stream."""

    name = "fake"

    def __init__(self, items: Iterable[object], *, live: bool = False) -> None:
        self.live = live
        self.opened = self.closed = 0
        self._items: Iterator[object] = iter(items)

    def clone(self) -> FakeSource:
        """See `Source.clone`; the clone continues with the next item."""
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
