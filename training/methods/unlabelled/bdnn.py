"""UH-BDNN (Do, Doan & Cheung 2016, ECCV): a layer that outputs the code and reconstructs the input.

With m photos X, code layer H and B in {-1, 1}, the source minimizes

    J = |X - W B - c|^2 / 2m + l1 sum |W|^2 / 2 + l2 |H - B|^2 / 2m + l3 |H H' / m - I|^2 / 2
        + l4 |H 1|^2 / 2m

by turns: the layers by L-BFGS with B fixed, and B bit by bit in closed form.

Compared with the authors' code (github.com/dzungdoan6/uh-bdnn): the cost, its weights, the units of
the layers, the scale of the inputs, the start of layers and B, the step for a bit and its ten
passes are the same. There, a turn that does not improve the ranking of validation images by
distance is the last of up to 20, each of 400 iterations. Here their number is fixed and smaller, so
that the table takes minutes and no training image is set aside.
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
TURNS, STEPS = 5, 20
"""Turns of both steps, and L-BFGS iterations in each; the authors' code has 20 and 400."""
PASSES = 10
"""Passes over the bits in a turn; they begin with a code of zeros."""


class UHBDNN(Unlabelled):
    """Sigmoid layers, a linear code layer, and a linear reconstruction from the code."""

    def __init__(self, features: int, bits: int, hidden: int = 0) -> None:
        """Make the layers; `hidden` is not used."""
        super().__init__(features, bits)
        first, second = next((u for most, u in LAYERS.items() if bits <= most), (150, 80))
        self.low: Tensor
        self.span: Tensor
        self.register_buffer("low", torch.zeros(features))
        self.register_buffer("span", torch.ones(()))
        self.encoder = nn.Sequential(
            nn.Linear(features, first), nn.Sigmoid(), nn.Linear(first, second), nn.Sigmoid(),
            nn.Linear(second, bits),
        )  # fmt: skip
        self.decoder = nn.Linear(bits, features)

    def values(self, features: Tensor) -> Tensor:
        """Return the code layer, float [N, K], of features [N, F]."""
        found: Tensor = self.encoder((features - self.low) / self.span)
        return found

    def learn(self, views: Tensor, seed: int, budget: Budget) -> None:
        """Train on the clean view of `views` [V, N, F] by turns of both steps."""
        self.low.copy_(views[0].amin(0))
        self.span.copy_((views[0].amax(0) - self.low).amax().clamp_min(1e-6))
        inputs = (views[0] - self.low) / self.span
        weight, bias = fit_itq(inputs.numpy(), self.bits, seed)
        codes = torch.from_numpy(np.sign(inputs.numpy() @ weight.T + bias)).float()
        self._start(inputs)
        self._fit_layers(inputs, codes)
        for _ in range(TURNS):
            with torch.no_grad():
                codes = self._fit_codes(inputs)
            self._fit_layers(inputs, codes)

    @torch.no_grad()
    def _start(self, inputs: Tensor) -> None:
        """Let each layer of the code begin with the principal directions of its inputs [m, D]."""
        for layer in self.encoder:
            if isinstance(layer, nn.Linear):
                found = principal(inputs, len(layer.weight)).T
                layer.weight.zero_()
                layer.weight[: len(found)] = found
                layer.bias.zero_()
            inputs = layer(inputs)
        self.decoder.weight.copy_(torch.eye(*self.decoder.weight.shape))
        self.decoder.bias.zero_()

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

    def _fit_codes(self, inputs: Tensor) -> Tensor:
        """Return codes [m, K] that lower J with the layers fixed, bit by bit."""
        weight = self.decoder.weight  # [D, K]
        target = (inputs - self.decoder.bias) @ weight + VIOLATION * self.encoder(inputs)
        gram = weight.T @ weight
        codes = torch.zeros_like(target)
        for _ in range(PASSES):
            for bit in range(self.bits):
                others = codes @ gram[:, bit] - codes[:, bit] * gram[bit, bit]
                codes[:, bit] = torch.where(target[:, bit] - others >= 0, 1.0, -1.0)
        return codes
