"""What the estimates are calibrated on: counts of networks, and their published times."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge_runtime.errors import ReportError

FOLDER = Path(__file__).resolve().parent.parent / "calibration"
COUNTS = "counts.json"
PUBLISHED = "published.json"
HELD_BACK = 3
"""Every third network, by name, is never fitted on: it tests the fit."""

Numbers = Mapping[str, float]


@dataclass(frozen=True)
class Board:
    """One core of a board, and what was published about it."""

    board: str
    core: str
    clock_mhz: float
    calibrates: bool
    """False: none of its rows is ever fitted on."""
    published: str
    """The day, as ISO 8601 has it."""
    latency_ms: dict[str, float]
    """By network: one thread, the fastest run."""
    line: int = 0
    """Of the source."""


@dataclass(frozen=True)
class Since:
    """Since when a network has been the code that is counted; what was timed before is another."""

    day: str
    reason: str

    def is_too_late_for(self, board: Board, net: str) -> bool:
        """Whether the board has a row of `net` that is older."""
        return net in board.latency_ms and board.published < self.day


@dataclass(frozen=True)
class Calibration:
    """Counts by core and network, and boards."""

    counts: dict[str, dict[str, dict[str, int]]]
    boards: tuple[Board, ...]
    source: str
    left_out: dict[str, str]
    """Sections and rows of the source that tell nothing, and why."""

    def of(self, core: str) -> tuple[Board, ...]:
        """The boards with `core`; raises `ReportError` if none of them calibrates."""
        boards = tuple(board for board in self.boards if board.core == core)
        if core not in self.counts or not any(board.calibrates for board in boards):
            known = sorted({board.core for board in self.boards if board.calibrates})
            raise ReportError(
                f'nothing is published about a core "{core}"',
                remedy=f"[estimate] core: one of {', '.join(known)}",
            )
        return boards

    @property
    def held_back(self) -> frozenset[str]:
        """Networks that are never fitted on."""
        names = sorted({name for nets in self.counts.values() for name in nets})
        return frozenset(names[HELD_BACK - 1 :: HELD_BACK])


def read_calibration(folder: Path = FOLDER) -> Calibration:
    """Both files; raises `ReportError`."""
    counts, published = (_read(folder / name) for name in (COUNTS, PUBLISHED))
    try:
        boards = tuple(Board(**entry) for entry in published["boards"])
        since = {net: Since(**entry) for net, entry in published["counted_since"].items()}
        for board in boards:
            if board.clock_mhz <= 0 or min(board.latency_ms.values()) <= 0:
                raise ValueError(f"{board.board}: clock and times are above zero")
        left_out = {entry["board"]: entry["reason"] for entry in published["left_out"]}
        for net, one in since.items():
            early = [board for board in boards if one.is_too_late_for(board, net)]
            told = ", ".join(f"{board.board} ({board.latency_ms[net]:.0f} ms)" for board in early)
            left_out[f"{net} on {told}, published before {one.day}"] = one.reason
        boards = tuple(_comparable(board, since) for board in boards)
        return Calibration(counts["counts"], boards, published["source"], left_out)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ReportError(f"malformed: {error}", where=folder / PUBLISHED) from error


def _comparable(board: Board, since: Mapping[str, Since]) -> Board:
    """The board without the rows that were timed before the counted code was there."""
    rows = board.latency_ms.items()
    left = {n: ms for n, ms in rows if n not in since or not since[n].is_too_late_for(board, n)}
    return replace(board, latency_ms=left)


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReportError(
            f"it cannot be read: {error.strerror}", where=path, remedy="git checkout the file"
        ) from error
    except ValueError as error:
        raise ReportError(f"not JSON: {error}", where=path) from error
    if content.get("schema_version") != 1:
        raise ReportError(
            f"of schema version {content.get('schema_version')}, not 1",
            where=path,
            remedy="use the file of this version",
        )
    return content
