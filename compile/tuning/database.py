"""Records: the best choice that a search found for each workload of a target.

One JSON file a target and precision, profiles/tuning/TARGET/PRECISION.json, written whole after
every improvement, so that a search that was stopped keeps what it found. With the same records a
compile takes seconds and gives the same bytes.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from compile.cache import write_whole
from compile.codegen.plan import ScheduleConfig, Workload
from compile.kernels import separable, stem
from compile.target.description import HOST, TUNING, Target, tuned_by
from edge_runtime.errors import CompileError

FORMAT = 1


@dataclass(frozen=True)
class Record:
    """What was found for one workload."""

    knobs: ScheduleConfig
    cost: float
    unit: str
    """us: CPU time on the device. cycles: an estimate from the emulated CPU's counts."""
    trials: int


class Records:
    """The records of one target and precision."""

    def __init__(self, path: Path, start: Path | None = None) -> None:
        """Those in the file `path`; while there is none, those in `start`."""
        self.path = path
        self.best: dict[str, Record] = {}
        for file in (path, start):
            if file and file.exists():
                self._read(file)
                break

    @classmethod
    def of(cls, target: Target, precision: str, folder: Path = TUNING) -> Records:
        """Those of `target`, or of the device that it is tuned like."""
        name = f"{HOST}-{target.cpu}" if target.is_host else target.name
        file = f"{precision}.json"
        return cls(folder / name / file, folder / tuned_by(target, precision, folder).name / file)

    def _read(self, path: Path) -> None:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise ValueError(f"format {content['format']} is not the supported {FORMAT}")
            for key, entry in content["best"].items():
                kind = stem.StemConfig if key.startswith("stem") else separable.ScheduleConfig
                self.best[key] = Record(
                    kind(**entry["knobs"]), entry["cost"], entry["unit"], entry["trials"]
                )
        except (KeyError, TypeError, ValueError) as error:
            raise CompileError(
                f"not a file of tuning records: {error}",
                where=path,
                remedy="delete it; the next compile searches anew",
            ) from error

    def get(self, workload: Workload) -> Record | None:
        """The record of `workload`, if there is one."""
        return self.best.get(workload.key)

    def put(self, workload: Workload, record: Record) -> None:
        """Keep `record`, on disk too; raises `StorageError`."""
        self.best[workload.key] = record
        entries: dict[str, Any] = {
            key: {
                "knobs": asdict(record.knobs),
                "cost": round(record.cost, 3),
                "unit": record.unit,
                "trials": record.trials,
            }
            for key, record in sorted(self.best.items())
        }
        text = json.dumps({"format": FORMAT, "best": entries}, indent=1) + "\n"
        write_whole(self.path, text)
