"""The shared sets of real photos. They are not part of the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.processes import ROOT


def shared(name: str) -> Path:
    """Return the folder of a shared photo set; without it, skip the test and name the set."""
    base = Path(os.environ.get("EDGE_RUNTIME_DATA", ROOT.parent / "shared" / "data"))
    if not (base / name / "manifest.csv").exists():
        pytest.skip(f"photo set {name} is not in {base}; set EDGE_RUNTIME_DATA to its parent")
    return base / name
