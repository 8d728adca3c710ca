"""`edge-runtime gallery`: fit to what is enrolled."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from edge_runtime.cli.common import (
    busy,
    echo,
    engine_options,
    gallery_option,
    json_option,
    print_json,
)


@click.command("refit")
@gallery_option
@engine_options
@click.option("--bits", type=click.IntRange(16, 256), default=64, show_default=True)
@click.option("--dry-run", is_flag=True, help="Judge the new code, and change nothing.")
@json_option
def refit_code(
    gallery: Path, model: Path | None, threads: int, bits: int, dry_run: bool, as_json: bool
) -> None:
    """Fit the code to what is enrolled, and keep it if it finds more.

    One picture of each label is left out and searched for with both codes. No photos are needed.
    """
    from edge_runtime.engine import open_engine
    from edge_runtime.fitting.prior import prior_of
    from edge_runtime.gallery import Gallery

    engine = open_engine(model, threads=threads)
    with Gallery(gallery, engine.model, read_only=dry_run) as opened, busy("fitting the code"):
        outcome = opened.refit(bits, prior_of(engine.model), dry_run=dry_run)
    if as_json:
        print_json({**asdict(outcome), "dry_run": dry_run})
    else:
        echo(outcome.summary(dry_run=dry_run))


COMMANDS = (refit_code,)
