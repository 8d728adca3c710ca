"""Define the evaluation protocols: which query photos are searched in which database.

`official` is the default split of training/data/splits. `distinct...` are for sets whose manifest
marks the labels that look unlike all others. `unseen` queries labels held out of training.
"""

from __future__ import annotations

from collections.abc import Set

import numpy as np

from training.data.photo_sets import DataError, Photo, duplicate_labels
from training.data.splits import default_split
from training.eval.retrieval import CodeSet, best_possible_map, retrieve


def protocols(
    photos: list[Photo], everything: CodeSet, hidden: Set[str] = frozenset()
) -> dict[str, tuple[CodeSet, CodeSet, str]]:
    """Return named (database, queries, split in words) for one set of `photos`.

    `everything` holds the codes of the readable photos; `hidden` are labels that were kept out
    of training. Raises DataError for an empty side.
    """
    database_photos, query_photos, split = default_split(photos)
    database_names = {photo.name for photo in database_photos}
    query_names = {photo.name for photo in query_photos}
    database = everything.where(lambda photo: photo.name in database_names)
    queries = everything.where(lambda photo: photo.name in query_names)
    found = {"official": (database, queries, split)}
    if all("distinct" in photo.extra for photo in photos):
        clear = everything.where(lambda photo: photo.extra["distinct"] == "1")
        queried = clear.where(lambda photo: photo.extra["interleaved"] == "query")
        stored = clear.where(lambda photo: photo.extra["interleaved"] == "gallery")
        fresh = queried.where(lambda photo: photo.name in query_names)
        found["distinct"] = (
            database,
            queries.where(lambda photo: photo.extra["distinct"] == "1"),
            f"{split}, queries of spots that are not look-alikes",
        )
        found["distinct_interleaved"] = (
            stored, queried,
            "every fifth frame of the distinct spots; a random split of a burst: near copies, and "
            "most queries belong to the gallery that the shipped model was trained on",
        )  # fmt: skip
        found["distinct_interleaved_untrained"] = (
            stored, fresh, "the same, only queries that were not used in training"
        )  # fmt: skip
    unseen = queries.where(lambda photo: photo.label in hidden)
    if unseen.photos:
        count = len({photo.label for photo in unseen.photos})
        found["unseen"] = (
            database, unseen,
            f"{split}, queries of {count} labels kept out of training, against all",
        )  # fmt: skip
    for name, sides in found.items():
        for side, what in zip(sides[:2], ("database", "query"), strict=True):
            if not side.photos:
                raise DataError(
                    f"no readable {what} photo for the protocol {name}",
                    where=photos[0].source,
                    remedy="add photos, or see the manifest's columns",
                )
    return found


def ceilings_of(photos: list[Photo]) -> dict[str, dict[str, float]]:
    """Return the MAP@100 in percent, by set and split, that an error-free code reaches."""
    result: dict[str, dict[str, float]] = {}
    for source in sorted({photo.source for photo in photos}):
        own = [photo for photo in photos if photo.source == source]
        alike, nothing = duplicate_labels(own), CodeSet(own, np.zeros((len(own), 1), np.uint64))
        result[source] = {
            name: round(best_possible_map(retrieve(database, queries), alike), 2)
            for name, (database, queries, _) in protocols(own, nothing).items()
        }
    return result
