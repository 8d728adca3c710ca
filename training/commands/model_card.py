"""A model's card, generated from its result files.

    python -m training model-card --evaluation FILE.json --evidence SHIP.json --out CARD.md

The shipped model's, models/MODEL_CARD.md, is written by training/accuracy beside the document.
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
@click.option("--evaluation", type=Path, required=True, help="Of training.eval.evaluate.")
@click.option("--evidence", type=Path, required=True, help="Of training.hash_layer.build_model.")
@click.option("--small", type=Path, help="Of training.eval.evaluate, for the int8 version.")
@click.option("--out", type=Path, required=True)
@report_errors
def main(evaluation: Path, evidence: Path, small: Path | None, out: Path) -> None:
    """Command: see the module."""
    text = card(read(evaluation), read(evidence), read(small), None)
    write_bytes(out, text.encode())
