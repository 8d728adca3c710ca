"""`edge-runtime gallery advise`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from edge_runtime.cli.common import (
    busy,
    echo,
    false_name_rate_option,
    gallery_option,
    json_option,
    print_json,
)
from edge_runtime.cli.process.restart import open_to_read


@click.command("advise")
@gallery_option
@false_name_rate_option
@click.option(
    "--photos",
    type=click.IntRange(0),
    help="Check at most this number of photos for blur and darkness.  [default: 300]",
)
@json_option
def advise(gallery: Path, false_name_rate: float | None, photos: int | None, as_json: bool) -> None:
    """Say what to photograph next, and what is probably wrong.

    Each picture is queried without itself. This finds labels that are hard to tell apart and
    pictures under a wrong label, and estimates the accuracy for new photos.
    """
    from edge_runtime.fitting.calibration import FALSE_NAME_RATE
    from edge_runtime.gallery.advice.actions import text_of
    from edge_runtime.gallery.advice.survey import MOST_PHOTOS, AdviceOptions

    options = AdviceOptions(
        false_name_rate=FALSE_NAME_RATE if false_name_rate is None else false_name_rate,
        most_photos=MOST_PHOTOS if photos is None else photos,
    )
    with open_to_read(gallery) as opened, busy("comparing the pictures"):
        advice = opened.advise(options)
    if as_json:
        print_json(asdict(advice))
    else:
        echo(text_of(advice))


COMMANDS = (advise,)
