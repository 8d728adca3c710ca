"""Generate the card of a model from its result files.

\b
    python -m training model-card --evaluation FILE.json --evidence BUILT.json --out CARD.md

`python -m training accuracy-page` writes the card of the shipped model, models/MODEL_CARD.md.
"""

from __future__ import annotations

from pathlib import Path

import click

from training.cli import report_errors
from training.files import write_bytes
from training.reports.model_card import (
    card,
    read,
)


@click.command(help=__doc__)
@click.option("--evaluation", type=Path, required=True, help="JSON of `evaluate`.")
@click.option("--evidence", type=Path, required=True, help="JSON of `build-model --evidence`.")
@click.option("--small", type=Path, help="JSON of `evaluate` for the int8 version.")
@click.option("--out", type=Path, required=True)
@report_errors
def main(evaluation: Path, evidence: Path, small: Path | None, out: Path) -> None:
    """Run the command."""
    text = card(read(evaluation), read(evidence), read(small), None)
    write_bytes(out, text.encode())
