"""The loss of each method of the survey against a direct computation of its formula."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from training.methods.base import Head
from training.methods.csq import CSQ
from training.methods.dlbh import DLBH
from training.methods.ssdh import SSDH
from training.methods.survey import cnnh, dnnh, drsch, dsrh, pairs
from training.methods.survey.bdnn import BDNN
from training.methods.survey.dhn import DHN
from training.methods.survey.dpsh import DPSH
from training.methods.survey.greedyhash import GreedyHash
from training.methods.survey.hashnet import HashNet

BITS, CLASSES = 6, 3
LABELS = [0, 1, 0, 2, 1, 2, 0]


def prepared(method: type[Head], features: int = 12) -> tuple[Head, torch.Tensor, torch.Tensor]:
    """A method, features and targets; all in double precision."""
    torch.manual_seed(3)
    head = method(features, BITS, CLASSES).double()
    torch.nn.init.normal_(head.hash.bias, 0, 0.3)
    return head, torch.randn(len(LABELS), features).double(), torch.tensor(LABELS)


def loss_of(head: Head, features: torch.Tensor, targets: torch.Tensor) -> float:
    return float(head(features, targets).detach())


def outputs(head: Head, features: torch.Tensor) -> list[list[float]]:
    values: list[list[float]] = head.hash(features).detach().tolist()
    return values


def over_pairs(term: Callable[[int, int, int], float]) -> float:
    """The mean of term(i, j, s_ij) over the ordered pairs of different images."""
    found = [
        term(i, j, int(LABELS[i] == LABELS[j]))
        for i, j in itertools.permutations(range(len(LABELS)), 2)
    ]
    return sum(found) / len(found)


def dot(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def every_triplet(targets: torch.Tensor, each: int) -> tuple[torch.Tensor, ...]:
    """In place of `draw_triplets`: every triplet once."""
    found = [
        (i, j, k)
        for i, j, k in itertools.permutations(range(len(targets)), 3)
        if targets[i] == targets[j] != targets[k]
    ]
    return tuple(torch.tensor(found).T)


def over_triplets(term: Callable[[int, int, int], float]) -> float:
    found = [term(*each) for each in torch.stack(every_triplet(torch.tensor(LABELS), 0)).T.tolist()]
    return sum(found) / len(found)


def test_dpsh() -> None:
    head, features, targets = prepared(DPSH)
    u = outputs(head, features)

    def term(i: int, j: int, s: int) -> float:
        theta = dot(u[i], u[j]) / 2
        return -(s * theta - math.log(1 + math.exp(theta)))

    away = sum(sum((math.copysign(1, x) - x) ** 2 for x in row) for row in u) / len(u)
    expected = over_pairs(term) + 50 / 5000 * away
    assert loss_of(head, features, targets) == pytest.approx(expected)


@pytest.mark.parametrize(("slope", "factor"), [(None, 1.0), (10.0, 10 / BITS)])
def test_dhn(slope: float | None, factor: float) -> None:
    head, features, targets = prepared(DHN)
    head.slope = slope
    z = [[math.tanh(x) for x in row] for row in outputs(head, features)]

    def prior(row: list[float]) -> float:
        return sum(math.log(math.cosh(abs(x) - 1)) for x in row)

    def term(i: int, j: int, s: int) -> float:
        product = factor * dot(z[i], z[j])
        return math.log(1 + math.exp(product)) - s * product

    expected = over_pairs(term) + 0.2 * sum(map(prior, z)) / len(z)
    assert loss_of(head, features, targets) == pytest.approx(expected)


@pytest.mark.parametrize(("share", "beta"), [(0.0, 1.0), (0.021, 2**0.5), (1.0, 50**0.5)])
def test_hashnet(share: float, beta: float) -> None:
    head, features, targets = prepared(HashNet)
    head.begin(share)
    h = [[math.tanh(beta * x) for x in row] for row in outputs(head, features)]
    alpha = 10 / BITS
    found = list(itertools.permutations(range(len(LABELS)), 2))
    alike = sum(LABELS[i] == LABELS[j] for i, j in found)
    total = 0.0
    for i, j in found:
        s = int(LABELS[i] == LABELS[j])
        weight = len(found) / (alike if s else len(found) - alike)
        product = alpha * dot(h[i], h[j])
        total += weight * (math.log(1 + math.exp(product)) - s * product)
    assert loss_of(head, features, targets) == pytest.approx(total / len(found))


def test_bdnn() -> None:
    head, features, targets = prepared(BDNN)
    h = np.array(outputs(head, features)).T  # [K, m], as in the source
    m, n = len(LABELS), 30_000
    s = np.where(np.array(LABELS)[:, None] == np.array(LABELS), 1, -1)
    expected = (
        np.linalg.norm(h.T @ h / BITS - s) ** 2 / (2 * m**2)
        + 5 / (2 * m * n) * np.linalg.norm(h - np.sign(h)) ** 2
        + 1 / (2 * n) * np.linalg.norm(h @ h.T / m - np.eye(BITS)) ** 2
        + 5e-5 / (2 * m**2) * np.linalg.norm(h @ np.ones(m)) ** 2
    )
    assert loss_of(head, features, targets) == pytest.approx(expected)


def test_dnnh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dnnh, "draw_triplets", every_triplet)
    head, features, targets = prepared(dnnh.DNNH)
    head.middle = 0.2
    weight, bias = head.hash.weight.detach().numpy(), head.hash.bias.detach().numpy()
    codes = np.zeros((len(LABELS), BITS))
    for k in range(BITS):  # 12 features: two for each bit
        part = features.numpy()[:, 2 * k : 2 * k + 2] @ weight[k, 2 * k : 2 * k + 2] + bias[k]
        codes[:, k] = 1 / (1 + np.exp(-part))
    codes[codes < 0.3], codes[codes > 0.7] = 0, 1

    def term(i: int, j: int, k: int) -> float:
        near, far = ((codes[i] - codes[each]) ** 2 for each in (j, k))
        return max(0.0, float(near.sum() - far.sum()) + 1)

    assert {0.0, 1.0} < set(codes.ravel())
    assert loss_of(head, features, targets) == pytest.approx(over_triplets(term))
    exported = features.numpy() @ head.linear()[0].T.astype(float) + head.linear()[1]
    np.testing.assert_array_equal(exported > 0, codes > 0.5)


def test_the_slices_of_dnnh_cover_the_features() -> None:
    assert dnnh.slices(512, 48).sum(0).unique().tolist() == [1]
    assert set(dnnh.slices(512, 48).sum(1).tolist()) == {10, 11}
    assert dnnh.slices(3, 8).sum(1).unique().tolist() == [1]


def test_dsrh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dsrh, "draw_triplets", every_triplet)
    head, features, targets = prepared(dsrh.DSRH)
    h = [[2 / (1 + math.exp(-x)) - 1 for x in row] for row in outputs(head, features)]

    def distance(i: int, j: int) -> float:
        return (BITS - dot(h[i], h[j])) / 2

    def term(i: int, j: int, k: int) -> float:
        return max(0.0, distance(i, j) - distance(i, k) + 5 / 64 * BITS)

    means = np.array(h).mean(0)
    expected = over_triplets(term) + float((means**2).sum()) / 2 / len(LABELS)
    assert loss_of(head, features, targets) == pytest.approx(expected / BITS)


@pytest.mark.parametrize("method", [drsch.DSCH, drsch.DRSCH])
def test_drsch(method: type[drsch.DSCH], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drsch, "draw_triplets", every_triplet)
    head, features, targets = prepared(method)
    w = np.ones(BITS)
    if isinstance(head, drsch.DRSCH):
        w = np.arange(1.0, BITS + 1) ** 2
        head.scale.data = torch.arange(1.0, BITS + 1).double()
        w /= w.mean()
        np.testing.assert_allclose(head.bit_weights(), w, rtol=1e-6)
    r = np.tanh(np.array(outputs(head, features)))

    def distance(i: int, j: int) -> float:
        return float((w * (r[i] - r[j]) ** 2).sum())

    def term(i: int, j: int, k: int) -> float:
        return max(0.0, (distance(i, j) - distance(i, k)) / BITS + 5 / 64)

    x = features.numpy() / np.linalg.norm(features.numpy(), axis=1, keepdims=True)
    away = []
    for i in range(len(LABELS)):
        nearest = [int(j) for j in np.argsort(-(x @ x[i])) if j != i][: head.neighbors]
        away += [((r[i] - r[j]) ** 2 * w).mean() for j in nearest]
    expected = over_triplets(term) + head.consistency * float(np.mean(away))
    assert loss_of(head, features, targets) == pytest.approx(expected)


def test_greedyhash() -> None:
    head, features, targets = prepared(GreedyHash)
    h = np.array(outputs(head, features))
    logits = np.sign(h) @ head.classifier.weight.detach().numpy().T
    shifted = np.exp(logits)[range(len(LABELS)), LABELS] / np.exp(logits).sum(1)
    expected = -np.log(shifted).mean() + 0.1 * (np.abs(h - np.sign(h)) ** 3).mean()
    assert loss_of(head, features, targets) == pytest.approx(expected)


def test_greedyhash_passes_the_gradient_of_the_signs() -> None:
    head, features, targets = prepared(GreedyHash)
    head.penalty = 0.0
    values = head.hash(features).detach().sign().requires_grad_()
    torch.nn.functional.cross_entropy(head.classifier(values), targets).backward()
    head(features, targets).backward()
    expected = values.grad.T @ features
    torch.testing.assert_close(head.hash.weight.grad, expected)


@pytest.mark.parametrize("pairwise", [0.0, 0.2])
def test_csq(pairwise: float) -> None:
    head, features, targets = prepared(CSQ)
    head.pairwise = pairwise
    y = np.tanh(np.array(outputs(head, features)))
    centers = head.centers.numpy()[LABELS]
    assert set(centers.ravel()) == {0.0, 1.0}
    chance = np.where(centers == 1, (1 + y) / 2, (1 - y) / 2)

    def term(i: int, j: int, s: int) -> float:
        product = 10 / BITS * float(y[i] @ y[j])
        return math.log(1 + math.exp(product)) - s * product

    expected = -np.log(chance).mean() + 0.05 * ((np.abs(y) - 1) ** 2).mean()
    expected += pairwise * over_pairs(term)
    assert loss_of(head, features, targets) == pytest.approx(expected)


def test_ssdh_weighs_the_added_terms() -> None:
    head, features, targets = prepared(SSDH)
    a = torch.sigmoid(head.hash(features)).detach().numpy()
    added = ((a.mean(1) - 0.5) ** 2).mean() - ((a - 0.5) ** 2).mean()
    one = loss_of(head, features, targets)
    head.weight = 0.5
    assert one - loss_of(head, features, targets) == pytest.approx(added / 2)


def test_dlbh_in_one_stage_has_its_latent_layer_from_the_start() -> None:
    head, _, _ = prepared(DLBH)
    assert head.begin(0.0) == 1 and head.tuning and head.begin(0.5) == 0.1 and not head.tuning
    head.switch, head.feature_rate = 0.0, 1.0
    assert head.begin(0.0) == 1 and not head.tuning


def test_cnnh_learns_the_codes_of_stage_1() -> None:
    head, features, targets = prepared(cnnh.CNNH)
    wanted = head.codes.numpy()[LABELS]
    expected = ((np.tanh(np.array(outputs(head, features))) - wanted) ** 2).mean()
    assert loss_of(head, features, targets) == pytest.approx(expected)


def test_stage_1_of_cnnh_finds_the_best_codes() -> None:
    """Of all 4-bit codes of three classes, by brute force."""
    every = np.array(list(itertools.product([-1.0, 1.0], repeat=4)))
    best = min(cnnh.error_of(every[list(each)]) for each in itertools.product(range(16), repeat=3))
    assert cnnh.error_of(cnnh.class_codes(3, 4, 1).numpy().astype(float)) == pytest.approx(best)


def test_stage_1_of_cnnh_never_rises() -> None:
    start = np.random.default_rng(1).uniform(-1, 1, (10, 12))
    assert cnnh.error_of(cnnh.descend(start)) < cnnh.error_of(start)
    ended = cnnh.descend(start)
    for row, bit in itertools.product(range(10), range(12)):  # no entry gains by a small change
        for change in (-1e-3, 1e-3):
            other = ended.copy()
            other[row, bit] = np.clip(other[row, bit] + change, -1, 1)
            assert cnnh.error_of(other) > cnnh.error_of(ended) - 1e-3


def test_triplets_are_of_two_similar_images_and_another() -> None:
    targets = torch.tensor([0, 0, 1, 2, 2, 2])
    image, near, far = pairs.draw_triplets(targets, 50)
    assert set(image.tolist()) == {0, 1, 3, 4, 5}  # 2 has no similar one
    assert bool((targets[image] == targets[near]).all()) and bool((image != near).all())
    assert bool((targets[image] != targets[far]).all())


@pytest.mark.parametrize("method", [dnnh.DNNH, dsrh.DSRH, drsch.DSCH, DPSH, DHN, HashNet, BDNN])
@pytest.mark.parametrize("labels", [[1], [0, 0], [0, 1]])
def test_a_small_last_batch_has_a_finite_loss(method: type[Head], labels: list[int]) -> None:
    head, features, _ = prepared(method)
    loss = head(features[: len(labels)], torch.tensor(labels))
    loss.backward()
    assert bool(torch.isfinite(loss))
