"""The form of the registry: a system that a paper names."""

from __future__ import annotations

from dataclasses import dataclass

from edge_runtime.errors import ReportError


@dataclass(frozen=True)
class Named:
    """A system of the papers; raises ReportError unless it runs or says why it does not."""

    name: str
    section: str
    """Where it is named: "seed, Table 3" or "survey, 1.2.3"."""
    refs: tuple[int, ...] = ()
    """Its references in the survey's list."""
    table: str = ""
    """The result file with its rows, without suffix."""
    rows: tuple[str, ...] = ()
    """How its rows start in the column "system"; () for all rows of the table."""
    elsewhere: str = ""
    """Where else it runs, in a sentence with a link; the tables are then not needed."""
    missing: str = ""
    """Why it does not run, in a sentence."""

    def __post_init__(self) -> None:
        """Check the entry; raises ReportError."""
        if bool(self.missing) == bool(self.table or self.elsewhere):
            raise ReportError(
                "name either where it runs or the reason why it does not", where=self.name
            )
