"""What a set of photos holds: labels, splits, sizes, oddities; a contact sheet on request.

    python -m training set-stats --data DIR... [--sheet build/sheet.jpg] [--ceilings FILE.json]

The ceiling of a split is the MAP@100 of a code without error: less than 100 where two labels hold
the same photos, which nobody can tell apart.
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
@click.option("--data", multiple=True, type=Path, required=True, help="Sets of photos.")
@click.option("--sheet", type=Path, help="Where the contact sheet goes; not into the repository.")
@click.option("--ceilings", type=Path, help="Where the JSON of each split's ceiling goes.")
@report_errors
def main(data: tuple[Path, ...], sheet: Path | None, ceilings: Path | None) -> None:
    """Command: see the module."""
    if sheet is not None and not cv2.haveImageWriter(str(sheet)):
        raise InputError(
            "no picture can be written under that name",
            where=sheet,
            remedy="end it in .jpg or .png",
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
        click.echo(f"{count} photos of {width} x {height} (shrunk to what training needs)")
    for line in [*warnings_about(photos), *(f"skipped {line}" for line in cache.skipped)]:
        click.echo(f"note: {line}")
    if ceilings is not None:
        write_json(ceilings, ceilings_of(photos))
    if sheet is not None:
        rows = np.linspace(0, len(cache) - 1, min(_SHOWN, len(cache))).astype(int)
        sheet.parent.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(sheet), contact_sheet([cache.photos[int(row)] for row in rows])):
            raise StorageError("the sheet could not be written", where=sheet)
        click.echo(f"contact sheet: {sheet}")
