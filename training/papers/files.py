"""Read and append the files of the papers' commands."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from edge_runtime.errors import ReportError, StorageError, storage_error
from edge_runtime.system.durable import make_folder, sync_folder

Key = dict[str, Any]
"""What identifies a run: method, bits, seed and every setting that changes its result."""


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object; raises ReportError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ReportError(f"not readable: {error}", where=path) from error
    if not isinstance(found, dict):
        raise ReportError("not a JSON object", where=path)
    return found


class FinishedRuns:
    """Finished runs of a long command: one line of JSON each, {"key": ..., "result": ...}.

    A line is durable once `add` returns. A command that was killed skips the runs it finds here.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the file; an unfinished last line is removed. Raises StorageError."""
        self._path = path
        self._found: dict[str, Any] = {}
        try:
            make_folder(path.parent)
            with path.open("ab+") as file:
                file.seek(0)
                whole = 0
                for line in file:
                    if not line.endswith(b"\n"):
                        file.truncate(whole)
                        break
                    whole += len(line)
                    self._take(line)
            sync_folder(path.parent)
        except OSError as error:
            raise storage_error(error, path) or StorageError(str(error), where=path) from error

    def _take(self, line: bytes) -> None:
        try:
            entry = json.loads(line)
            self._found[_canonical(entry["key"])] = entry["result"]
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(
                "a line is not a finished run", where=self._path, remedy="remove the file"
            ) from error

    def find(self, key: Key) -> Any:
        """Return the result of the run with exactly this key, or None."""
        return self._found.get(_canonical(key))

    def add(self, key: Key, result: Any) -> None:
        """Append a result (JSON, not None) durably; raises StorageError when writing fails."""
        line = json.dumps({"key": key, "result": result}, sort_keys=True) + "\n"
        try:
            with self._path.open("ab") as file:
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise storage_error(error, self._path) or StorageError(
                str(error), where=self._path
            ) from error
        self._found[_canonical(key)] = json.loads(line)["result"]


def _canonical(key: Key) -> str:
    return json.dumps(key, sort_keys=True)
