"""docs/results/PAPERS.md is generated."""

from __future__ import annotations

from click.testing import CliRunner

from training.__main__ import main
from training.commands.papers import VERBS
from training.papers.page import PAGE, document


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == document()
    assert CliRunner().invoke(main, ["papers", "page", "--check"]).exit_code == 0


def test_every_verb_has_help_with_an_example() -> None:
    for verb in VERBS:
        done = CliRunner().invoke(main, ["papers", verb, "--help"], prog_name="python -m training")
        assert done.exit_code == 0, done.output
        assert f"python -m training papers {verb}" in done.output.partition("\n")[2]
