"""The AlexNet-shaped network: the original's size, folding, stored weights, pretraining."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import nn
from torch.nn import functional

from edge_runtime.errors import ModelError
from training.commands.papers import alexnet as command
from training.models.alexnet import AlexNet, folded, layers, load_network, save_network
from training.papers.table3 import pretraining
from training.papers.table3.pretraining import Imitation
from training.tests.conftest import draw_photos


def small() -> AlexNet:
    """A small network with batch norms that do something."""
    torch.manual_seed(2)
    network = AlexNet(0.25, 80, 16)
    network.eval()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.running_mean = torch.randn(part.num_features)
            part.running_var = torch.rand(part.num_features) + 0.5
    return network


def test_the_full_size_is_that_of_the_original() -> None:
    found = layers(AlexNet(), 1000)
    assert [layer.name for layer in found] == [
        "conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8",
    ]  # fmt: skip
    assert sum(layer.parameters for layer in found) == 60_965_224  # bvlc_alexnet of Caffe
    assert sum(layer.multiply_adds for layer in found) == 724_406_816  # 720 million in the paper
    assert 4 * sum(layer.parameters for layer in found) > 230e6


def test_folded_layers_compute_what_the_network_computes() -> None:
    network, x = small(), torch.randn(2, 3, 80, 80)
    wanted = network(x)
    for number, layer in enumerate(folded(network)):
        x = functional.relu(layer(x.flatten(1) if number == 5 else x))
        x = functional.max_pool2d(x, 3, 2) if number in (0, 1, 4) else x
    torch.testing.assert_close(x, wanted)


def test_maps_of_frozen_units_continue_to_the_features() -> None:
    network, x = small(), torch.randn(2, 3, 80, 80)
    wanted = network(x)
    network.freeze(2)
    network.train()
    assert not network.units[1].training and network.units[2].training
    network.eval()
    early = network.maps(x)
    network.from_maps = True
    torch.testing.assert_close(network(early), wanted)


def test_a_stored_network_is_read_again_or_refused(tmp_path: Path) -> None:
    path, network = tmp_path / "alexnet.pt", small()
    save_network(path, network)
    found, x = load_network(path), torch.randn(1, 3, 80, 80)
    torch.testing.assert_close(found(x), network(x))
    with pytest.raises(ModelError, match="not found"):
        load_network(tmp_path / "none.pt")
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ModelError, match="not a stored AlexNet"):
        load_network(path)
    with pytest.raises(ModelError, match="larger input"):
        AlexNet(side=60)


def test_a_perfect_imitation_costs_nothing() -> None:
    taught = torch.rand(20, 6)
    head = Imitation(6, taught, torch.randn(4, 6), torch.randn(4))
    with torch.no_grad():  # undo the scale
        head.hash.weight.copy_(torch.diag(1 / head.std))
        head.hash.bias.copy_(-head.mean / head.std)
    assert float(head.learn(taught, taught).detach()) == pytest.approx(0, abs=1e-5)
    assert float(head.learn(taught.flip(0), taught).detach()) > 0.1
    assert float(head(taught, torch.zeros(20))) == 0


def test_the_command_trains_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_photos(tmp_path / "set", labels=2, each=5)
    draw_photos(tmp_path / "more", labels=2, each=6)
    monkeypatch.setattr(pretraining, "load_imagenet", lambda path: AlexNet(0.05, 72, 8).eval())
    logits = (torch.randn(3, 8).numpy(), torch.randn(3).numpy())
    monkeypatch.setattr(pretraining, "load_logits", lambda path: logits)
    weights = tmp_path / "weights.npz"
    weights.write_bytes(b"weights")
    shown = (
        f"--data set --more more --count 4 --weights {weights} --width 0.05"
        " --hidden 8 --batch 4 --out out --results results --stages"
    )
    lines = []
    for stages in ("72x2", "72x2", "72x3"):
        done = CliRunner().invoke(command.main, [*shown.split(), stages])
        lines.append(done.output)
        assert (done.exit_code == 0) == (stages == "72x2"), done.output
    assert "12 photos, 2 epochs" in lines[0] and "epoch 2/2" in lines[0]
    assert "resuming after epoch 2" in lines[1]
    assert "it was made with recipe" in lines[2]
    assert load_network(tmp_path / "out" / "alexnet.pt").shape == {
        "width": 0.05, "side": 72, "hidden": 8,
    }  # fmt: skip
