"""Compass headings beside positions, simulated: ie_tower records none.

All places count as one position, as the rooms of a tower do for a satellite receiver. Each place
gets a heading at random; enrolled photos have it with an error of 10 degrees, queries with one of
20 degrees (standard deviations of a compass indoors, assumed).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.engine import Engine
from edge_runtime.gallery import Gallery
from edge_runtime.gallery.rows import begin_generation, write_positions
from edge_runtime.gallery.snapshot.file import SUFFIX
from edge_runtime.image.decode import read_photo
from edge_runtime.position import Position, QueryPosition
from edge_runtime.recognition.pipeline import Pipeline
from edge_runtime.system.files import discard
from training.data.photo_sets import Photo
from training.papers.files import FinishedRuns

ENROLLED_ERROR, QUERY_ERROR = 10.0, 20.0
"""Degrees, standard deviation."""
PLACE = (52.0, 4.36)
METERS_PER_BIT = 25.0
NONE = 0.0
"""As degrees per bit: the heading is ignored."""


def run_heading(
    engine: Engine,
    source: Path,
    queries: Sequence[Photo],
    degrees_per_bit: Sequence[float],
    seed: int,
    folder: Path,
    done: FinishedRuns,
    settings: dict[str, Any],
    step: Callable[[], None] = lambda: None,
) -> dict[float, dict[str, float]]:
    """Return right, unknown and wrong of single photos, in percent, for each weight."""
    keys = [
        {**settings, "part": "heading", "seed": seed, "degrees_per_bit": degrees}
        for degrees in degrees_per_bit
    ]
    if all(done.find(key) is not None for key in keys):
        for _ in queries:
            step()
        return {degrees: done.find(key) for degrees, key in zip(degrees_per_bit, keys, strict=True)}
    path = folder / f"heading-{seed}.sqlite"
    rng = np.random.default_rng(seed)
    answers: dict[float, list[str | None]] = {degrees: [] for degrees in degrees_per_bit}
    shutil.copyfile(source, path)
    with Gallery(path, engine.model) as gallery:
        headings = {name: float(rng.uniform(0, 360)) for name in sorted(gallery.labels())}
        _store(gallery, headings, rng)
        pipeline = Pipeline(engine, gallery)
        for photo in queries:
            heading = headings.get(photo.label, 0.0) + float(rng.normal(0, QUERY_ERROR))
            here = Position(*PLACE, heading % 360)
            image = read_photo(photo.path)
            for degrees, given in answers.items():
                near = QueryPosition(here, None, METERS_PER_BIT, degrees or None)
                given.append(pipeline.query(image, near).label)
            step()
    for left in (path, path.with_name(path.name + SUFFIX)):
        discard(left)
    found: dict[float, dict[str, float]] = {}
    for degrees, key in zip(degrees_per_bit, keys, strict=True):
        given = answers[degrees]
        right = sum(one == photo.label for one, photo in zip(given, queries, strict=True))
        unknown = given.count(None)
        figures = [right, unknown, len(given) - right - unknown]
        names = ("right", "unknown_percent", "wrong_percent")
        found[degrees] = {
            name: 100 * count / len(given) for name, count in zip(names, figures, strict=True)
        }
        done.add(key, found[degrees])
    return found


def _store(gallery: Gallery, headings: dict[str, float], rng: np.random.Generator) -> None:
    """Give all codes of a picture the heading of its label, with an error."""
    with gallery.writing() as connection:
        rows = connection.execute(
            "SELECT item.id, name, source FROM item JOIN label ON label.id = label_id "
            "ORDER BY item.id"
        ).fetchall()
        errors: dict[str, float] = {}
        positions = []
        for item_id, name, source in rows:
            error = errors.setdefault(source, float(rng.normal(0, ENROLLED_ERROR)))
            positions.append((item_id, Position(*PLACE, (headings[name] + error) % 360)))
        write_positions(connection, positions)
        begin_generation(connection)
