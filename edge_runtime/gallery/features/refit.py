"""Fit a gallery's code and similarity to its features, and keep what answers better.

The new layer is judged on pictures that it was not fitted to: of each label with two pictures or
more, one is left out, and is then searched for among the others by Hamming distance. The model's
own codes are judged on the same pictures. The new metric is judged against the plain cosine: each
picture is a query to the others, in a metric that was fitted without its label.
"""

from __future__ import annotations

import sqlite3
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.code import Code
from edge_runtime.errors import FeaturesMissingError, InputError
from edge_runtime.fitting.fit import fit_layer
from edge_runtime.fitting.layer import HashLayer
from edge_runtime.fitting.metric import FittedMetric, MetricFitter
from edge_runtime.fitting.prior import FeaturePrior
from edge_runtime.fitting.within import WithinLabels
from edge_runtime.gallery.features.calibrate import measure
from edge_runtime.gallery.features.fitted import (
    fit_checksums,
    write_layer,
    write_metric,
    write_outcome,
)
from edge_runtime.gallery.features.index import FeatureIndex, named_only
from edge_runtime.gallery.records import MOST_CODES, Stats
from edge_runtime.lookup import Lookup

LEAST_BITS, MOST_BITS = 16, 256
LEAST_PICTURES = 5
"""Labels with two pictures or more that a judgment needs."""
MOST_PICTURES = 300
MOST_ROWS = 6_000
"""Rows that are fitted to; a random part of more is used."""
PARTS = 3
"""Parts of the pictures; a metric is judged on each part after a fit to the others."""
ENOUGH = 0.1
"""Share of the pictures or labels that must have changed for another refit."""
SEED = 1


@dataclass(frozen=True)
class Refit:
    """The outcome of a refit."""

    pictures: int
    codes: int
    labels: int
    left_out: int
    """Labels with two pictures or more. With fewer than five, nothing is fitted."""
    bits: int
    """Length of the new code."""
    code_kept: bool = False
    """Whether the new code is used, instead of the model's own."""
    found_before: int = 0
    """How many of the left-out pictures, one per label, the model's own code finds first."""
    found_after: int = 0
    metric_kept: bool = False
    """Whether similarities are those of the new metric, instead of plain cosines."""
    judged: int = 0
    """Pictures that were queried to judge the metric."""
    right_before: int = 0
    """How many of them plain cosines answer correctly."""
    right_after: int = 0

    @property
    def possible(self) -> bool:
        """Whether there was enough to judge a fit."""
        return self.left_out >= LEAST_PICTURES

    @property
    def kept(self) -> bool:
        """Whether something that was fitted is used."""
        return self.code_kept or self.metric_kept

    def summary(self, *, dry_run: bool = False) -> str:
        """Return the outcome as text, one line for the code and one for the similarity."""
        if not self.possible:
            return (
                "nothing is fitted: too few labels with two pictures to judge it: "
                f"{self.left_out}, needed {LEAST_PICTURES}"
            )
        good = "better" if dry_run else "kept"
        return "\n".join(
            (
                f"code of {self.bits} bits: {good if self.code_kept else 'not kept'} "
                f"(finds {self.found_after} instead of {self.found_before} of "
                f"{self.left_out} left-out pictures)",
                f"similarity: {good if self.metric_kept else 'not kept'} "
                f"(answers {self.right_after} instead of {self.right_before} of "
                f"{self.judged} pictures correctly)",
            )
        )

    def details(self) -> dict[str, Any]:
        """Return what is stored with the fit."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Fitted:
    """The outcome, and the parts that are better than what they would replace."""

    outcome: Refit
    layer: HashLayer | None = None
    metric: FittedMetric | None = None


def features_missing(path: Path, stats: Stats) -> FeaturesMissingError:
    """Return the error for a gallery whose features cannot be used."""
    missing = stats.codes - stats.features
    if not stats.codes:
        what, remedy = "nothing is enrolled", "enroll photos first: edge-runtime enroll FOLDER"
    elif missing:
        what = f"{missing} of {stats.codes} codes have no features"
        remedy = "repeat edge-runtime enroll with the same photos"
    else:
        what, remedy = f"{stats.codes} codes are more than can be fitted ({MOST_CODES})", ""
    return FeaturesMissingError(what, where=path, remedy=remedy)


def refit(index: FeatureIndex, bits: int, model_bits: int, prior: FeaturePrior | None) -> Fitted:
    """Fit a layer of `bits` bits and a metric to `index`, and judge them.

    `model_bits` is the length of the model's own code.

    Raises `InputError` for a number of bits out of range.
    """
    if not LEAST_BITS <= bits <= MOST_BITS:
        raise InputError(f"bits must be between {LEAST_BITS} and {MOST_BITS}, got {bits}")
    index = named_only(index)
    snapshot = index.snapshot
    pictures, firsts = index.pictures, index.first_rows()
    labels = np.unique(snapshot.label_ids, return_inverse=True)[1].astype(np.int64)
    left_out = _left_out(firsts, labels)
    outcome = Refit(
        pictures=len(firsts),
        codes=len(labels),
        labels=int(labels.max()) + 1,
        left_out=len(left_out),
        bits=bits,
    )
    if not outcome.possible:
        return Fitted(outcome)
    fitter, chosen = _fitter(index, prior)
    metric = fitter.fit()
    hidden = np.isin(pictures, pictures[left_out])
    trial = _layer(index, chosen[~hidden[chosen]], labels, bits, fitter.within(hidden[chosen]))
    rest = np.flatnonzero(~hidden)
    before = _found(index.model_codes, model_bits, labels, left_out, rest)
    after = _found(trial.codes(index.values), bits, labels, left_out, rest)
    layer = _layer(index, chosen, labels, bits, fitter.within()) if after > before else None
    parts = _parts(pictures, snapshot.label_ids.astype(np.int64))
    metrics = [fitter.fit_without(parts[chosen] == part) for part in range(PARTS)]
    plain = measure(index, None)
    fitted = measure(index, metric, lambda row: metrics[parts[row]])
    right_before, right_after = plain.right(), fitted.right()
    # Better by more than chance: the difference exceeds two standard errors.
    gained, lost = right_after & ~right_before, right_before & ~right_after
    surplus = int(gained.sum()) - int(lost.sum())
    better = surplus > 2 * np.sqrt(int(gained.sum()) + int(lost.sum()))
    outcome = replace(
        outcome,
        code_kept=layer is not None,
        found_before=before,
        found_after=after,
        metric_kept=bool(better),
        judged=int(np.count_nonzero(~np.isnan(plain.figures.own))),
        right_before=int(right_before.sum()),
        right_after=int(right_after.sum()),
    )
    return Fitted(outcome, layer, metric if better else None)


def _fitter(
    index: FeatureIndex, prior: FeaturePrior | None
) -> tuple[MetricFitter, NDArray[np.int64]]:
    """Return the fitter of metrics, and the rows that it uses."""
    chosen = _some(np.arange(len(index.values)))
    owners = index.snapshot.label_ids[chosen].astype(np.int64)
    return MetricFitter(index.values[chosen], owners, prior), chosen


def _parts(pictures: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a part, 0 to `PARTS` - 1, for each row: the pictures of a label in turn."""
    firsts, inverse = np.unique(pictures, return_index=True, return_inverse=True)[1:]
    owners = labels[firsts]
    order = np.argsort(owners, kind="stable")
    starts = np.searchsorted(owners[order], owners[order])
    part = np.empty(len(firsts), np.int64)
    part[order] = (np.arange(len(order)) - starts) % PARTS
    return part[inverse]


def write_fit(connection: sqlite3.Connection, fitted: Fitted) -> bool:
    """Store the outcome and the parts that are kept; return whether a part has changed.

    An earlier part is removed where nothing new is better than the model's own code, or than plain
    cosines. Both stay if there was too little to judge.
    """
    before = fit_checksums(connection)
    details = fitted.outcome.details()
    if fitted.outcome.possible:
        write_metric(connection, fitted.metric)
        write_layer(connection, fitted.layer, details)
    write_outcome(connection, details)
    return fit_checksums(connection) != before


def is_due(index: FeatureIndex, last: dict[str, Any] | None) -> bool:
    """Return whether the gallery has changed enough since the refit with the outcome `last`.

    Enough is a tenth of the pictures or labels. The first refit is due when a fit can be judged.
    """
    owners = index.snapshot.label_ids[index.first_rows()]
    if index.snapshot.unknown is not None:
        owners = owners[owners != index.snapshot.unknown]
    counts = np.unique(owners, return_counts=True)[1]
    if int(np.count_nonzero(counts > 1)) < LEAST_PICTURES:
        return False
    earlier = last or {}
    return any(
        abs(now - int(earlier.get(name, 0))) >= max(1, ENOUGH * int(earlier.get(name, 0)))
        for name, now in (("pictures", len(owners)), ("labels", len(counts)))
    )


def _left_out(firsts: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first row of one picture of each label that has two or more."""
    owners = labels[firsts]
    order = np.random.default_rng(SEED).permutation(len(firsts))
    several = np.flatnonzero(np.bincount(owners) > 1)
    chosen = order[np.unique(owners[order], return_index=True)[1]]
    chosen = np.sort(chosen[np.isin(owners[chosen], several)])
    if len(chosen) > MOST_PICTURES:
        chosen = np.sort(np.random.default_rng(SEED).permutation(chosen)[:MOST_PICTURES])
    return firsts[chosen]


def _layer(
    index: FeatureIndex,
    rows: NDArray[np.int64],
    labels: NDArray[np.int64],
    bits: int,
    within: WithinLabels,
) -> HashLayer:
    """Fit a layer to `rows`, whose covariance within labels is known."""
    owners = np.unique(labels[rows], return_inverse=True)[1].astype(np.int64)
    return fit_layer(index.values[rows], owners, bits, within=within)


def _some(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return `rows`, or a random part of them if they are many."""
    if len(rows) <= MOST_ROWS:
        return rows
    return np.sort(np.random.default_rng(SEED).permutation(rows)[:MOST_ROWS])


def _found(
    codes: Code,
    bits: int,
    labels: NDArray[np.int64],
    queries: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> int:
    """Return how many of the `queries` have a nearest code among `rows` with their own label."""
    nearest, _ = Lookup(codes[rows], bits, index=False).nearest_batch(codes[queries], 1)
    return int(np.count_nonzero(labels[rows[nearest[:, 0]]] == labels[queries]))
