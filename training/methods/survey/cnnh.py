"""CNNH (Xia et al. 2014, "Supervised Hashing via Image Representation Learning"): two stages.

Stage 1 finds codes H in [-1, 1] that minimize || S - H H' / K ||^2 by
coordinate descent, S_ij = 1 for similar and -1 for other images. Stage 2 trains the network to give
these codes. With one label per image all rows of a class in S are equal, and codes that differ
within a class cannot be better: replacing them by the best one among them does not increase any
term. So stage 1 needs one row per class.

Authors' code was not found (looked for on GitHub and in the stored pages). Compared with a third
party's code (github.com/swuxyj/DeepHash-pytorch, CNNH.py): the slope, the curve and the bounded
step of the descent are the same. Its order of the entries is random, and its stage 2 regresses
linear outputs.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from training.methods.base import Head

SWEEPS = 10
STARTS = 3


def error_of(codes: NDArray[np.float64]) -> float:
    """Return || S - H H' / K ||^2 of the codes [C, K] of classes."""
    wanted = 2 * np.eye(len(codes)) - 1
    return float(((wanted - codes @ codes.T / codes.shape[1]) ** 2).sum())


def descend(codes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Minimize `error_of` from `codes` [C, K], one entry at a time, within [-1, 1].

    A step goes to the minimum of the second-order expansion in that entry (formulas 6 to 8 in that
    code).
    """
    codes = codes.copy()
    classes, bits = codes.shape
    residual = codes @ codes.T - bits * (2 * np.eye(classes) - 1)  # K (H H' / K - S)
    for _ in range(SWEEPS):
        for bit in range(bits):
            for row in range(classes):
                column, value = codes[:, bit], codes[row, bit]
                # The error is the sum over j != row of 2 (r_j + d h_j)^2, plus that of (row, row).
                own, square = residual[row, row], value * value
                slope = 4 * (residual[row] @ column - own * value) + 4 * own * value
                curve = 4 * (column @ column - square) + 4 * own + 8 * square
                step = -np.sign(slope) * 2.0 if curve <= 0 else -slope / curve
                new = min(max(value + step, -1.0), 1.0)
                change = (new - value) * column
                residual[row] += change
                residual[:, row] += change
                residual[row, row] += (new - value) ** 2
                codes[row, bit] = new
    return codes


def class_codes(classes: int, bits: int, seed: int) -> Tensor:
    """Return the +-1 codes of stage 1, float [classes, bits]: the best of several starts."""
    rng = np.random.default_rng((seed, classes, bits))
    starts = [descend(rng.uniform(-1, 1, (classes, bits))) for _ in range(STARTS)]
    signs = [np.where(each > 0, 1.0, -1.0) for each in starts]
    return torch.from_numpy(min(signs, key=error_of)).float()


class CNNH(Head):
    """Regression of the codes of stage 1."""

    def __init__(self, features: int, bits: int, classes: int):
        super().__init__(features, bits, classes)
        self.codes: Tensor
        self.register_buffer("codes", class_codes(classes, bits, seed=1))

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return the mean squared error of tanh outputs and codes."""
        return functional.mse_loss(torch.tanh(self.hash(features)), self.codes[targets])
