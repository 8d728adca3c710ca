"""UH-BDNN (Do, Doan & Cheung 2016, ECCV): a layer that outputs the code and reconstructs the input.

With m photos X, code layer H and B in {-1, 1}, the source minimizes

    J = |X - W B - c|^2 / 2m + l1 sum |W|^2 / 2 + l2 |H - B|^2 / 2m + l3 |H H' / m - I|^2 / 2
        + l4 |H 1|^2 / 2m

by turns: the layers by L-BFGS with B fixed, and B bit by bit in closed form.

Compared with the authors' code (github.com/dzungdoan6/uh-bdnn): the cost, its weights, the units of
the layers, the start of B and the step for a bit are the same. What differs:

- There, the layers start from principal directions of their inputs, which are scaled to [0, 1].
  Here the inputs are already principal components, centered and not scaled, so such a start would
  saturate the sigmoids of the first layer: layers start at random.
- There, ten passes over the bits follow one another. Here it is one, and a turn goes on from it.
- There, a turn that does not help on validation images is the last of up to 20, each of 400
  iterations. Here their number is fixed and smaller, so that a table takes minutes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from training.methods.itq import fit_itq
from training.methods.unlabelled.base import Budget, Unlabelled, principal

DECAY, VIOLATION, INDEPENDENCE, BALANCE = 1e-5, 5e-2, 1e-2, 5e-7
"""lambda 1 to 4, as in the authors' code."""
LAYERS = {8: (90, 20), 16: (90, 30), 24: (100, 40), 32: (120, 50)}
"""Longest code in bits -> units of the two layers below it, as in the authors' code."""
INPUT = 320
"""Principal components of the features that the network sees and reconstructs."""
TURNS, STEPS = 5, 20
"""Turns of both steps, and L-BFGS iterations in each; the authors' code has 20 and 400."""


class UHBDNN(Unlabelled):
    """Sigmoid layers, a linear code layer, and a linear reconstruction from the code."""

    def __init__(self, features: int, bits: int, hidden: int = 0) -> None:
        """Make the layers; `hidden` is not used."""
        super().__init__(features, bits)
        first, second = next((u for most, u in LAYERS.items() if bits <= most), (150, 80))
        self.inputs = min(INPUT, features)
        self.project: Tensor
        self.register_buffer("project", torch.zeros(features, self.inputs))
        self.encoder = nn.Sequential(
            nn.Linear(self.inputs, first), nn.Sigmoid(), nn.Linear(first, second), nn.Sigmoid(),
            nn.Linear(second, bits),
        )  # fmt: skip
        self.decoder = nn.Linear(bits, self.inputs)

    def values(self, features: Tensor) -> Tensor:
        """Return the code layer, float [N, K], of features [N, F]."""
        found: Tensor = self.encoder(features @ self.project)
        return found

    def learn(self, views: Tensor, seed: int, budget: Budget) -> None:
        """Train on the clean view of `views` [V, N, F] by turns of both steps."""
        self.project.copy_(principal(views[0], self.inputs))
        inputs = views[0] @ self.project
        weight, bias = fit_itq(inputs.numpy(), self.bits, seed)
        codes = torch.from_numpy(np.sign(inputs.numpy() @ weight.T + bias)).float()
        for _ in range(TURNS):
            self._fit_layers(inputs, codes)
            with torch.no_grad():
                codes = self._fit_codes(inputs, codes)

    def _fit_layers(self, inputs: Tensor, codes: Tensor) -> None:
        optimizer = torch.optim.LBFGS(
            self.parameters(), max_iter=STEPS, history_size=10, line_search_fn="strong_wolfe"
        )

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = self.objective(inputs, codes)
            loss.backward()
            return loss

        optimizer.step(closure)

    def objective(self, inputs: Tensor, codes: Tensor) -> Tensor:
        """Return J for inputs [m, D] and codes +-1 [m, K]."""
        count = len(inputs)
        values = self.encoder(inputs)
        lost = (inputs - self.decoder(codes)).square().sum() / (2 * count)
        away = (values - codes).square().sum() / (2 * count)
        dependent = (values.T @ values / count - torch.eye(self.bits)).square().sum() / 2
        unbalanced = values.sum(0).square().sum() / (2 * count)
        layers = [each for each in (*self.encoder, self.decoder) if isinstance(each, nn.Linear)]
        size = torch.stack([each.weight.square().sum() for each in layers]).sum() / 2
        loss: Tensor = (lost + DECAY * size + VIOLATION * away + INDEPENDENCE * dependent
                        + BALANCE * unbalanced)  # fmt: skip
        return loss

    def _fit_codes(self, inputs: Tensor, codes: Tensor) -> Tensor:
        """Return codes [m, K] that minimize J with the layers fixed, bit by bit, in one pass."""
        weight = self.decoder.weight  # [D, K]
        target = (inputs - self.decoder.bias) @ weight + VIOLATION * self.encoder(inputs)
        gram = weight.T @ weight
        codes = codes.clone()
        for bit in range(self.bits):
            others = codes @ gram[:, bit] - codes[:, bit] * gram[bit, bit]
            codes[:, bit] = torch.where(target[:, bit] - others >= 0, 1.0, -1.0)
        return codes
