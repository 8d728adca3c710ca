"""List the reports of a folder by date, each compared with its predecessor."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge_runtime.errors import ReportError
from edge_runtime.report.compare import compare
from edge_runtime.report.file import read_report
from edge_runtime.report.schema import Report


@dataclass(frozen=True)
class Entry:
    """One line of the history. None: the report does not contain the value."""

    made_at: str
    file: str
    device: str
    engine: str
    model: str
    commit: str | None
    query_p50_ms: float | None
    query_p99_ms: float | None
    cold_start_ms: float | None
    peak_rss_bytes: int | None
    verdict: str
    """"met", "missed", or why the run is not a valid measurement."""
    change: str | None
    """Verdict against the previous report of the same device, engine, model and images; None if
    there is none."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    def cells(self) -> list[str]:
        """Return the cells of a table row."""

        def number(value: float | None, digits: int = 0) -> str:
            return "" if value is None else f"{value:.{digits}f}"

        return [
            self.made_at[:19].replace("T", " "),
            self.file,
            self.device,
            self.engine,
            self.model,
            (self.commit or "")[:8],
            number(self.query_p50_ms, 2),
            number(self.query_p99_ms, 2),
            number(self.cold_start_ms),
            number(None if self.peak_rss_bytes is None else self.peak_rss_bytes / 1e6),
            self.verdict,
            self.change or "",
        ]


def read_history(folder: Path) -> tuple[list[Entry], list[ReportError]]:
    """Read all reports in `folder` (*.json, recursively, without hidden and installed folders).

    Returns their entries, and the errors of files that could not be read. Raises `ReportError` if
    there is no report at all.
    """
    reports: list[tuple[Path, Report]] = []
    errors: list[ReportError] = []
    for path in sorted(_files(folder)):
        try:
            reports.append((path, read_report(path)))
        except ReportError as error:
            errors.append(error)
    if not reports:
        raise (
            errors[0]
            if errors
            else ReportError(
                "contains no reports",
                where=folder,
                remedy="create one with: edge-runtime profile --out FILE",
            )
        )
    reports.sort(key=lambda item: made_at(item[1]))
    latest: dict[tuple[object, ...], Report] = {}
    entries = []
    for path, report in reports:
        before = latest.get(_kind(report))
        if report.warm:  # a run that ended before its first sample cannot be compared
            latest[_kind(report)] = report
        entries.append(_entry(str(path.relative_to(folder)), report, before))
    return entries, errors


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files that may be reports. Environments hold thousands of other JSON files."""
    for parent, folders, files in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".")
            and name not in ("node_modules", "__pycache__")
            and not Path(parent, name, "pyvenv.cfg").exists()
        ]
        yield from (Path(parent, name) for name in files if name.endswith(".json"))


def made_at(report: Report) -> datetime:
    """Return when the run of `report` began; the earliest date if the report does not contain it.

    Times are compared with their zones: boards and workstations may be in different ones, and the
    zone changes between summer and winter.
    """
    try:
        began = datetime.fromisoformat(report.made_at)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return began if began.tzinfo else began.replace(tzinfo=UTC)


def _kind(report: Report) -> tuple[object, ...]:
    device, engine, images = report.device, report.engine, report.input
    return (
        *(device.model, device.cpu, engine.name, engine.precision, engine.thread_count),
        *(report.model.id, images.kind, images.width_pixels, images.height_pixels),
        *(report.protocol.pace, report.protocol.pace_per_s, report.protocol.gate, engine.target),
    )


def _entry(file: str, report: Report, before: Report | None) -> Entry:
    change = None
    if before is not None and before.warm and report.warm:
        result = compare(before, report)
        change = result.verdict + (f" ({', '.join(result.stages)})" if result.stages else "")
    verdict = "met" if report.met else "missed"
    if not report.measurement:
        verdict = ", ".join(flag.name for flag in report.brands)
    query = report.warm.stages["query"] if report.warm else None
    return Entry(
        made_at=report.made_at,
        file=file,
        device=report.device.model or report.device.cpu or report.device.machine,
        engine=report.engine.name + (f" {report.engine.precision or ''}".rstrip()),
        model=f"{report.model.name} {report.model.release}",
        commit=report.program.commit,
        query_p50_ms=query.p50_ms if query else None,
        query_p99_ms=query.p99_ms if query else None,
        cold_start_ms=report.cold.total_ms if report.cold else None,
        peak_rss_bytes=report.memory.peak_rss_bytes if report.memory else None,
        verdict=verdict,
        change=change,
    )
