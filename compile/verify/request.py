"""The input and the result of one compile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from compile.target.description import Target
from compile.tuning.search import TrialCallback


@dataclass
class Request:
    """The options of one compile."""

    model: Path
    target: Target
    out: Path
    """Folder of the bundle. Its archive gets the same name with .tar.gz appended."""
    precision: str = "fp32"
    """fp32, fp16 or int8."""
    trials: int | None = None
    """Trials per workload. None: search only the workloads that have no tuning record."""
    runner: str = ""
    """local, emulator or rpc:HOST:PORT. Empty: the one that fits the target."""
    search: str = "neighbors"
    """Search strategy: neighbors or metaschedule."""
    photos: Path | None = None
    """Folder of photos to calibrate and verify on. None: those of scikit-image."""
    pictures: int = 0
    """Pictures to verify parity on. 0: 1,000 on this machine, 8 on the emulator, where each takes
    seconds. Evidence on an explicit number is stored for other machines
    (compile/verify/evidence_store.py)."""
    records: Path | None = None
    """Folder of the tuning records. None: profiles/tuning."""
    log: Callable[[str], None] = field(default=lambda text: None)
    """Receives progress messages."""
    on_trial: TrialCallback = field(default=lambda workload, count, best: None)


@dataclass(frozen=True)
class Result:
    """A finished bundle and its evidence."""

    bundle: Path
    status: Literal["verified", "unverified", "rejected"]
    """verified: equal to ONNX Runtime and faster. unverified: not checked, for lack of an emulator.
    rejected: checked, and not equal or not faster."""
    evidence: dict[str, Any]
