"""Photos as clips: the query photos of a label, in order, as a real video file.

In ie_tower a label is a place, and its clip is the middle fifth of the walk past it, which is not
enrolled. In other sets it is a kind of thing, in the order of the file names. A set is enrolled and
queried as `edge-runtime enroll` and `edge-runtime query` do, with the default settings. A stranger
is the same clip, searched among all labels but its own.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge_runtime.clips.frames import ClipOptions, samples
from edge_runtime.engine import Engine
from edge_runtime.enroll import EnrollOptions, enroll_photos, fit_if_due
from edge_runtime.fitting.quantized import unit
from edge_runtime.gallery import Gallery
from edge_runtime.image import Image
from edge_runtime.image.decode import read_photo
from edge_runtime.recognition.pipeline import Pipeline
from edge_runtime.types import QueryResult
from training.cli import log
from training.data.photo_sets import DataError, Photo
from training.data.splits import QUERY_SPLITS, TRAIN_SPLITS
from training.papers.files import FinishedRuns

SIZE = (640, 480)
"""Pixels of the clips, width and height."""
RATE = 2.0
"""Frames per second: one per sample at the default step."""
MOST_FRAMES = 24
"""Frames of a clip; a walk past a place has fewer."""
KEPT_LABELS = 30
"""Labels per frame that are stored, the most similar ones."""


def walks(photos: Sequence[Photo]) -> dict[str, list[Photo]]:
    """Return the first query photos of each label, as they were taken; raises DataError."""
    spots: dict[str, list[Photo]] = defaultdict(list)
    for photo in sorted(photos, key=lambda each: each.order):
        if photo.split in QUERY_SPLITS:
            spots[photo.label].append(photo)
    if not spots:
        raise DataError("no query photos", remedy="give --data a set with a split of its own")
    return {label: found[:MOST_FRAMES] for label, found in spots.items()}


def write_clip(path: Path, images: Sequence[Image]) -> None:
    """Write images (each uint8 H x W x 3, BGR) as a video file (Motion JPEG)."""
    temporary = path.with_name(f"part.{path.name}")
    writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter.fourcc(*"MJPG"), RATE, SIZE)
    for image in images:
        writer.write(np.asarray(cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA)))
    writer.release()
    temporary.replace(path)


def enrolled(
    engine: Engine,
    photos: Sequence[Photo],
    path: Path,
    done: FinishedRuns,
    settings: dict[str, Any],
    *,
    views: bool,
) -> Gallery:
    """Return the gallery of the photos that are not queries; a second call continues a first."""
    key = {**settings, "part": "enrolled"}
    if path.exists() and done.find(key) is not None:
        return Gallery(path, engine.model)
    gallery = Gallery(path, engine.model, create=True)
    listed = [(photo.label, photo.path) for photo in photos if photo.split in TRAIN_SPLITS]
    options = EnrollOptions(views, thumbnails=False)
    result = enroll_photos(engine, gallery, listed, options)
    for fault in result.faults:
        log(f"left out: {fault}")
    fit_if_due(engine, gallery)
    done.add(key, gallery.stats().pictures)
    return gallery


def digest_of(photos: Sequence[Photo]) -> str:
    """Return a digest of the names and sizes of photos, which is part of each run's key."""
    text = "\n".join(f"{photo.name} {photo.path.stat().st_size}" for photo in photos)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def run_walks(
    engine: Engine,
    gallery: Gallery,
    spots: dict[str, list[Photo]],
    folder: Path,
    done: FinishedRuns,
    settings: dict[str, Any],
    step: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
    """Query every clip, as itself and as a stranger; return one record per clip.

    Finished clips of `done` with the same `settings` are not queried again.
    """
    pipeline = Pipeline(engine, gallery)
    labels = sorted(gallery.labels())
    folder.mkdir(parents=True, exist_ok=True)
    records = []
    for place, photos in spots.items():
        key = {**settings, "part": "walks", "place": place}
        record = done.find(key)
        if record is None and place in labels:
            path = folder / f"{place}.avi"
            write_clip(path, [read_photo(photo.path) for photo in photos])
            record = _query(pipeline, path, place, [each for each in labels if each != place])
            done.add(key, record)
        if record is not None:
            records.append(record)
        step()
    return records


def _query(pipeline: Pipeline, path: Path, place: str, others: list[str]) -> dict[str, Any]:
    stranger = pipeline.for_labels(others)
    own: list[QueryResult] = []
    without: list[QueryResult] = []
    with samples(path, ClipOptions(most_frames=MOST_FRAMES)) as taken:
        for sample in taken:
            image = sample.frame.image
            own.append(pipeline.look(image))
            without.append(stranger.look(image))
    features = [each.embedding.features for each in own if each.embedding is not None]
    stacked = np.stack([unit(each) for each in features if each is not None])
    return {
        "place": place,
        "own": [_labels(each) for each in own],
        "without": [_labels(each) for each in without],
        "cosines": np.round(stacked @ stacked.T, 4).tolist(),
    }


def _labels(result: QueryResult) -> list[list[Any]]:
    found = (result.label_similarities or ())[:KEPT_LABELS]
    return [[one.label, round(one.similarity, 5), one.match.distance] for one in found]
