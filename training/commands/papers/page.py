"""Generate docs/results/PAPERS.md from the result files in training/results/papers/.

\b
    python -m training papers page            write the page
    python -m training papers page --check    exit with code 9 if it is out of date
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from edge_runtime.errors import EXIT_CHECK_FAILED
from training.cli import log, report_errors
from training.files import write_bytes
from training.papers.page import PAGE, document
from training.papers.rows import RESULTS, read_tables
from training.papers.times import read_times


@click.command(help=__doc__)
@click.option("--check", is_flag=True, help="Compare the page instead of writing it.")
@click.option("--results", type=Path, default=RESULTS, help="Folder of the result files.")
@click.option("--out", type=Path, default=PAGE, help="The page.  [default: docs/results/PAPERS.md]")
@report_errors
def main(check: bool, results: Path, out: Path) -> None:
    """Run the command."""
    text = document(read_tables(results), read_times(results))
    if not check:
        write_bytes(out, text.encode())
    elif not out.exists() or out.read_text(encoding="utf-8") != text:
        log(f"{out.name} is out of date: run the command without --check")
        sys.exit(EXIT_CHECK_FAILED)
