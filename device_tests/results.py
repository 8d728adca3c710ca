"""What a run on a device leaves behind, in profiles/reports/TARGET/ or wherever it is told to:

    report-DATE.json     the profile, as the device wrote it
    summary-DATE.txt     which device, which bundle, what passed; says so if it is not complete
    junit-DATE.xml       the same for machines

DATE is UTC. What an emulated device says has `emulated-` before the date, so that it is never taken
for a measurement.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from device_tests.devices.base import ROOT, Device
from edge_runtime import __version__
from edge_runtime.bundle import read_manifest
from edge_runtime.errors import BoardError

if TYPE_CHECKING:
    from compile.target.description import Target

EMULATED = "EMULATED: its times say nothing about a board"


@dataclass(frozen=True)
class Outcome:
    """Of one test."""

    name: str
    verdict: str
    """passed, failed, skipped."""
    seconds: float
    why: str = ""


class Results:
    """What is tested on what, and what came of it. A plugin of pytest's."""

    NAME: ClassVar[str] = "device-test-results"

    def __init__(self, folder: Path, target: Target, device: Device, bundle: Path) -> None:
        self.__name__ = self.NAME  # by which pytest registers it
        self.folder, self.target, self.device, self.bundle = folder, target, device, bundle
        mark = "emulated-" if device.emulated else ""
        self.stamp = mark + time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime())
        self.outcomes: list[Outcome] = []
        self.notes: list[str] = []
        self.selected = 0
        self.lost: BoardError | None = None

    def path(self, kind: str, suffix: str) -> Path:
        """A file of this run."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"{kind}-{self.stamp}.{suffix}"

    def keep_report(self, place: str) -> dict[str, Any]:
        """Fetch the profile that the device wrote to `place`; its content."""
        path = self.path("report", "json")
        self.device.get(place, path)
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        brands = report.setdefault("brands", [])
        if self.device.emulated and not any(brand["name"] == "emulated" for brand in brands):
            brands.append({"name": "emulated", "detail": "the guest took itself for a board"})
            report["measurement"] = report["met"] = False
            path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        self.notes.append(f"the profile is {path}")
        return report

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """How many there will be."""
        self.selected = len(session.items)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Iterator[None]:
        """A board that went away is one line, not a traceback, and the end of the run."""
        report: Any = yield
        if call.excinfo and isinstance(call.excinfo.value, BoardError):
            self.lost = call.excinfo.value
            item.session.shouldstop = str(self.lost)
            report.longrepr = str(self.lost)
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the outcome."""
        if report.when == "call" or report.outcome != "passed":
            why = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
            name = report.nodeid.partition("::")[2]
            self.outcomes.append(Outcome(name, report.outcome, report.duration, why))

    @property
    def complete(self) -> bool:
        """Whether every test had its turn."""
        return not self.lost and 0 < self.selected <= len({o.name for o in self.outcomes})

    def write(self) -> Path:
        """The summary, complete or not."""
        about, stamp = self.device.about, self.stamp.removeprefix("emulated-")
        manifest = read_manifest(self.bundle)
        model = manifest["model"]
        lines = [
            f"device test of {self.target.name}, {stamp}",
            f"device   {self.device.name}: {about.model}, {about.machine}, {about.cores} cores",
            f"system   {about.system}, Python {about.python}",
            f"runtime  {__version__}, {_commit()}",
            f"bundle   {model['name']} {model['version']} ({model['id'][:12]}), "
            f"{manifest['precision']}, for {manifest['target']['cpu']}",
        ]
        lines += [EMULATED] if self.device.emulated else []
        if not self.complete:
            done = len({outcome.name for outcome in self.outcomes})
            why = self.lost or "interrupted"
            lines.append(f"INCOMPLETE: {done} of {self.selected} tests were run: {why}")
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
    return f"commit {done.stdout.strip()}" if done.returncode == 0 else "no commit"
