"""Judge features on new objects and on the sets that a network was trained on.

New objects are judged as a gallery sees them: a few labels are enrolled with a few photos each, all
views of each photo (edge_runtime.enroll), and queries of these labels and of the others arrive. The
score of a query is its cosine with the nearest enrolled view. Sets with a split of their own are
judged likewise, with whole photos, and by MAP@100 of all queries against the whole database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.image.preprocess import preprocess, views_of
from training.data.input_tensor import Floats
from training.data.photo_sets import Photo, label_indices
from training.data.pixel_cache import PhotoReader
from training.eval.metrics import average_precision
from training.eval.retrieval import SHUFFLE_SEED, TOP
from training.hash_layer.features import Run, clean_features, run_all
from training.methods import CLOSED_FORM
from training.methods.linear_map import LinearMap

ENROLLED, DRAWS, NAMED = 8, 20, 0.02
"""Labels in a gallery, random galleries, and the share of strangers that may be named."""
QUERIES = 400
"""Most queries of one draw."""
PHOTOS = (1, 3)
"""Photos per label in a gallery."""


@dataclass(frozen=True)
class Pictures:
    """Photos with features float32 [N, V, F] of V views each, the whole photo first."""

    labels: NDArray[np.str_]
    raw: Floats

    @property
    def features(self) -> Floats:
        """Return the features at length 1."""
        lengths = np.linalg.norm(self.raw, axis=-1, keepdims=True)
        unit: Floats = self.raw / np.maximum(lengths, 1e-9)
        return unit


def see(run: Run, size: int, photos: Sequence[Photo], *, views: bool) -> Pictures:
    """Compute the features of the readable `photos`, of all their views if `views`."""
    reader = PhotoReader(photos)
    count = len(views_of(np.zeros((size, size, 3), np.uint8))) if views else 1

    def image(index: int) -> NDArray[np.uint8]:
        picture = reader[index // count]
        view = views_of(picture)[index % count] if views else picture
        return preprocess(np.ascontiguousarray(view), size)

    rows = run_all(run, len(reader) * count, image)
    labels = np.array([photo.label for photo in reader.photos])
    return Pictures(labels, rows.reshape(len(reader), count, -1))


def judge_galleries(
    database: Pictures, queries: Pictures | None, photos: int, seed: int
) -> dict[str, float]:
    """Judge galleries of `ENROLLED` labels with `photos` of `database` each, in percent.

    `precision1`: queries of enrolled labels whose nearest photo has their label. `right`: those of
    them that are nearer than all but `NAMED` of the strangers' queries. `auroc`: the area under the
    ROC curve of that nearness. Without `queries`, the photos that are not enrolled are the queries.
    """
    found = []
    stored, queried_features = database.features, (queries or database).features
    usable = [n for n in np.unique(database.labels) if (database.labels == n).sum() >= photos]
    for draw in range(DRAWS):
        rng = np.random.default_rng((seed, draw))
        names = rng.permutation(usable)[:ENROLLED]
        rows = np.concatenate(
            [rng.permutation(np.flatnonzero(database.labels == n))[:photos] for n in names]
        )
        queried = database if queries is None else queries
        rest = np.arange(len(queried.labels))
        rest = rng.permutation(np.setdiff1d(rest, rows) if queries is None else rest)[:QUERIES]
        enrolled = stored[rows]
        cosines = queried_features[rest, 0] @ enrolled.reshape(-1, enrolled.shape[2]).T
        best = cosines.argmax(1)
        truth = queried.labels[rest]
        right = database.labels[rows][best // enrolled.shape[1]] == truth
        known, nearness = np.isin(truth, names), cosines.max(1)
        strange = nearness[~known]
        accepted = right & (nearness > np.quantile(strange, 1 - NAMED))
        above = nearness[known][:, None] - strange
        found.append(
            (
                right[known].mean(),
                accepted[known].mean(),
                (above > 0).mean() + (above == 0).mean() / 2,
            )
        )
    values = 100 * np.mean(found, axis=0)
    return {
        name: round(float(value), 2)
        for name, value in zip(("precision1", "right", "auroc"), values, strict=True)
    }


def mean_precision(database: Pictures, queries: Pictures) -> float:
    """Return MAP@100 in percent of ranking whole photos by cosine."""
    order = np.random.default_rng(SHUFFLE_SEED).permutation(len(database.labels))
    cosines = queries.features[:, 0] @ database.features[order, 0].T
    ranked = database.labels[order][np.argsort(-cosines, axis=1, kind="stable")]
    found = average_precision(ranked == queries.labels[:, None], TOP)
    return round(100 * float(found.mean()), 2)


def judge_layers(
    run: Run,
    size: int,
    sets: Mapping[str, tuple[Sequence[Photo], Sequence[Photo]]],
    bits: int,
    seeds: Sequence[int],
) -> dict[str, dict[str, Any]]:
    """Judge the codes of every method in closed form on the new objects among `sets`.

    The layers are fitted to the database photos of the sets that have queries. Returns the means
    over `seeds`: method -> set -> photos per label -> figures.
    """
    stored = [photo for photos, queried in sets.values() for photo in photos if queried]
    reader = PhotoReader(stored)
    features = clean_features(run, reader, size)
    index = label_indices(reader.photos)
    labels = np.array([index[photo.label] for photo in reader.photos], np.int64)
    new = {
        name: see(run, size, photos, views=True)
        for name, (photos, queried) in sets.items()
        if not queried
    }
    table: dict[str, dict[str, Any]] = {}
    for method, fit in CLOSED_FORM.items():
        heads = [fit(features, labels, bits, seed) for seed in seeds]
        table[method] = {
            name: {
                str(photos): _mean(
                    [judge_galleries(_codes(pictures, head), None, photos, 1) for head in heads]
                )
                for photos in PHOTOS
            }
            for name, pictures in new.items()
        }
    return table


def _codes(pictures: Pictures, head: LinearMap) -> Pictures:
    """Return codes as unit vectors, whose cosines order them like Hamming distances."""
    signs = np.where(pictures.raw @ head[0].T + head[1] > 0, 1, -1)
    return Pictures(pictures.labels, (signs / len(head[1]) ** 0.5).astype(np.float32))


def _mean(found: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: round(float(np.mean([each[name] for each in found])), 2) for name in found[0]}


def judge(
    run: Run,
    size: int,
    sets: Mapping[str, tuple[Sequence[Photo], Sequence[Photo]]],
    seed: int,
) -> dict[str, dict[str, Any]]:
    """Judge the features of `run` at `size` pixels on `sets`: name -> (database, queries).

    A set of new objects has no queries. Returns the figures by set: of galleries under the number
    of their photos per label, and `map100` where there are queries.
    """
    table: dict[str, dict[str, Any]] = {}
    for name, (stored, queried) in sets.items():
        database = see(run, size, stored, views=not queried)
        queries = see(run, size, queried, views=False) if queried else None
        table[name] = {
            str(photos): judge_galleries(database, queries, photos, seed) for photos in PHOTOS
        }
        if queries is not None:
            table[name]["map100"] = mean_precision(database, queries)
    return table
