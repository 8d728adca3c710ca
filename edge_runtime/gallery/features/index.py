"""The features of a gallery in memory: its codes by the fitted layer, and cosines.

A search first finds the nearest codes, in Hamming distance. The pictures and labels of these are
then ranked by the cosine of the features, which tells photos apart that share a code.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_runtime.code import Code
from edge_runtime.fitting.calibration import SAME
from edge_runtime.fitting.metric import Metric, Query
from edge_runtime.fitting.quantized import Floats, QuantizedFeatures
from edge_runtime.gallery.features.fitted import Fit
from edge_runtime.gallery.features.rows import read_features
from edge_runtime.gallery.records import MOST_CODES
from edge_runtime.gallery.rows import in_history
from edge_runtime.gallery.schema import damaged
from edge_runtime.gallery.snapshot.packed import Columns, Snapshot, snapshot_of

_BELOW_SAME = np.nextafter(np.float32(SAME), np.float32(0))
_PART = 4096
"""Rows that are converted to float at a time."""
_FEW_LABELS = 500
"""Up to so many, means are kept as float32 (2 MB): numpy takes longer to widen those of the nearest
labels than to compare them."""


@dataclass(frozen=True, eq=False)
class MetricView:
    """A metric, and what it makes of the rows of an index."""

    metric: Metric
    row_lengths: Floats
    """float32 [n]: the length of each row in the metric."""
    mean_lengths: Floats
    """float32 [L]: the length of each label's mean in the metric."""


@dataclass(frozen=True, eq=False)
class FeatureIndex:
    """The living rows of a snapshot with their features."""

    snapshot: Snapshot
    """The living rows only, with the codes of the fitted layer if there is one."""
    model_codes: Code
    """uint64 [n, W]: the codes of the model, without a fit."""
    fit: Fit
    values: QuantizedFeatures
    """int8 [n, F]: one row for each of the snapshot."""
    lengths: Floats
    """float32 [n]: the length of each row of `values`."""
    label_rows: NDArray[np.int64]
    """int64 [largest label id + 1]: the row of `means` of a label id."""
    means: NDArray[np.float16] | Floats
    """[L, F], with the precision of float16: the mean of the rows of each label, each row of length
    1."""
    view: MetricView
    """The rows in the metric of the gallery: the plain one unless one was fitted."""

    def units(self, rows: NDArray[np.int64]) -> Floats:
        """Return the features of rows, scaled to length 1: float32 [n, F]."""
        units: Floats = self.values[rows].astype(np.float32)
        units /= self.lengths[rows, np.newaxis]
        return units

    @property
    def pictures(self) -> NDArray[np.int64]:
        """The id of the first row of each row's picture, int64 [n]."""
        snapshot = self.snapshot
        return snapshot.ids if snapshot.pictures is None else snapshot.pictures

    def first_rows(self) -> NDArray[np.int64]:
        """Return the first row of each picture, ascending."""
        return np.unique(self.pictures, return_index=True)[1]

    def second_rows(self) -> NDArray[np.int64] | None:
        """Return the second row of each picture, its middle, in the order of `first_rows`.

        None if a picture has only one.
        """
        order = np.argsort(self.pictures, kind="stable")
        _, starts, counts = np.unique(self.pictures[order], return_index=True, return_counts=True)
        return order[starts + 1] if counts.min(initial=2) > 1 else None

    def cosines(self, query: Floats, rows: NDArray[np.int64]) -> Floats:
        """Return the plain cosine of `query` (float32 [F], length 1) with each of these rows."""
        cosines: Floats = self.values[rows].astype(np.float32) @ query
        cosines /= self.lengths[rows]
        return cosines

    def similarities(
        self,
        query: Floats,
        rows: NDArray[np.int64],
        view: MetricView | None = None,
        prepared: Query | None = None,
    ) -> Floats:
        """Return the similarity of `query` (float32 [F], length 1) to each of these rows, [n].

        It is the cosine in the metric of the gallery, or in that of `view`. From `SAME` on, it is
        the plain cosine: an enrolled picture is one in any metric. `prepared` is what this metric
        makes of the query, if the caller has it.
        """
        view = view or self.view
        prepared = prepared or view.metric.query(query)
        values, lengths = self.values[rows].astype(np.float32), self.lengths[rows]
        # Two products of a vector take half the time of one with both.
        plain = values @ query / lengths
        products = values @ prepared.vector / lengths
        similarities = view.metric.cosines(prepared, products, view.row_lengths[rows])
        return np.where(plain >= SAME, plain, np.minimum(similarities, _BELOW_SAME))

    def mean_similarities(
        self,
        query: Floats,
        label_ids: list[int],
        view: MetricView | None = None,
        prepared: Query | None = None,
    ) -> Floats:
        """Return the cosine of `query` with the mean of each of these labels, float32 [n]."""
        view = view or self.view
        places = self.label_rows[label_ids]
        prepared = prepared or view.metric.query(query)
        products = self.means[places].astype(np.float32, copy=False) @ prepared.vector
        return view.metric.cosines(prepared, products, view.mean_lengths[places])

    def similarity_to(self, query: Floats, mean: Floats, view: MetricView | None = None) -> Floats:
        """Return the cosine of `query` with the `mean` of rows of length 1, float32 [1]."""
        metric = (view or self.view).metric
        prepared, means = metric.query(query), mean[np.newaxis]
        return metric.cosines(prepared, means @ prepared.vector, metric.lengths(means))


class Views:
    """The rows of an index in other metrics; each view is made once."""

    def __init__(self, index: FeatureIndex) -> None:
        self._index = index
        self._made: dict[int, MetricView] = {}

    def of(self, metric: Metric) -> MetricView:
        """Return the rows in `metric`."""
        view = self._made.get(id(metric))
        if view is None:
            index = self._index
            view = _view(metric, index.values, index.lengths, index.means)
            self._made[id(metric)] = view  # which keeps the metric, so that its id stays its own
        return view

    def without(self, label_id: int) -> MetricView:
        """Return the rows in the metric of the gallery, fitted without this label."""
        metric = self._index.fit.metric
        return self._index.view if metric is None else self.of(metric.without(label_id))


def load_index(
    connection: sqlite3.Connection,
    path: Path,
    snapshot: Snapshot,
    fit: Fit,
    earlier: FeatureIndex | None,
) -> FeatureIndex | None:
    """Return the features of `snapshot`, reading only those that `earlier` does not have.

    Returns None if a code has no features, or if there are more than `MOST_CODES`. Raises
    `GalleryDamagedError` if a checksum does not match.
    """
    columns = snapshot.columns()
    ids = columns.ids
    if not len(ids) or len(ids) > MOST_CODES:
        return None
    (count,) = connection.execute("SELECT count(*) FROM feature").fetchone()
    if count != len(ids):
        return None
    if earlier is not None and not in_history(connection, earlier.snapshot.generation):
        earlier = None  # a restored backup may have other codes under the same ids
    old = np.empty(0, np.int64) if earlier is None else earlier.snapshot.ids
    kept = old[np.isin(old, ids, assume_unique=True)]
    parts: list[QuantizedFeatures] = []
    if earlier is not None:
        parts.append(earlier.values[np.searchsorted(old, kept)])
    new = []
    for row in read_features(connection, int(kept[-1]) if len(kept) else 0):
        if not row.intact():
            raise damaged(path, f"the checksum of the features of code {row.item_id} is wrong")
        new.append(row.value)
    if len(kept) + len(new) != len(ids):  # an older row got features since
        return None if earlier is None else load_index(connection, path, snapshot, fit, None)
    if new:
        parts.append(np.frombuffer(b"".join(new), np.int8).reshape(len(new), -1))
    return make_index(snapshot, columns, np.concatenate(parts), fit)


def make_index(
    snapshot: Snapshot, columns: Columns, values: QuantizedFeatures, fit: Fit
) -> FeatureIndex:
    """Return the index of `columns`, the living rows of `snapshot`, with their features."""
    squares = np.einsum("ij,ij->i", values, values, dtype=np.int64, casting="unsafe")
    lengths = np.sqrt(np.maximum(squares, 1)).astype(np.float32)
    present, owners = np.unique(columns.label_ids, return_inverse=True)
    metric = fit.metric.metric if fit.metric else Metric.plain(values.shape[1])
    sums = np.zeros((len(present), values.shape[1]), np.float32)
    codes, bits = [], snapshot.lookup.bits
    for start in range(0, len(values), _PART):
        part = slice(start, start + _PART)
        floats = values[part].astype(np.float32) / lengths[part, np.newaxis]
        np.add.at(sums, owners[part], floats)
        if fit.layer is not None:
            codes.append(fit.layer.codes(floats))
    model_codes = columns.codes
    if fit.layer is not None:
        bits = fit.layer.bits
        columns = replace(columns, codes=np.concatenate(codes))
    label_rows = np.zeros(int(present[-1]) + 1, np.int64)
    label_rows[present] = np.arange(len(present))
    means: NDArray[np.float16] | Floats
    means = (sums / np.bincount(owners)[:, np.newaxis]).astype(np.float16)
    if len(means) <= _FEW_LABELS:
        means = means.astype(np.float32)
    return FeatureIndex(
        snapshot=snapshot_of(snapshot.generation, snapshot.labels, columns, bits),
        model_codes=model_codes,
        fit=fit,
        values=values,
        lengths=lengths,
        label_rows=label_rows,
        means=means,
        view=_view(metric, values, lengths, means),
    )


def named_only(index: FeatureIndex) -> FeatureIndex:
    """Return `index` without the label `UNKNOWN`, whose pictures have nothing in common."""
    snapshot = index.snapshot
    if snapshot.unknown is None:
        return index
    named = snapshot.label_ids != snapshot.unknown
    if not named.any():
        return index
    columns = Columns(
        snapshot.ids[named],
        snapshot.label_ids[named],
        index.model_codes[named],
        None if snapshot.positions is None else snapshot.positions[named],
        None if snapshot.pictures is None else snapshot.pictures[named],
    )
    return make_index(snapshot, columns, index.values[named], index.fit)


def _view(
    metric: Metric,
    values: QuantizedFeatures,
    lengths: Floats,
    means: NDArray[np.float16] | Floats,
) -> MetricView:
    row_lengths = np.empty(len(values), np.float32)
    for start in range(0, len(values), _PART):
        part = slice(start, start + _PART)
        row_lengths[part] = metric.lengths(
            values[part].astype(np.float32) / lengths[part, np.newaxis]
        )
    return MetricView(metric, row_lengths, metric.lengths(means.astype(np.float32)))
