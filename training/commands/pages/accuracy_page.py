"""Generate docs/results/ACCURACY.md and the cards in models/ from the committed result files.

\b
    python -m training accuracy-page            write the files
    python -m training accuracy-page --check    exit with code 9 if one of them is out of date
"""

from __future__ import annotations

import sys

import click

from edge_runtime.errors import EXIT_CHECK_FAILED
from training.cli import log, report_errors
from training.files import write_bytes
from training.reports.accuracy import (
    ROOT,
    document,
    load,
)
from training.reports.general import general_card
from training.reports.model_card import card


@click.command(help=__doc__)
@click.option("--check", is_flag=True, help="Compare the files instead of writing them.")
@report_errors
def main(check: bool) -> None:
    """Run the command."""
    texts = {
        ROOT / "docs" / "results" / "ACCURACY.md": document(),
        ROOT / "models" / "MODEL_CARD.md": general_card(
            load("shipped_general"),
            load("build_model_general"),
            load("shipped_general_int8"),
            load("commands"),
        ),
        ROOT / "models" / "SPECIALIST_CARD.md": card(
            load("shipped"), load("build_model"), load("shipped_int8"), load("commands")
        ),
    }
    stale = 0
    for path, text in texts.items():
        if check:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                stale += 1
                log(f"{path.relative_to(ROOT)} is out of date: run the command without --check")
        else:
            write_bytes(path, text.encode())
    sys.exit(EXIT_CHECK_FAILED if stale else 0)
