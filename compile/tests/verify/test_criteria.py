"""The criteria that codes are judged by."""

from __future__ import annotations

import numpy as np
import pytest

from compile.verify import criteria


def test_mean_average_precision_by_hand() -> None:
    codes = np.array([0b0000, 0b0001, 0b0111, 0b1111], np.uint64)[:, None]
    assert criteria.mean_average_precision(codes, np.array([0, 0, 1, 1])) == 1
    # each code's only match is found third
    assert criteria.mean_average_precision(codes, np.array([0, 1, 1, 0])) == pytest.approx(
        (1 / 3 + 1 / 2 + 1 / 2 + 1 / 3) / 4
    )
