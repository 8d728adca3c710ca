"""What one compile is asked for, and what it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compile.target.description import Target
from compile.tuning.search import Told


@dataclass
class Request:
    """What is to be compiled, and how hard to try."""

    model: Path
    target: Target
    out: Path
    """The folder of the bundle, and with .tar.gz added its archive."""
    precision: str = "fp32"
    """Or fp16."""
    trials: int | None = None
    """None: search only where there is no record."""
    runner: str = ""
    """local, emulator or rpc:HOST:PORT; empty: what fits the target."""
    search: str = "neighbours"
    """Or metaschedule."""
    photos: Path | None = None
    pictures: int = 0
    """How many to prove parity on; 0: 1,000 here, 8 on the emulator (seconds each). A proof on as
    many as were asked for is kept for others: compile/verify/evidence_store.py."""
    records: Path | None = None
    tell: Callable[[str], None] = field(default=lambda text: None)
    progress: Told = field(default=lambda workload, count, best: None)


@dataclass(frozen=True)
class Result:
    """What came of it."""

    bundle: Path
    promoted: bool
    evidence: dict[str, Any]
