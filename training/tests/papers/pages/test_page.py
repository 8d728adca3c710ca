"""docs/results/PAPERS.md is generated, and names every system of the papers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge_runtime.errors import ReportError
from training.__main__ import main
from training.commands.papers import VERBS
from training.papers.page import PAGE, SECTIONS, TITLES, document, where
from training.papers.registry.named import Named
from training.papers.rows import Row, Table, read_tables
from training.tests.conftest import ROOT

REGISTRY = [system for _, systems in SECTIONS for system in systems]
CITED = set(range(1, 84))
"""References of the survey."""
SURVEY = ROOT.parent / "shared" / "papers" / "001_ad014083350ceedb.txt"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == document()
    assert CliRunner().invoke(main, ["papers", "page", "--check"]).exit_code == 0


def test_the_registry_covers_every_reference() -> None:
    listed = {ref for system in REGISTRY for ref in system.refs}
    assert listed == CITED, (CITED - listed, listed - CITED)


def test_the_references_are_those_of_the_survey() -> None:
    if not SURVEY.exists():
        pytest.skip(f"{SURVEY} is absent")
    text = SURVEY.read_text(encoding="utf-8")
    body = text[text.index("1.1 Introduction") : text.index("4 Conclusions")]
    found: set[int] = set()
    for inside in re.findall(r"\[([0-9, ]+)\]", body):
        for word in inside.replace(" ", "").split(","):  # "1012" was "10-12" in print
            half = (len(word) + 1) // 2 if len(word) > 2 else len(word)
            cut = len(word) - half if len(word) == 3 else half
            first, last = (word[:cut], word[cut:]) if len(word) > 2 else (word, word)
            found |= set(range(int(first), int(last) + 1)) if word else set()
    assert found | {2, 3, 4} == CITED  # "2-4" became "24"


def test_the_seed_papers_tables_are_covered() -> None:
    names = " ".join(f"{system.name} {' '.join(system.rows)}" for system in REGISTRY)
    for name in ("VHB", "SSFS", "DLBH", "SSDH", "AlexNet", "SqueezeNet", "GoogleNet", "VGG-16",
                 "MobileNet", "this paper's network", "CNNH", "DNNH", "DSRH", "DRSCH", "DSCH",
                 "BDNN", "DPSH", "DHN", "DH", "DeepBit", "HashNet", "GreedyHash", "OrthoHash",
                 "CSQ", "CIBHash", "Quantized CNN"):  # fmt: skip
        assert name in names, name


def test_an_entry_runs_or_says_why_not() -> None:
    for broken in (
        {"table": "x", "missing": "y"},
        {},
    ):
        with pytest.raises(ReportError, match="where it runs"):
            Named("a", "survey, 1", (), **broken)  # type: ignore[arg-type]


def test_a_system_without_rows_is_visible() -> None:
    system = Named("DPSH", "survey", (), "cifar10", ("DPSH",))
    row = Row("DPSH", "s", "12 bits", "MAP (%)", missing="not run")
    other = Row("DHN", "s", "12 bits", "MAP (%)", values=(1.0, 2.0, 3.0))
    assert where(system, {}) == "**not finished**: `python -m training papers cifar10`"
    for rows, words in (((other,), "**missing**: no row"), ((row,), "**not finished**")):
        assert where(system, {"cifar10": Table("c", "d", rows)}).startswith(words)


def test_rows_are_shown_with_spread_reason_and_difference() -> None:
    rows = (
        Row("DPSH", "Li", "12 bits", "MAP (%)", 71.3, "split I", (70.0, 71.0, 72.0),
            differs="other backbone", extra={"bytes_per_code": 2}),
        Row("DHN", "Zhu", "12 bits", "MAP (%)", values=(50.0,), one_seed_reason="1 of 3 seeds"),
        Row("CSQ", "Yuan", "12 bits", "MAP (%)", missing="not run"),
    )  # fmt: skip
    text = document({"cifar10": Table("python -m training papers cifar10", "data", rows)})
    assert "| system | setting | published MAP (%) | MAP (%) | bytes per code |" in text
    assert "| DPSH (Li) | 12 bits | 71.3 | 71.0 ± 1.0 | 2 |" in text
    assert "50.0 (1 of 3 seeds)" in text and "missing: not run" in text
    assert "- DPSH: Other backbone." in text and "- DPSH: Split I." in text
    assert "    python -m training papers cifar10\n" in text


def test_every_result_file_has_a_title_and_a_verb() -> None:
    for name in read_tables():
        assert name in TITLES and name.replace("_", "-") in VERBS, name


def test_every_verb_has_help_with_an_example() -> None:
    for verb in VERBS:
        done = CliRunner().invoke(main, ["papers", verb, "--help"], prog_name="python -m training")
        assert done.exit_code == 0, done.output
        assert f"python -m training papers {verb}" in done.output.partition("\n")[2]


def test_links_to_sections_lead_somewhere() -> None:
    text = Path(PAGE).read_text(encoding="utf-8")
    headings = {
        "".join(c for c in line[3:].lower() if c.isalnum() or c in " -").replace(" ", "-")
        for line in text.splitlines()
        if line.startswith("## ")
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= headings
