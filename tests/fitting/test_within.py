"""The scatter within labels of a part of the rows equals the one that is summed again."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.fitting.prior import label_means, scatter
from edge_runtime.fitting.within import Scatter


@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40),
    st.integers(0, 1000),
)
def test_a_part_has_the_scatter_of_its_rows(drawn: list[tuple[int, bool]], seed: int) -> None:
    label_ids = np.array([7 * label + 3 for label, _ in drawn], np.int64)
    left_out = np.array([out for _, out in drawn])
    rows = np.random.default_rng(seed).standard_normal((len(drawn), 6)).astype(np.float32)
    within = Scatter(rows, label_ids)
    total, freedom = within.of_labels(np.ones(len(within.present), np.bool_))
    expected, expected_freedom = scatter(rows, within.labels)
    np.testing.assert_allclose(total, expected, atol=1e-4)
    assert freedom == expected_freedom
    if left_out.all():
        return
    rest, freedom, center = within.without(left_out, total)
    labels = np.unique(label_ids[~left_out], return_inverse=True)[1].astype(np.int64)
    expected, expected_freedom = scatter(rows[~left_out], labels)
    np.testing.assert_allclose(rest, expected, atol=1e-4)
    assert freedom == expected_freedom
    np.testing.assert_allclose(
        center, label_means(rows[~left_out], labels)[0].mean(axis=0), atol=1e-4
    )


def test_a_group_of_labels_has_the_scatter_of_its_rows() -> None:
    rows = np.random.default_rng(1).standard_normal((12, 4)).astype(np.float32)
    label_ids = np.repeat(np.arange(4), 3)
    part, freedom = Scatter(rows, label_ids).of_labels(np.array([True, False, True, False]))
    chosen = np.isin(label_ids, (0, 2))
    expected, expected_freedom = scatter(rows[chosen], np.repeat(np.arange(2), 3))
    np.testing.assert_allclose(part, expected, atol=1e-5)
    assert freedom == expected_freedom
