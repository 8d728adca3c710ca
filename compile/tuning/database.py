"""Tuning records: the best schedule that a search found for each workload of a target.

There is one JSON file per target and precision, profiles/tuning/TARGET/PRECISION.json. It is
rewritten after every improvement, so an interrupted search loses nothing. With the same records a
compile takes seconds and gives the same bytes.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from compile.cache import write_text
from compile.codegen.workloads import ScheduleConfig, Workload
from compile.kernels.separable import BlockConfig
from compile.kernels.stem import StemConfig
from compile.target.description import HOST, TUNING, Target, tuned_by
from edge_runtime.errors import CompileError

FORMAT = 1


@dataclass(frozen=True)
class Record:
    """The best schedule of one workload."""

    config: ScheduleConfig
    cost: float
    unit: str
    """us: CPU time on the device. cycles: estimated from the counts of the emulated CPU."""
    trials: int


class Records:
    """The records of one target and precision."""

    def __init__(self, path: Path, start: Path | None = None) -> None:
        """Read the file `path` or, while it does not exist, `start`."""
        self.path = path
        self.best: dict[str, Record] = {}
        for file in (path, start):
            if file and file.exists():
                self._read(file)
                break

    @classmethod
    def for_target(cls, target: Target, precision: str, folder: Path = TUNING) -> Records:
        """Return the records of `target`, or of the device that it is tuned like."""
        name = f"{HOST}-{target.cpu}" if target.is_host else target.name
        file = f"{precision}.json"
        return cls(folder / name / file, folder / tuned_by(target, precision, folder).name / file)

    def _read(self, path: Path) -> None:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise ValueError(f"format {content['format']} is not the supported {FORMAT}")
            for key, entry in content["best"].items():
                kind = StemConfig if key.startswith("stem") else BlockConfig
                self.best[key] = Record(
                    kind(**entry["knobs"]), entry["cost"], entry["unit"], entry["trials"]
                )
        except (KeyError, TypeError, ValueError) as error:
            raise CompileError(
                f"not a file of tuning records: {error}",
                where=path,
                remedy="delete it; the next compile searches again",
            ) from error

    def get(self, workload: Workload) -> Record | None:
        """Return the record of `workload`, or None."""
        return self.best.get(workload.key)

    def put(self, workload: Workload, record: Record) -> None:
        """Store `record`, also on disk; raises `StorageError`."""
        self.best[workload.key] = record
        entries: dict[str, Any] = {
            key: {
                "knobs": asdict(record.config),
                "cost": round(record.cost, 3),
                "unit": record.unit,
                "trials": record.trials,
            }
            for key, record in sorted(self.best.items())
        }
        text = json.dumps({"format": FORMAT, "best": entries}, indent=1) + "\n"
        write_text(self.path, text)
