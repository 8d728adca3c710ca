"""Each claim of the threat model points to the test that shows it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.processes import ROOT

MODEL, FLEET = ROOT / "docs" / "THREAT_MODEL.md", ROOT / "docs" / "FLEET.md"
REFERENCE = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
CLAIMS = ("## Who may do what", "## What is checked")
"""Sections whose tables have a column with tests."""


@pytest.mark.parametrize("page", [MODEL, FLEET])
def test_every_named_test_exists(page: Path) -> None:
    named = REFERENCE.findall(page.read_text(encoding="utf-8"))
    assert len(named) > 15
    for file, name in named:
        source = (ROOT / file).read_text(encoding="utf-8")
        assert re.search(rf"^(?:async )?def {name}\(", source, re.MULTILINE), f"{file}::{name}"


def test_every_claim_names_a_test() -> None:
    sections = re.split(r"^(?=## )", MODEL.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for heading in CLAIMS:
        (section,) = (part for part in sections if part.startswith(heading))
        rows = [line for line in section.splitlines() if line.startswith("| ")][2:]
        assert len(rows) >= 5
        for row in rows:
            assert REFERENCE.search(row), row


def test_security_points_to_the_threat_model() -> None:
    assert "(docs/THREAT_MODEL.md)" in (ROOT / "SECURITY.md").read_text(encoding="utf-8")
