"""Measure how far codes and features of kept pictures are from those of the photos.

    python -m profiles.bench.kept_pictures FOLDER

Each photo is kept as by `edge-runtime enroll --keep-pictures`, in several sizes and JPEG qualities.
Its views are then embedded again from that JPEG.
"""

from __future__ import annotations

from pathlib import Path

import click
import cv2
import numpy as np

from edge_runtime.engine import open_engine
from edge_runtime.image.decode import decode_photo, find_photos, read_photo
from edge_runtime.image.preprocess import preprocess, views_of
from edge_runtime.recognition.pipeline import embedding_of

SETTINGS = ((224, 90), (224, 92), (280, 90), (320, 85), (320, 90), (320, 92), (320, 95))
"""Side in pixels, and JPEG quality."""


@click.command()
@click.option("--model", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(model: Path | None, folder: Path) -> None:
    """Print one line per size and quality."""
    engine = open_engine(model)
    rows: dict[tuple[int, int], list[tuple[float, ...]]] = {each: [] for each in SETTINGS}
    for path in find_photos(folder):
        photo = read_photo(path)
        wanted = [embedding_of(engine, view) for view in views_of(photo)]
        for size, quality in SETTINGS:
            square = preprocess(photo, size)
            jpeg = bytes(cv2.imencode(".jpg", square, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])
            views = views_of(decode_photo(jpeg))
            numbers: list[float] = [len(jpeg)]
            for before, after in zip(
                wanted, (embedding_of(engine, view) for view in views), strict=True
            ):
                assert before.features is not None and after.features is not None
                lengths = np.linalg.norm(before.features) * np.linalg.norm(after.features)
                numbers.append(float(before.features @ after.features / lengths))
                numbers.append(int(np.bitwise_count(before.code ^ after.code).sum()))
            rows[size, quality].append(tuple(numbers))
    click.echo("               whole picture         crops")
    click.echo("side quality   cosine (5 %)  bits    cosine (5 %)  bits    bytes")
    for (size, quality), found in rows.items():
        table = np.array(found)
        parts = []
        for first, last in ((0, 1), (1, 6)):
            cosines = table[:, 1 + 2 * first : 1 + 2 * last : 2]
            bits = table[:, 2 + 2 * first : 2 + 2 * last : 2]
            parts.append(
                f"{cosines.mean():.4f} ({np.quantile(cosines, 0.05):.4f}) {bits.mean():4.2f}"
            )
        click.echo(f"{size:4} {quality:7}   {'   '.join(parts)}  {table[:, 0].mean():7.0f}")


if __name__ == "__main__":
    main()
