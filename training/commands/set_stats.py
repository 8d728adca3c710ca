"""Describe sets of photos: labels, splits, sizes and duplicates.

\b
    python -m training set-stats --data DIR... [--sheet build/sheet.jpg] [--ceilings FILE.json]

`--sheet` writes a contact sheet. `--ceilings` writes the MAP@100 of a perfect code for each split.
It is below 100 where two labels hold the same photos, which no code can tell apart.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click
import cv2
import numpy as np

from edge_runtime.errors import InputError, StorageError
from training.cli import report_errors
from training.data.photo_sets import read_sets, warnings_about
from training.data.pixel_cache import open_cache
from training.eval.html_report import contact_sheet
from training.eval.protocols import ceilings_of
from training.files import write_json

_SHOWN = 120


@click.command(help=__doc__)
@click.option("--data", multiple=True, type=Path, required=True, help="Folders of photos.")
@click.option(
    "--sheet", type=Path, help="Image file for the contact sheet; keep it out of the repository."
)
@click.option(
    "--ceilings", type=Path, help="JSON file for the best possible MAP@100 of each split."
)
@report_errors
def main(data: tuple[Path, ...], sheet: Path | None, ceilings: Path | None) -> None:
    """Run the command."""
    if sheet is not None and not cv2.haveImageWriter(str(sheet)):
        raise InputError(
            "unknown image format",
            where=sheet,
            remedy="use a name that ends in .jpg or .png",
        )
    photos = read_sets(data)
    cache = open_cache(photos)
    for source in sorted({photo.source for photo in photos}):
        own = [photo for photo in photos if photo.source == source]
        counts = sorted(Counter(photo.label for photo in own).values())
        splits = ", ".join(
            f"{split or 'no split'} {count}"
            for split, count in sorted(Counter(photo.split for photo in own).items())
        )
        click.echo(
            f"{source}: {len(own)} photos of {len(counts)} labels ({counts[0]} to {counts[-1]} "
            f"each, median {counts[len(counts) // 2]}); {splits}"
        )
    shapes = Counter(cache[index].shape[:2] for index in range(len(cache)))
    for (height, width), count in shapes.most_common(5):
        click.echo(f"{count} photos of {width} x {height} (resized for training)")
    for line in [*warnings_about(photos), *(f"skipped {line}" for line in cache.skipped)]:
        click.echo(f"note: {line}")
    if ceilings is not None:
        write_json(ceilings, ceilings_of(photos))
    if sheet is not None:
        rows = np.linspace(0, len(cache) - 1, min(_SHOWN, len(cache))).astype(int)
        sheet.parent.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(sheet), contact_sheet([cache.photos[int(row)] for row in rows])):
            raise StorageError("cannot write the contact sheet", where=sheet)
        click.echo(f"contact sheet: {sheet}")
