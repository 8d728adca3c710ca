"""Divisions of the bits in multi-index hashing: the same answers for different work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_runtime.code import hamming, pack
from edge_runtime.lookup import to_bytes
from edge_runtime.lookup.compiled import kernels
from edge_runtime.lookup.multi_index import MultiIndex
from edge_runtime.lookup.row_filter import ALL
from training.papers.files import FinishedRuns
from training.papers.multi_index import APART, IN_ORDER, SYSTEMS, grown, run_all

BITS = 64


def _correlated(count: int, seed: int = 1) -> np.ndarray:
    """Codes whose bits come in runs of four that are nearly equal."""
    rng = np.random.default_rng(seed)
    runs = np.repeat(rng.random((count, BITS // 4)) < 0.5, 4, axis=1)
    return pack(runs ^ (rng.random((count, BITS)) < 0.03))


@pytest.mark.parametrize("seed", range(3))
def test_every_order_of_the_bits_finds_the_same_neighbors(seed: int) -> None:
    codes = _correlated(900, seed)
    packed = to_bytes(codes, BITS)
    order = np.random.default_rng(seed).permutation(BITS)
    indexes = [MultiIndex(packed, BITS), MultiIndex(packed, BITS, order=order)]
    for row in range(20):
        wanted = np.sort(hamming(codes, codes[row][None]))[:10]
        for index in indexes:
            found, _ = index.nearest(packed[row], 10, ALL, kernels()[0])
            assert found is not None and np.array_equal(np.sort(found[1]), wanted)


def test_separated_bits_need_less_work_and_runs_are_not_repeated(tmp_path: Path) -> None:
    stored, asked = _correlated(4000), _correlated(30, 2)
    finished = FinishedRuns(tmp_path / "runs.jsonl")
    rows = run_all(stored, asked, BITS, (4000, 5000), 2, finished)
    assert [row.setting for row in rows] == ["4,000 codes"] * 3 + ["5,000 codes"] * 3
    assert [len(row.values) for row in rows] == [1, 2, 1] * 2
    work = {row.system: row.values[0] for row in rows[:3]}
    assert work[SYSTEMS[APART][0]] < 0.7 * work[SYSTEMS[IN_ORDER][0]]
    before = (tmp_path / "runs.jsonl").read_bytes()
    again = run_all(stored, asked, BITS, (4000, 5000), 2, FinishedRuns(tmp_path / "runs.jsonl"))
    assert again == rows and (tmp_path / "runs.jsonl").read_bytes() == before


def test_a_gallery_grows_by_changed_copies() -> None:
    codes = _correlated(50)
    many = grown(codes, BITS, 400)
    assert len(many) == 400 and np.array_equal(many[:50], codes)
    nearest = np.array([hamming(codes, each[None]).min() for each in many[50:]])
    assert 1 < nearest.mean() < 6
    assert len(grown(codes, BITS, 20)) == 20
