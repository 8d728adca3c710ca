"""The result files of the papers' tables, training/results/papers/NAME.json.

A file holds one table: the command that made it, the data, notes, and rows. A row is one system in
one setting: its published figure beside the values measured here, one per seed. Files are written
by commands only; `python -m training papers page` makes docs/results/PAPERS.md of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from edge_runtime.errors import ReportError
from training.files import write_json
from training.papers.files import read_object
from training.papers.times import keep_time

RESULTS = Path(__file__).resolve().parents[1] / "results" / "papers"
SEEDS = 3
"""Values per row; a row with fewer gives its reason."""
Extra = str | int | float


@dataclass(frozen=True)
class Row:
    """One system in one setting; raises ReportError if the fields contradict each other."""

    system: str
    source: str
    """Where the system was published: authors, year, venue."""
    setting: str
    """For example "12 bits"; "" if there is only one."""
    measure: str
    """For example "MAP (%)"; all rows of a table with one measure can be compared."""
    published: float | None = None
    published_on: str = ""
    """Data, split and backbone of the published figure."""
    values: Sequence[float] = ()
    """Our values, one per seed."""
    one_seed_reason: str = ""
    """Why there are fewer than three values, for example "deterministic"."""
    differs: str = ""
    """What differs from the published experiment, in a sentence."""
    missing: str = ""
    """Why there are no values, in a sentence."""
    extra: Mapping[str, Extra] = field(default_factory=dict)
    """Other figures under their names with units: {"bytes_per_query": 8}."""

    def __post_init__(self) -> None:
        """Check the row; raises ReportError."""
        where = f"{self.system or 'a row'}, {self.setting or 'no setting'}"
        for name in ("system", "source", "measure"):
            if not getattr(self, name):
                raise ReportError(f'"{name}" is empty', where=where)
        if bool(self.values) == bool(self.missing):
            raise ReportError("give either values or the reason why they are missing", where=where)
        if self.values and len(self.values) < SEEDS and not self.one_seed_reason:
            raise ReportError(
                f"{len(self.values)} of {SEEDS} seeds", where=where, remedy="set one_seed_reason"
            )
        figures = [*self.values, *(() if self.published is None else (self.published,))]
        figures += [each for each in self.extra.values() if not isinstance(each, str)]
        if not all(_finite(each) for each in figures):
            raise ReportError("a figure is not a finite number", where=where)
        if self.published is not None and not self.published_on:
            raise ReportError("published_on is empty", where=where, remedy="name data and split")
        if self.published is not None and self.values and not self.differs:
            raise ReportError(
                "differs is empty", where=where, remedy="say what differs from the published one"
            )

    @property
    def mean(self) -> float | None:
        """Return the mean of our values, None without any."""
        return mean(self.values) if self.values else None

    @property
    def spread(self) -> float | None:
        """Return the sample standard deviation over the seeds, None with fewer than two values."""
        return stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True)
class Table:
    """A result file; raises ReportError if it names no command or data, or has no rows."""

    command: str
    data: str
    """Which data and which split, in a sentence."""
    rows: Sequence[Row]
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Check the table; raises ReportError."""
        for name in ("command", "data", "rows"):
            if not getattr(self, name):
                raise ReportError(f'"{name}" is empty', where=self.command or "a table")


def write_table(name: str, table: Table, folder: Path = RESULTS) -> Path:
    """Write `table` to `folder`/`name`.json, atomically and durably; return the path.

    The time of the running command is written beside it, if it is timed. Raises StorageError when
    writing fails.
    """
    path = folder / f"{name}.json"
    write_json(path, asdict(table))
    keep_time(folder)
    return path


def read_table(path: Path) -> Table:
    """Read and check a result file; raises ReportError, which names the file and the row."""
    found = read_object(path)
    known = {each.name for each in fields(Row)}
    try:
        rows = found.pop("rows")
        for row in rows:
            if unknown := set(row) - known:
                raise ReportError(f'unknown key "{min(unknown)}"', where=row.get("system", "a row"))
        return Table(rows=tuple(Row(**row) for row in rows), **found)
    except ReportError as error:
        raise ReportError(str(error), where=path) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise ReportError(
            f"not a table of the papers: {error}", where=path, remedy="run its command again"
        ) from error


def read_tables(folder: Path = RESULTS) -> dict[str, Table]:
    """Read every result file of `folder`, name to table, sorted by name; raises ReportError."""
    return {path.stem: read_table(path) for path in sorted(folder.glob("*.json"))}


def _finite(figure: Any) -> bool:
    number = isinstance(figure, int | float) and not isinstance(figure, bool)
    return number and math.isfinite(figure)
