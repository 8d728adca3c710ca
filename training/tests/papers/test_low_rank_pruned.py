"""Low-rank and pruned networks: what is computed, what it costs, the command on drawn photos."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

from edge_runtime.errors import ModelError
from training.commands.papers import low_rank_pruned as command
from training.models.alexnet import AlexNet, save_network
from training.models.cost import cost_of
from training.onnx.model_file import session
from training.papers.compressed.chain import Chain, alexnet_chain, mobilenet_chain, moments
from training.papers.compressed.chain_layers import chain_layers
from training.papers.compressed.counts import with_counts
from training.papers.compressed.low_rank import decompose, factors, low_rank
from training.papers.compressed.neurons import remove_neurons
from training.papers.compressed.pruned import prune_channels, prune_weights, sparse_megabytes
from training.papers.compressed.qcnn.layers import run
from training.papers.compressed.variants import counted_names
from training.papers.rows import Row, read_table
from training.tests.conftest import ROOT, draw_photos

MODEL = ROOT / "models" / "mobilenet_v1_hash64.onnx"


@pytest.fixture(scope="module")
def mobilenet() -> tuple[Chain, Tensor]:
    """The shipped network, and early maps of random images of 64 pixels."""
    chain = mobilenet_chain(MODEL)
    torch.manual_seed(4)
    with torch.inference_mode():
        return chain, chain.early(torch.rand(4, 3, 64, 64) * 2 - 1)


def test_the_chain_computes_what_the_shipped_model_computes() -> None:
    image = np.random.default_rng(1).uniform(-1, 1, (1, 3, 224, 224)).astype(np.float32)
    chain = mobilenet_chain(MODEL)
    with torch.inference_mode():
        found = torch.sigmoid(chain.whole(torch.from_numpy(image)))
    np.testing.assert_allclose(found.numpy(), session(MODEL)(image), atol=1e-4)
    assert cost_of(chain.whole, 224).megabytes == pytest.approx(MODEL.stat().st_size / 1e6, 0.01)


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.onnx").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="not a MobileNet-v1 hash network"):
        mobilenet_chain(tmp_path / "other.onnx")


def test_factors_are_exact_at_full_rank_and_best_for_the_inputs_below() -> None:
    torch.manual_seed(5)
    matrix, inputs = torch.randn(6, 8), torch.randn(200, 8) * torch.linspace(0.1, 3, 8)
    moment = inputs.T @ inputs / len(inputs)
    first, second = factors(matrix, moment)
    assert first.shape == (6, 6) and second.shape == (6, 8)
    torch.testing.assert_close(first @ second, matrix, atol=1e-4, rtol=1e-4)
    first, second = first[:, :2], second[:2]
    u, s, v = torch.linalg.svd(matrix)
    plain = u[:, :2] * s[:2] @ v[:2]
    ours, theirs = ((inputs @ (each - matrix).T).square().sum() for each in (first @ second, plain))
    assert ours < theirs


def test_a_low_rank_network_is_smaller_and_alike(mobilenet: tuple[Chain, Tensor]) -> None:
    chain, maps = mobilenet
    found = decompose(chain.late, moments(chain.late, maps))
    with torch.inference_mode():
        wanted, near, far = (
            layers(maps)
            for layers in (
                chain.late, low_rank(chain.late, found, 1.0), low_rank(chain.late, found, 0.2),
            )
        )  # fmt: skip
    assert (near - wanted).abs().mean() < (far - wanted).abs().mean()
    small = chain.with_late(low_rank(chain.late, found, 0.5))
    assert cost_of(small.whole, 64).parameters < 0.6 * cost_of(chain.whole, 64).parameters
    assert small.late[-1] is chain.late[-1]


def test_the_smallest_weights_are_pruned(mobilenet: tuple[Chain, Tensor]) -> None:
    chain, _ = mobilenet
    pruned = prune_weights(chain.late, 0.75)
    changed = 0
    for before, after in zip(chain.late.parameters(), pruned.parameters(), strict=True):
        kept = after != 0
        torch.testing.assert_close(after[kept], before[kept])
        if not bool(kept.all()):
            changed += 1
            assert float(kept.float().mean()) == pytest.approx(0.25, abs=0.01)
            assert before[~kept].abs().max() <= before[kept].abs().min()
    assert changed == 7  # the 1 x 1 convolutions; depthwise ones and the hash layer stay
    whole = chain.with_late(pruned).whole
    dense, cost = cost_of(chain.whole, 64), cost_of(whole, 64)
    assert cost.multiply_adds == dense.multiply_adds > 1.5 * cost.nonzero_multiply_adds
    assert 0.25 * dense.megabytes < sparse_megabytes(whole) < 0.4 * dense.megabytes


def test_cut_channels_that_are_zero_change_nothing(mobilenet: tuple[Chain, Tensor]) -> None:
    chain, maps = mobilenet
    convolutions = [layer for layer in chain.late if isinstance(layer, nn.Conv2d)]
    late = prune_channels(chain.late, moments(chain.late, maps), 0.0)
    with torch.inference_mode():
        torch.testing.assert_close(late(maps), chain.late(maps))
        cut = prune_channels(chain.late, moments(chain.late, maps), 0.25)
        assert cut(maps).shape == (4, 64)
    kept = [layer for layer in cut if isinstance(layer, nn.Conv2d)]
    assert kept[-1].weight.shape == (1024, 768, 1, 1) and len(kept) == len(convolutions)
    assert cost_of(chain.with_late(cut).whole, 64).parameters < 0.85 * sum(
        parameter.numel() for parameter in chain.whole.parameters()
    )


def test_a_channel_without_use_is_the_first_to_go(mobilenet: tuple[Chain, Tensor]) -> None:
    chain, maps = mobilenet
    late = prune_channels(chain.late, moments(chain.late, maps), 0.0)
    following = [layer for layer in late if isinstance(layer, nn.Conv2d) and layer.groups == 1][1]
    following.weight.data[:, :128] = 0
    with torch.inference_mode():
        wanted = late[:9](maps)
        found = prune_channels(late, moments(late, maps), 0.25)[:9](maps)
    assert wanted.shape[1] == 512 and found.shape[1] == 384  # the following layer is cut, too


def test_a_neuron_that_repeats_another_is_removed_without_a_change() -> None:
    torch.manual_seed(6)
    late = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))
    first, _, second, _, last = late
    assert isinstance(first, nn.Linear) and isinstance(second, nn.Linear)
    for layer, copied, source in ((first, 1, 4), (first, 2, 4), (second, 3, 0)):
        layer.weight.data[copied] = layer.weight.data[source]
        layer.bias.data[copied] = layer.bias.data[source]
    x = torch.randn(20, 5)
    same, less = remove_neurons(late, 1 / 4), remove_neurons(late, 3 / 4)
    with torch.inference_mode():
        torch.testing.assert_close(same(x), late(x))
        assert not torch.allclose(less(x), late(x), atol=0.01)
    assert [each.weight.shape for each in same if isinstance(each, nn.Linear)] == [
        (4, 5), (3, 4), (3, 3),
    ]  # fmt: skip
    assert same[-1] is not last and first.out_features == 6


def test_the_command_resumes_and_makes_rows(tmp_path: Path) -> None:
    draw_photos(tmp_path / "set", labels=2, each=4)
    save_network(tmp_path / "alexnet.pt", AlexNet(0.05, 72, 16))
    outputs = []
    shown = f"--data set --model {MODEL} --alexnet alexnet.pt --out out --results ."
    done = CliRunner().invoke(command.main, [*shown.split(), "--only-table"])
    assert done.exit_code == 0, done.output
    assert {row.missing for row in read_table(Path("low_rank_pruned.json")).rows} == {
        "Not yet run."
    }
    for _ in range(2):
        done = CliRunner().invoke(command.main, shown.split())
        assert done.exit_code == 0, done.output
        outputs.append(done.output)
    assert outputs[0].count("million_multiply_adds") == 13 and outputs[0].count(", int8: ") == 1
    assert "million_multiply_adds" not in outputs[1]
    rows = read_table(Path("low_rank_pruned.json")).rows
    systems = {row.system: row for row in rows}
    assert len(rows) == len(systems) == 14
    sizes = [
        float(systems[f"MobileNet-v1, {name}"].extra["MB"])
        for name in ("low rank, 50% of the weights", "fp32")
    ]
    assert sizes[0] < 0.7 * sizes[1]
    files = {path.relative_to("out").with_suffix("") for path in Path("out").glob("*/*.*")}
    assert {str(name) for name in files} <= set(counted_names().values())
    assert len(files) == 14
    assert json.loads(Path("low_rank_pruned.json").read_text())["data"].startswith("set: ")


def test_the_alexnet_chain_is_the_network_below_the_layer() -> None:
    network = AlexNet(0.25, 80, 16)
    network.eval()
    layer = (np.eye(4, 16, dtype=np.float32), np.ones(4, np.float32))
    chain, x = alexnet_chain(network, layer), torch.randn(2, 3, 80, 80)
    torch.testing.assert_close(chain.whole(x), network(x)[:, :4] + 1, atol=1e-5, rtol=1e-4)


def test_a_chain_is_the_same_network_in_layers(mobilenet: tuple[Chain, Tensor]) -> None:
    chain, maps = mobilenet
    small = low_rank(chain.late, decompose(chain.late, moments(chain.late, maps)), 0.25)
    alexnet = AlexNet(0.25, 80, 16)
    alexnet.eval()
    layer = (np.ones((4, 16), np.float32), np.ones(4, np.float32))
    for each in (chain.with_late(small), alexnet_chain(alexnet, layer)):
        x = torch.rand(1, 3, each.side, each.side) * 2 - 1
        with torch.inference_mode():
            wanted = torch.sigmoid(each.whole(x)).numpy()
        np.testing.assert_allclose(run(chain_layers(each), x.numpy()), wanted, atol=1e-4)


def test_rows_get_the_instructions_of_their_networks() -> None:
    row = Row("MobileNet-v1, fp32", "s", "64 bits", "MAP", values=(1, 2, 3), extra={"MB": 3})
    other = Row("MobileNet-v1, new", "s", "64 bits", "MAP", values=(1, 2, 3))
    one = {"instructions": 2e6, "estimated_ms": 7.0}
    counts = {
        device: {"mobilenet/fp32": one, "edge-runtime mobilenet/fp32": one}
        for device in ("rpi3", "rpi4")
    }
    first, second = with_counts((row, other), counted_names(), counts)
    assert first.extra == {
        "MB": 3, "instructions, research program (million)": 2.0,
        "instructions, edge-runtime (million)": 2.0,
        "cortex_a53_estimated_ms": 7.0, "cortex_a53_edge_runtime_estimated_ms": 7.0,
        "cortex_a72_estimated_ms": 7.0, "cortex_a72_edge_runtime_estimated_ms": 7.0,
    }  # fmt: skip
    assert second == other
