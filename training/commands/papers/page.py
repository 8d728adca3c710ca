"""Generate docs/results/PAPERS.md from the result files in training/results/papers/.

\b
    python -m training papers page            write the page
    python -m training papers page --check    exit with code 9 if it is out of date
"""

from __future__ import annotations

import sys

import click

from edge_runtime.errors import EXIT_CHECK_FAILED
from training.cli import log, report_errors
from training.files import write_bytes
from training.papers.page import PAGE, document


@click.command(help=__doc__)
@click.option("--check", is_flag=True, help="Compare the page instead of writing it.")
@report_errors
def main(check: bool) -> None:
    """Run the command."""
    text = document()
    if not check:
        write_bytes(PAGE, text.encode())
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        log(f"{PAGE.name} is out of date: run the command without --check")
        sys.exit(EXIT_CHECK_FAILED)
