"""Fit the code of a gallery to its features, and keep it only if it finds more.

The new layer is judged on pictures that it was not fitted to: of each label with two pictures or
more, one is left out, and is then searched for among the others by Hamming distance. The present
codes are judged on the same pictures.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.code import Code
from edge_runtime.errors import FeaturesMissingError, InputError
from edge_runtime.fitting.fit import fit_layer
from edge_runtime.fitting.layer import HashLayer
from edge_runtime.fitting.prior import FeaturePrior
from edge_runtime.gallery.features.index import MOST_CODES, FeatureIndex
from edge_runtime.gallery.records import Stats
from edge_runtime.lookup import Lookup

LEAST_BITS, MOST_BITS = 16, 256
LEAST_PICTURES = 5
"""Pictures that must be left out for a judgment."""
MOST_PICTURES = 300
MOST_ROWS = 6_000
"""Rows that a layer is fitted to; a random part of more is used."""
SEED = 1


@dataclass(frozen=True)
class Refit:
    """The outcome of a refit."""

    kept: bool
    """Whether the new layer is better and replaces the present codes."""
    reason: str
    bits: int
    """Of the new layer."""
    pictures: int
    codes: int
    labels: int
    judged: int
    """Pictures that were left out to judge both; 0 if there were too few."""
    found_before: int
    """How many of them the present codes find first."""
    found_after: int
    """How many of them the new layer finds first."""

    def summary(self, *, dry_run: bool = False) -> str:
        """Return the outcome as text."""
        kept = "not kept" if not self.kept else "better" if dry_run else "kept"
        text = f"the new code of {self.bits} bits is {kept}: {self.reason}"
        if not self.judged:
            return text
        found = f"{self.found_after} instead of {self.found_before} of {self.judged}"
        return f"{text} ({found} found)"

    def details(self) -> dict[str, Any]:
        """Return what is stored with the layer."""
        return asdict(self)


def features_missing(path: Path, stats: Stats) -> FeaturesMissingError:
    """Return the error for a gallery whose features cannot be used."""
    missing = stats.codes - stats.features
    if not stats.codes:
        what, remedy = "nothing is enrolled", "enroll photos first: edge-runtime enroll FOLDER"
    elif missing:
        what = f"{missing} of {stats.codes} codes have no features"
        remedy = "enroll the photos into a new --gallery"
    else:
        what, remedy = f"{stats.codes} codes are more than can be fitted ({MOST_CODES})", ""
    return FeaturesMissingError(what, where=path, remedy=remedy)


def refit(
    index: FeatureIndex, bits: int, prior: FeaturePrior | None
) -> tuple[Refit, HashLayer | None]:
    """Fit a layer of `bits` bits to `index`, and judge it; the layer is None if it is not kept.

    Raises `InputError` for a number of bits out of range.
    """
    if not LEAST_BITS <= bits <= MOST_BITS:
        raise InputError(f"bits must be between {LEAST_BITS} and {MOST_BITS}, got {bits}")
    snapshot = index.snapshot
    pictures = snapshot.ids if snapshot.pictures is None else snapshot.pictures
    firsts = np.unique(pictures, return_index=True)[1]
    labels = np.unique(snapshot.label_ids, return_inverse=True)[1].astype(np.int64)
    left_out = _left_out(firsts, labels)
    before = after = 0
    if len(left_out) >= LEAST_PICTURES:
        rest = np.flatnonzero(~np.isin(pictures, pictures[left_out]))
        trial = _fit(index, rest, labels, bits, prior)
        present = snapshot.lookup.codes
        before = _found(present, snapshot.lookup.bits, labels, left_out, rest)
        after = _found(trial.codes(index.values), bits, labels, left_out, rest)
    if len(left_out) < LEAST_PICTURES:
        reason = (
            f"too few labels with two pictures to judge it: {len(left_out)}, "
            f"needed {LEAST_PICTURES}"
        )
    elif after > before:
        reason = "it finds more of the pictures that were left out"
    else:
        reason = "it finds no more of the pictures that were left out"
    outcome = Refit(
        kept=after > before,
        reason=reason,
        bits=bits,
        pictures=len(firsts),
        codes=len(labels),
        labels=int(labels.max()) + 1,
        judged=len(left_out) if len(left_out) >= LEAST_PICTURES else 0,
        found_before=before,
        found_after=after,
    )
    if not outcome.kept:
        return outcome, None
    return outcome, _fit(index, np.arange(len(labels)), labels, bits, prior)


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


def _fit(
    index: FeatureIndex,
    rows: NDArray[np.int64],
    labels: NDArray[np.int64],
    bits: int,
    prior: FeaturePrior | None,
) -> HashLayer:
    if len(rows) > MOST_ROWS:
        rows = np.sort(np.random.default_rng(SEED).permutation(rows)[:MOST_ROWS])
    owners = np.unique(labels[rows], return_inverse=True)[1].astype(np.int64)
    return fit_layer(index.values[rows], owners, bits, prior)


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
