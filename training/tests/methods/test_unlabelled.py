"""Methods without labels: what their losses reward, and codes that find photos of one kind."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edge_runtime.errors import InputError
from training.eval.metrics import average_precision
from training.methods import UNLABELLED
from training.methods.linear_map import Floats
from training.methods.lsh import fit_lsh
from training.methods.unlabelled.base import Budget, train_unlabelled
from training.methods.unlabelled.bdnn import UHBDNN
from training.methods.unlabelled.cibhash import divergence, nt_xent
from training.methods.unlabelled.deepbit import DeepBit
from training.methods.unlabelled.dh import DH

BUDGET = Budget(epochs=15, batch=60, rate=3e-3)
KINDS = 6


def views_of_kinds(many: int = 3) -> tuple[list[Floats], np.ndarray]:
    """Features of photos of six kinds, and of `many` noisy views of each."""
    rng = np.random.default_rng(5)
    labels = np.repeat(np.arange(KINDS), 40)
    kinds = rng.normal(0, 1.2, (KINDS, 24))
    photos = kinds[labels] + rng.normal(0, 1.0, (len(labels), 24))
    shown = [photos + rng.normal(0, 0.5, photos.shape) * (view > 0) for view in range(many)]
    return [each.astype(np.float32) for each in shown], labels


def found_kinds(values: Floats, labels: np.ndarray) -> float:
    """MAP of ranking all photos for each photo by the codes of `values`."""
    signs = np.where(values > 0, 1.0, -1.0)
    nearness = signs @ signs.T + np.random.default_rng(0).uniform(0, 0.5, (len(labels),) * 2)
    np.fill_diagonal(nearness, -np.inf)
    order = np.argsort(-nearness, axis=1)[:, :-1]
    return float(average_precision(labels[order] == labels[:, None], len(labels)).mean())


@pytest.mark.parametrize("name", UNLABELLED)
def test_codes_find_photos_of_one_kind(name: str) -> None:
    passes, labels = views_of_kinds()
    coder = train_unlabelled(UNLABELLED[name], passes, 12, 1, BUDGET)
    found = found_kinds(coder.values(passes[0]), labels)
    assert found > 2 / KINDS  # twice that of random codes
    if name in ("cibhash", "uh-bdnn"):  # the others depend on their start
        weight, bias = fit_lsh(passes[0], 12, 1)
        assert found > found_kinds(passes[0] @ weight.T + bias, labels) + 0.03


@pytest.mark.parametrize("name", UNLABELLED)
def test_a_training_is_repeated_exactly_and_depends_on_the_seed(name: str) -> None:
    passes, _ = views_of_kinds()
    first, again, other = (
        train_unlabelled(UNLABELLED[name], passes, 8, seed, Budget(epochs=2)).values(passes[0])
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again) and not np.array_equal(first, other)


@pytest.mark.parametrize("name", ["deepbit", "cibhash"])
def test_a_linear_encoder_is_a_layer_for_the_exported_model(name: str) -> None:
    passes, _ = views_of_kinds()
    coder = train_unlabelled(UNLABELLED[name], passes, 8, 1, Budget(epochs=2))
    weight, bias = coder.linear()
    assert np.allclose(passes[0] @ weight.T + bias, coder.values(passes[0]), atol=1e-4)


@pytest.mark.parametrize("name", ["dh", "uh-bdnn"])
def test_an_encoder_of_several_layers_is_no_hash_layer(name: str) -> None:
    passes, _ = views_of_kinds()
    coder = train_unlabelled(UNLABELLED[name], passes, 8, 1, Budget(epochs=1))
    with pytest.raises(InputError, match="not linear"):
        coder.linear()


def test_cibhash_wants_views_alike_and_photos_different() -> None:
    alike = torch.eye(4).repeat(1, 2) * 2 - 1
    same = torch.ones(4, 8)
    assert nt_xent(alike, alike) < nt_xent(same, same)
    assert float(nt_xent(same, same)) == pytest.approx(np.log(7), abs=1e-4)
    p, q = torch.tensor([[0.3]]), torch.tensor([[0.8]])
    expected = sum(
        float(torch.distributions.kl_divergence(*pair).sum()) / 2
        for pair in (
            (torch.distributions.Bernoulli(p), torch.distributions.Bernoulli(q)),
            (torch.distributions.Bernoulli(q), torch.distributions.Bernoulli(p)),
        )
    )
    assert float(divergence(torch.logit(p), torch.logit(q))) == pytest.approx(expected, abs=1e-6)


def with_layer(net: DeepBit, weight: list[list[float]]) -> DeepBit:
    layer = net.encoder[0]
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
        layer.bias.zero_()
    return net


def test_deepbit_is_lost_only_where_bits_are_uncertain_uneven_or_not_invariant() -> None:
    net = with_layer(DeepBit(1, 1), [[1.0]])
    even, uneven = torch.tensor([[0.5], [-0.5]]), torch.tensor([[0.5], [0.5]])
    turned, uncertain = torch.tensor([[1.5], [-0.5]]), torch.tensor([[0.1], [-0.1]])
    with torch.no_grad():
        assert float(net(torch.stack([even, even]))) == 0
        assert float(net(torch.stack([uneven, uneven]))) == pytest.approx(2 * 0.25)
        assert float(net(torch.stack([even, turned]))) == pytest.approx(0.5 + 0.001 * 0.5)
        assert float(net(torch.stack([uncertain, uncertain]))) == pytest.approx(2 * 0.16)


def test_dh_starts_from_the_principal_directions() -> None:
    passes, _ = views_of_kinds()
    features = torch.from_numpy(passes[0] - passes[0].mean(0))
    net = DH(24, 8)
    net.prepare(features, BUDGET)
    first = features @ torch.linalg.eigh(features.T @ features)[1][:, -1]
    assert torch.allclose(net.values(features)[:, 0].abs(), first.tanh().tanh().tanh().abs(),
                          atol=1e-4)  # fmt: skip


def test_uh_bdnn_starts_from_the_principal_directions_of_scaled_inputs() -> None:
    passes, _ = views_of_kinds()
    torch.manual_seed(1)
    net = UHBDNN(24, 4)
    inputs = torch.from_numpy(passes[0] - passes[0].min(0)) / 10
    net._start(inputs)
    first = net.encoder[0].weight[0]
    assert torch.allclose((inputs @ first).square().mean(), torch.linalg.eigvalsh(
        inputs.T @ inputs / len(inputs))[-1], rtol=1e-4)  # fmt: skip
    assert torch.equal(net.decoder.weight, torch.eye(24, 4))


def test_uh_bdnn_chooses_each_bit_so_that_the_objective_falls() -> None:
    passes, _ = views_of_kinds()
    torch.manual_seed(1)
    net = UHBDNN(24, 4)
    inputs = torch.from_numpy(passes[0][:30, :24])
    codes = torch.sign(torch.randn(30, 4))
    with torch.no_grad():
        better = net._fit_codes(inputs)
        last = better.clone()
        last[:, 3] *= -1  # the last bit is optimal given the others
        assert net.objective(inputs, better) <= net.objective(inputs, codes)
        assert net.objective(inputs, better) <= net.objective(inputs, last)
