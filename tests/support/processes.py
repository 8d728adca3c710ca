"""The repository, and the command as a real process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def patience() -> float:
    """How much longer things may take because of what else runs here: runnable threads a core."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def run_cli(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """`edge-runtime ARGUMENTS` as a real process."""
    return subprocess.run(
        [sys.executable, "-m", "edge_runtime", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, **variables},
    )
