"""Judge codes that are fitted to a gallery: labels that training did not see, or those it saw.

All photos of the database are enrolled with their labels, those of the hidden labels too, as the
runtime enrolls them: its features are stored as int8, and its closed form fits the code to them.
If labels are hidden, only their queries are searched; the whole database of their set is searched.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.fitting.fit import SEED, fit_layer
from edge_runtime.fitting.prior import FeaturePrior, scatter
from edge_runtime.fitting.quantized import quantize, unit
from training.data.photo_sets import Photo, label_indices
from training.eval.retrieval import CodeSet, mean_ap
from training.experiments.methods import Part, float_map
from training.hash_layer.codes import to_codes
from training.methods.linear_map import LinearMap


@dataclass(frozen=True)
class HiddenLabels:
    """What a training run did not see, and the codes that it made itself."""

    labels: Set[str]
    layer: LinearMap | None = None
    """The run's own hash layer; None for features that it was not trained on."""


def visible_prior(database: Part, hidden: Set[str]) -> FeaturePrior:
    """Return the covariance within labels of the photos whose labels are not `hidden`."""
    shown = database.where(np.array([photo.label not in hidden for photo in database.photos]))
    within, freedom = scatter(unit(shown.features), _numbers(shown.photos))
    return FeaturePrior(within / max(freedom, 1))


def judge_hidden(
    database: Part, queries: Part, hidden: HiddenLabels, lengths: Sequence[int]
) -> dict[str, dict[str, Any]]:
    """Return the MAP@100 in percent of the hidden labels' queries, by set.

    `float` ranks features by cosine, `fitted` has codes of each of `lengths` bits that are fitted
    to the set's database, and `own` those of the run's own layer, by their length.
    """
    prior = visible_prior(database, hidden.labels)
    table: dict[str, dict[str, Any]] = {}
    for source in sorted({photo.source for photo in database.photos}):
        stored = database.of(source)
        queried = queries.of(source).labelled(set(hidden.labels))
        row: dict[str, Any] = {"float": round(float_map(stored, queried), 2), "fitted": {}}
        for bits in lengths:
            row["fitted"][str(bits)] = round(fitted_map(stored, queried, bits, prior), 2)
        if hidden.layer is not None:
            sides = (
                CodeSet(part.photos, to_codes(part.features, hidden.layer))
                for part in (stored, queried)
            )
            row["own"] = {str(len(hidden.layer[1])): round(mean_ap(*sides), 2)}
        table[source] = row
    return table


def judge_seen(
    database: Part,
    queries: Part,
    prior: FeaturePrior | None,
    lengths: Sequence[int],
    seeds: Sequence[int],
) -> dict[str, dict[str, Any]]:
    """Return the MAP@100 in percent of all queries, by set.

    `float` ranks features by cosine. `fitted` has codes of each of `lengths` bits that are fitted
    to the set's database, one figure for each random start of the fit, by its seed.
    """
    table: dict[str, dict[str, Any]] = {}
    for source in sorted({photo.source for photo in database.photos}):
        stored, queried = database.of(source), queries.of(source)
        fitted = {
            str(bits): {
                str(seed): round(fitted_map(stored, queried, bits, prior, seed), 2)
                for seed in seeds
            }
            for bits in lengths
        }
        table[source] = {"float": round(float_map(stored, queried), 2), "fitted": fitted}
    return table


def fitted_map(
    stored: Part, queried: Part, bits: int, prior: FeaturePrior | None, seed: int = SEED
) -> float:
    """Return the MAP@100 in percent of codes that the runtime fits to the features `stored`."""
    gallery = quantize(stored.features)
    layer = fit_layer(gallery, _numbers(stored.photos), bits, prior, seed=seed)
    return mean_ap(
        CodeSet(stored.photos, layer.codes(gallery)),
        CodeSet(queried.photos, layer.codes(queried.features)),
    )


def count_hidden(
    database: Sequence[Photo], queries: Sequence[Photo], hidden: Set[str]
) -> dict[str, dict[str, int]]:
    """Count by set the hidden labels, their enrolled photos and queries, and the whole database."""
    counts = {}
    for source in sorted({photo.source for photo in database}):
        stored = [photo for photo in database if photo.source == source]
        own = [photo for photo in stored if photo.label in hidden]
        counts[source] = {
            "labels": len({photo.label for photo in own}),
            "all_labels": len({photo.label for photo in stored}),
            "enrolled": len(own),
            "database": len(stored),
            "queries": sum(p.source == source and p.label in hidden for p in queries),
        }
    return counts


def _numbers(photos: Sequence[Photo]) -> NDArray[np.int64]:
    index = label_indices(photos)
    return np.array([index[photo.label] for photo in photos], np.int64)
