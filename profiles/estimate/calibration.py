"""The calibration data of the estimates: counts of networks, and their published times."""

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
"""Every third network by name is excluded from the fit and used to test it."""

Numbers = Mapping[str, float]


@dataclass(frozen=True)
class Board:
    """One core of a board and its published times."""

    board: str
    core: str
    clock_mhz: float
    calibrates: bool
    """False: all rows of the board are excluded from the fit."""
    published: str
    """Date in ISO 8601 format."""
    latency_ms: dict[str, float]
    """Milliseconds by network: one thread, fastest run."""
    line: int = 0
    """Line in the source."""


@dataclass(frozen=True)
class ComparableSince:
    """The date since which the published times of a network are of the code that is counted."""

    day: str
    reason: str

    def excludes(self, board: Board, net: str) -> bool:
        """Return whether the board has an older row for `net`."""
        return net in board.latency_ms and board.published < self.day


@dataclass(frozen=True)
class Calibration:
    """Counts by core and network, and boards."""

    counts: dict[str, dict[str, dict[str, int]]]
    boards: tuple[Board, ...]
    source: str
    left_out: dict[str, str]
    """Excluded sections and rows of the source, with the reason."""

    def of(self, core: str) -> tuple[Board, ...]:
        """Return the boards with `core`; raises `ReportError` if none of them calibrates."""
        boards = tuple(board for board in self.boards if board.core == core)
        if core not in self.counts or not any(board.calibrates for board in boards):
            known = sorted({board.core for board in self.boards if board.calibrates})
            raise ReportError(
                f'no calibration data for the core "{core}"',
                remedy=f"set [estimate] core to one of {', '.join(known)}",
            )
        return boards

    @property
    def held_back(self) -> frozenset[str]:
        """Networks that are excluded from the fit."""
        names = sorted({name for nets in self.counts.values() for name in nets})
        return frozenset(names[HELD_BACK - 1 :: HELD_BACK])


def read_calibration(folder: Path = FOLDER) -> Calibration:
    """Read both files; raises `ReportError`."""
    counts, published = (_read(folder / name) for name in (COUNTS, PUBLISHED))
    try:
        boards = tuple(Board(**entry) for entry in published["boards"])
        since = {net: ComparableSince(**entry) for net, entry in published["counted_since"].items()}
        for board in boards:
            if board.clock_mhz <= 0 or min(board.latency_ms.values()) <= 0:
                raise ValueError(f"{board.board}: clock and times must be above 0")
        left_out = {entry["board"]: entry["reason"] for entry in published["left_out"]}
        for net, one in since.items():
            early = [board for board in boards if one.excludes(board, net)]
            rows = ", ".join(f"{board.board} ({board.latency_ms[net]:.0f} ms)" for board in early)
            left_out[f"{net} on {rows}, published before {one.day}"] = one.reason
        boards = tuple(_comparable(board, since) for board in boards)
        return Calibration(counts["counts"], boards, published["source"], left_out)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ReportError(f"malformed: {error}", where=folder / PUBLISHED) from error


def _comparable(board: Board, since: Mapping[str, ComparableSince]) -> Board:
    """Return the board without rows that were timed before the counted code existed."""
    rows = board.latency_ms.items()
    comparable = {n: ms for n, ms in rows if n not in since or not since[n].excludes(board, n)}
    return replace(board, latency_ms=comparable)


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReportError(
            f"cannot read the file: {error.strerror}",
            where=path,
            remedy="restore it with git checkout",
        ) from error
    except ValueError as error:
        raise ReportError(f"not JSON: {error}", where=path) from error
    if content.get("schema_version") != 1:
        raise ReportError(
            f"schema version must be 1, got {content.get('schema_version')}",
            where=path,
            remedy="use the file of this checkout",
        )
    return content
