"""Reports of a folder in the order that they were made, each beside its predecessor."""

from __future__ import annotations

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
    """One report in a line. None: it does not say."""

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
    """"met", "missed", or why it is no measurement."""
    change: str | None
    """Against the latest one before it of the same device, engine, model and pictures; None: there
    is none."""

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)

    def cells(self) -> list[str]:
        """For a table."""

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
    """Entries of the reports in `folder` (*.json, below it too), and what could not be read.

    Raises `ReportError` where there is no report at all.
    """
    reports: list[tuple[Path, Report]] = []
    faults: list[ReportError] = []
    for path in sorted(folder.rglob("*.json")):
        try:
            reports.append((path, read_report(path)))
        except ReportError as error:
            faults.append(error)
    if not reports:
        raise (
            faults[0]
            if faults
            else ReportError(
                "no reports in it", where=folder, remedy="edge-runtime profile --out FILE makes one"
            )
        )
    reports.sort(key=lambda item: made_at(item[1]))
    latest: dict[tuple[object, ...], Report] = {}
    entries = []
    for path, report in reports:
        before = latest.get(_kind(report))
        if report.warm:  # one that was cut short before its first sample is nothing to compare with
            latest[_kind(report)] = report
        entries.append(_entry(str(path.relative_to(folder)), report, before))
    return entries, faults


def made_at(report: Report) -> datetime:
    """When `report` was begun: boards and workstations have clocks of different zones, or change
    between summer and winter. One that does not say comes first."""
    try:
        made = datetime.fromisoformat(report.made_at)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return made if made.tzinfo else made.replace(tzinfo=UTC)


def _kind(report: Report) -> tuple[object, ...]:
    device, engine, pictures = report.device, report.engine, report.input
    return (
        *(device.model, device.cpu, engine.name, engine.precision, engine.thread_count),
        *(report.model.id, pictures.kind, pictures.width_pixels, pictures.height_pixels),
        *(report.protocol.pace, report.protocol.pace_per_s, report.protocol.gate, engine.target),
    )


def _entry(file: str, report: Report, before: Report | None) -> Entry:
    change = None
    if before is not None and before.warm and report.warm:
        found = compare(before, report)
        change = found.verdict + (f" ({', '.join(found.stages)})" if found.stages else "")
    verdict = "met" if report.met else "missed"
    if not report.measurement:
        verdict = ", ".join(brand.name for brand in report.brands)
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
