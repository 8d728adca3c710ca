"""What the web server asks the history, on threads of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from edge_runtime.database.side_file import DamagedError
from edge_runtime.errors import StorageError
from edge_runtime.history import export, reading
from edge_runtime.history.file import Mark
from edge_runtime.history.reading import Filter, StoredEvent
from edge_runtime.history.recorder import HistoryCounts, Recorder

T = TypeVar("T")
PART = 500
"""Events of a download that are in memory at once."""


class Archive:
    """Reads the file that a recorder writes. Raises `StorageError` if that is impossible."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    @property
    def fault(self) -> str:
        """Why nothing can be stored now; empty if it can."""
        return self._recorder.fault

    def counts(self) -> HistoryCounts:
        """Return what was recorded so far."""
        return self._recorder.counts()

    def newest(
        self, wanted: dict[str, str], limit: int, before: str
    ) -> tuple[list[dict[str, Any]], bool]:
        """Return up to `limit` events as JSON, newest first, and whether there are more.

        `wanted`: see `Filter`. `before`: only those before the event with this id.
        """
        file = self._recorder.file
        events, more = self._read(lambda: reading.newest(file, Filter(**wanted), limit, before))
        return [event.as_json() for event in events], more

    def days(self) -> list[dict[str, Any]]:
        """Return how often each label came into view on each day, the newest day first."""
        found = self._read(lambda: reading.days(self._recorder.file))
        return [{"day": day, "labels": labels} for day, labels in found.items()]

    def find(self, event_id: str) -> StoredEvent | None:
        """Return one event; None if it is not stored."""
        return self._read(lambda: reading.find(self._recorder.file, event_id))

    def snapshot(self, event_id: str) -> bytes:
        """Return the snapshot of an event as a JPEG; empty if there is none."""
        return self._read(lambda: reading.picture(self._recorder.file, event_id))

    def mark(self, event_id: str, label: str | None) -> bool:
        """Mark an event as wrong; return whether it is stored.

        `label` is the right one; None if it is nothing that has one. Raises `BusyError`, too.
        """
        return self._recorder.mark(event_id, Mark(label))

    def unmark(self, event_id: str) -> bool:
        """Remove the mark of an event; return whether it is stored. Raises `BusyError`, too."""
        return self._recorder.mark(event_id, None)

    def part(self, wanted: dict[str, str], after: int, as_csv: bool) -> tuple[str, int]:
        """Return the next part of a download, oldest first, and the argument for the one after.

        The first part is the one `after` 0. After the last, the argument is -1.
        """
        file = self._recorder.file
        events, last = self._read(lambda: reading.oldest(file, Filter(**wanted), after, PART))
        if as_csv:
            return ("" if after else export.header()) + export.lines(events), last
        rows = ",\n".join(json.dumps(event.as_json()) for event in events)
        before = '{"events": [\n' if not after else ",\n" if rows else ""
        return before + rows + ("\n]}\n" if last < 0 else ""), last

    def _read(self, question: Callable[[], T]) -> T:
        try:
            return question()
        except DamagedError as error:
            self._recorder.suspect()
            raise StorageError(
                f"the history is damaged: {error}",
                where=self._recorder.file.path,
                remedy="it is checked, and replaced if that is so",
            ) from error
