"""The files that a run on a device leaves in profiles/reports/TARGET/ or in the folder of --out:

    report-DATE.json     the profile, as the device wrote it
    summary-DATE.txt     device, bundle and outcomes; states whether the run is complete
    junit-DATE.xml       the outcomes in machine-readable form

DATE is UTC. Files of an emulated device have `emulated-` before the date, so that they are never
taken for a measurement.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from device_tests.devices.base import ROOT, Device
from edge_runtime import __version__
from edge_runtime.errors import BoardError
from edge_runtime.trust.manifest import read_manifest

if TYPE_CHECKING:
    from compile.target.description import Target

EMULATED = "EMULATED: its times do not apply to a board"


@dataclass(frozen=True)
class Outcome:
    """The outcome of one test."""

    name: str
    verdict: str
    """"passed", "failed" or "skipped"."""
    seconds: float
    why: str = ""


class Results:
    """A pytest plugin that holds the device under test and collects the outcomes."""

    NAME: ClassVar[str] = "device-test-results"

    def __init__(self, folder: Path, target: Target, device: Device, bundle: Path) -> None:
        self.__name__ = self.NAME  # the name under which pytest registers the plugin
        self.folder, self.target, self.device, self.bundle = folder, target, device, bundle
        mark = "emulated-" if device.emulated else ""
        self.stamp = mark + time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime())
        self.outcomes: list[Outcome] = []
        self.notes: list[str] = []
        self.collected = 0
        self.board_error: BoardError | None = None

    def path(self, kind: str, suffix: str) -> Path:
        """Return the path of a file of this run, such as path("report", "json")."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"{kind}-{self.stamp}.{suffix}"

    def fetch_report(self, remote: str) -> dict[str, Any]:
        """Fetch the profile that the device wrote to `remote` and return its content."""
        path = self.path("report", "json")
        self.device.get(remote, path)
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        brands = report.setdefault("brands", [])
        if self.device.emulated and not any(brand["name"] == "emulated" for brand in brands):
            brands.append(
                {"name": "emulated", "detail": "the emulated system identified itself as a board"}
            )
            report["measurement"] = report["met"] = False
            path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        self.notes.append(f"profile: {path}")
        return report

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count the tests of the run."""
        self.collected = len(session.items)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Report a lost board as one line instead of a traceback, and end the run."""
        report = yield
        if call.excinfo and isinstance(call.excinfo.value, BoardError):
            self.board_error = call.excinfo.value
            item.session.shouldstop = str(self.board_error)
            report.longrepr = str(self.board_error)
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record the outcome of a test."""
        if report.when == "call" or report.outcome != "passed":
            why = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
            name = report.nodeid.partition("::")[2]
            self.outcomes.append(Outcome(name, report.outcome, report.duration, why))

    @property
    def complete(self) -> bool:
        """Whether every test was run."""
        return not self.board_error and 0 < self.collected <= len({o.name for o in self.outcomes})

    def write(self) -> Path:
        """Write the summary and return its path."""
        info, stamp = self.device.info, self.stamp.removeprefix("emulated-")
        manifest = read_manifest(self.bundle)
        model = manifest["model"]
        lines = [
            f"device test of {self.target.name}, {stamp}",
            f"device   {self.device.name}: {info.model}, {info.machine}, {info.cores} cores",
            f"system   {info.system}, Python {info.python}",
            f"runtime  {__version__}, {_commit()}",
            f"bundle   {model['name']} {model['version']} ({model['id'][:12]}), "
            f"{manifest['precision']}, for {manifest['target']['cpu']}",
        ]
        lines += [EMULATED] if self.device.emulated else []
        if not self.complete:
            done = len({outcome.name for outcome in self.outcomes})
            why = self.board_error or "interrupted"
            lines.append(f"INCOMPLETE: {done} of {self.collected} tests ran: {why}")
        lines += ["", *self.notes]
        for outcome in self.outcomes:
            why = f" ({outcome.why.removeprefix('Skipped: ')})" if outcome.why else ""
            lines.append(f"{outcome.verdict:<8}{outcome.seconds:>7.1f} s  {outcome.name}{why}")
        path = self.path("summary", "txt")
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return f"commit {done.stdout.strip()}" if done.returncode == 0 else "unknown commit"
