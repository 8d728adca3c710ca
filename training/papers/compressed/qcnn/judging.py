"""Judge a network on photos (MAP@100 of its codes), and measure its time here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from edge_runtime.code import Code, binarize, pack
from edge_runtime.image.preprocess import preprocess
from training.data.input_tensor import to_input
from training.data.photo_sets import Photo, read_set, sample_evenly
from training.data.pixel_cache import PixelCache, open_cache
from training.data.splits import default_split
from training.eval.retrieval import CodeSet, mean_ap
from training.onnx.model_file import session
from training.papers.compressed.qcnn.layers import Floats


@dataclass(frozen=True)
class Photos:
    """The photos of one set: those that are searched, and those that are asked."""

    database: PixelCache
    queries: PixelCache
    split: str


def read_photos(folder: Path, database_each: int = 0, queries_each: int = 0) -> Photos:
    """Read a set with its default split, at most this many photos of each label (0: all)."""
    database, queries, split = default_split(read_set(folder))
    sides = [first_of(database, database_each), first_of(queries, queries_each)]
    if database_each or queries_each:
        split += f"; at most {database_each} photos of a label searched, {queries_each} asked"
    return Photos(open_cache(sides[0]), open_cache(sides[1]), split)


def first_of(photos: Sequence[Photo], each: int) -> list[Photo]:
    """Return up to `each` photos of every label, evenly spread over its photos; 0: all."""
    if not each:
        return list(photos)
    chosen: list[Photo] = []
    for label in dict.fromkeys(photo.label for photo in photos):
        own = [photo for photo in photos if photo.label == label]
        chosen += sample_evenly(own, each)
    return chosen


def map_of(model: bytes | Path, photos: Photos, size: int) -> float:
    """Return the MAP@100 in percent of the codes that an ONNX network makes of the photos."""
    run = session(model)

    def codes(cache: PixelCache) -> Code:
        images = (to_input(preprocess(cache[i], size)) for i in range(len(cache)))
        return np.stack([pack(binarize(run(image)[0], 0.5)) for image in images])

    return mean_ap(
        CodeSet(photos.database.photos, codes(photos.database)),
        CodeSet(photos.queries.photos, codes(photos.queries)),
    )


def cpu_ms_of(model: bytes | Path, picture: Floats, runs: int) -> float:
    """Return the median CPU time of one picture [channels, size, size] in ONNX Runtime."""
    run = session(model)
    run(picture[None])
    times = []
    for _ in range(runs):
        began = time.process_time_ns()
        run(picture[None])
        times.append((time.process_time_ns() - began) / 1e6)
    return median(times)
