"""What the tests of roll-outs share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fleet.releases import Board


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    return Board(tmp_path, monkeypatch)
