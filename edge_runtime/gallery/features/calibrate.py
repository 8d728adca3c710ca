"""Measure in a gallery how similar strangers and known things are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_runtime.fitting.calibration import Calibration, calibrate
from edge_runtime.gallery.features.index import FeatureIndex
from edge_runtime.gallery.features.search import CANDIDATES, label_similarity
from edge_runtime.lookup import RowFilter

MOST_PICTURES = 300
"""Pictures that are compared with the others, at most; bounds the time."""
SEED = 1


def calibrate_index(index: FeatureIndex) -> Calibration:
    """Compare enrolled pictures with all labels but their own, and with their own label.

    The comparison is that of a query: the nearest codes, then the features. A picture counts with
    its first code, the whole picture. Deterministic.
    """
    snapshot = index.snapshot
    pictures = _first_rows(index)
    if len(pictures) > MOST_PICTURES:
        chosen = np.random.default_rng(SEED).permutation(len(pictures))[:MOST_PICTURES]
        pictures = pictures[np.sort(chosen)]
    strangers, known, measured = [], [], set()
    for row in pictures.tolist():
        query = index.units(np.array([row]))[0]
        own = int(snapshot.label_ids[row])
        other = _highest_elsewhere(index, query, row, own)
        if other is not None:
            strangers.append(other)
            measured.add(own)
        same = _similarity_to_own(index, query, row, own)
        if same is not None:
            known.append(same)
    return calibrate(
        np.array(strangers, np.float32), np.array(known, np.float32), max(len(measured), 1)
    )


def _first_rows(index: FeatureIndex) -> NDArray[np.int64]:
    """Return the first row of each picture."""
    if index.snapshot.pictures is None:
        return np.arange(len(index.snapshot.ids))
    return np.unique(index.snapshot.pictures, return_index=True)[1]


def _highest_elsewhere(index: FeatureIndex, query: np.ndarray, row: int, own: int) -> float | None:
    """Return the similarity of the most similar label that is not `own`; None without others."""
    snapshot = index.snapshot
    others = snapshot.label_ids != own
    passing = RowFilter(np.packbits(others, bitorder="little"))
    code = snapshot.lookup.codes[row]
    rows, _ = snapshot.nearest_rows(code, CANDIDATES, passing)
    if not len(rows):
        return None
    cosines = index.cosines(query, rows)
    owners = snapshot.label_ids[rows]
    labels, inverse = np.unique(owners, return_inverse=True)
    nearest = np.full(len(labels), -1, np.float32)
    np.maximum.at(nearest, inverse, cosines)
    return float(label_similarity(query, nearest, index.mean_of(labels.tolist())).max())


def _similarity_to_own(index: FeatureIndex, query: np.ndarray, row: int, own: int) -> float | None:
    """Return the similarity to the other pictures of the label; None if there is none."""
    snapshot = index.snapshot
    rows = np.flatnonzero(snapshot.label_ids == own)
    if snapshot.pictures is None:
        rows = rows[rows != row]
    else:
        rows = rows[snapshot.pictures[rows] != snapshot.pictures[row]]
    if not len(rows):
        return None
    units = index.units(rows)
    nearest = np.array([(units @ query).max()], np.float32)
    return float(label_similarity(query, nearest, units.mean(axis=0)[np.newaxis])[0])
