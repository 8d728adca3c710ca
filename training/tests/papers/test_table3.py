"""Table 3: layers of several lengths, the judged order, and the whole command on drawn photos."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from training.commands.papers import table3
from training.methods.dlbh import DLBH
from training.methods.paper import Paper
from training.models.alexnet import AlexNet, save_network
from training.models.cost import cost_of
from training.models.mobilenet_v1 import Backbone, HashNetwork
from training.papers.lengths import Lengths
from training.papers.rows import Row, Table, read_table, write_table
from training.papers.table3.table import hand_made
from training.papers.table3.verdict import (
    compare,
    judge_cause,
    judge_hand_made,
    judge_order,
    sentences,
)
from training.tests.conftest import draw_photos

OWN = {"paper": "mobilenet", "ssdh": "alexnet", "dlbh": "alexnet"}


def test_layers_of_several_lengths_learn_as_each_alone() -> None:
    torch.manual_seed(3)
    together = Lengths(Paper, 6, (4, 8), 3)
    features, targets = torch.randn(5, 6), torch.tensor([0, 1, 2, 0, 1])
    losses = [head(features, targets) for head in together.heads]
    torch.testing.assert_close(together(features, targets), (losses[0] + losses[1]) / 2)
    maps = together.maps()
    assert {bits: each[0].shape for bits, each in maps.items()} == {4: (4, 6), 8: (8, 6)}
    assert together.linear()[0].shape == (12, 6) and together.bits == 12
    assert set(together.state_dict()) == {
        f"heads.{i}.{name}" for i in range(2) for name in torch.nn.Module.state_dict(Paper(6, 4, 3))
    }


def test_every_length_of_dlbh_changes_its_stage() -> None:
    together = Lengths(DLBH, 6, (4, 8), 3)
    assert together.slows and together.begin(0.2) == 1.0 and together.begin(0.7) == 0.1
    assert [head.tuning for head in together.heads] == [False, False]


def test_costs_are_counted_for_the_whole_network() -> None:
    cost = cost_of(Backbone().eval(), 224, 64)
    weights = sum(
        parameter.numel()
        for name, parameter in HashNetwork(64).named_parameters()
        if parameter.ndim > 1 or name == "hash.bias"  # batch norms fold
    )
    channels = sum(unit[0].weight.shape[0] for unit in Backbone().units)  # one bias each
    assert cost.parameters == weights + channels
    assert 560e6 < cost.multiply_adds < 575e6 and 12 < cost.megabytes < 14


def test_a_step_holds_only_beyond_the_spread() -> None:
    assert compare("a", "b", [10, 12], [5, 7]).verdict == "holds"
    assert compare("a", "b", [10, 12], [9, 11]).verdict == "is within the spread"
    assert compare("a", "b", [1, 2], [9, 11]).verdict == "is reversed"
    assert compare("a", "b", [10], [9]).verdict == "holds"  # one seed: no spread


def test_the_order_is_judged_in_words() -> None:
    cells = {
        ("mobilenet", "paper"): [90.0, 91.0, 92.0],
        ("alexnet", "ssdh"): [60.0, 61.0, 62.0],
        ("alexnet", "dlbh"): [50.0, 51.0, 52.0],
    }
    assert judge_order(cells, OWN) == (
        "the order holds, each step beyond the spread "
        "(the paper's method 91.0 ± 1.0, SSDH 61.0 ± 1.0, DLBH 51.0 ± 1.0)"
    )
    close = judge_order({**cells, ("alexnet", "dlbh"): [60.0, 61.0, 61.5]}, OWN)
    assert "not decided" in close and "SSDH over DLBH is within the spread (+0.2)" in close
    few = judge_order({**cells, ("alexnet", "dlbh"): [50.0]}, OWN)
    assert few.startswith("the order holds on one seed, so its spread is not known (")
    turned = judge_order({**cells, ("alexnet", "dlbh"): [70.0]}, OWN)
    assert "does not hold" in turned and "SSDH over DLBH is reversed (-9.0)" in turned
    assert "DLBH 70.0, one seed" in turned
    del cells["alexnet", "ssdh"]
    assert judge_order(cells, OWN) == "not judged: SSDH not yet run"
    assert len(sentences("grocery", 16, cells)) == 4


def test_the_cause_is_told_apart() -> None:
    def cells(gain: float, loss: float) -> dict[tuple[str, str], list[float]]:
        steps = {"paper": 2 * loss, "ssdh": loss, "dlbh": 0.0}
        base = {"mobilenet": gain, "alexnet": 0.0}
        return {(net, m): [base[net] + steps[m]] for net in base for m in steps}

    assert judge_cause(cells(30, 2)).startswith("the backbone decides: ")
    assert judge_cause(cells(3, 20)).startswith("the loss decides: ")
    assert "by +10.0 to +10.0; on one network" in judge_cause(cells(10, 5))
    assert judge_cause({}).startswith("not judged")


def narrow() -> Backbone:
    """A narrow network whose batch norms know their inputs, so that its features are not 0."""
    torch.manual_seed(1)
    network = Backbone(0.1)
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = None  # the mean of all batches: of the only one
    network.train()
    network(torch.rand(8, 3, 72, 72) * 2 - 1)
    return network


def test_hand_made_systems_are_compared_with_the_worst_deep_method(tmp_path: Path) -> None:
    cells = {("mobilenet", "paper"): [90.0], ("alexnet", "dlbh"): [50.0, 52.0]}
    by_hand = {"VHB": [20.0], "SSFS": [30.0]}
    said = judge_hand_made("set", by_hand, cells)
    assert "the best, SSFS (30.0, one seed), is below the worst deep method" in said
    assert "DLBH (51.0 ± 1.4)" in said
    assert "is above" in judge_hand_made("set", {"VHB": [70.0]}, cells)
    assert "is level with" in judge_hand_made("set", {"VHB": [50.5]}, cells)
    assert "not judged" in judge_hand_made("set", {}, cells)
    rows = [
        Row("VHB", "a", "set", "MAP@100 (%)", 19.36, "b", (1, 2, 3), differs="c"),
        Row("VHB", "a", "set, votes", "MAP@100 (%)", values=(1, 2, 3)),
        Row("VHB", "a", "set", "P@1 (%)", values=(1, 2, 3)),
    ]
    assert hand_made(tmp_path) == []
    write_table("handmade", Table("command", "data", rows), tmp_path)
    assert [row.published for row in hand_made(tmp_path)] == [19.36]


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A tiny form of the command: drawn photos, narrow networks, one epoch."""
    draw_photos(tmp_path / "set", labels=3, each=6)
    (tmp_path / "weights.npz").write_bytes(b"weights")
    save_network(tmp_path / "alexnet.pt", AlexNet(0.05, 72, 8))
    monkeypatch.setattr(table3, "load_imagenet", lambda path: narrow())
    shown = "--data set --weights weights.npz --alexnet alexnet.pt --side 72 --epochs 1 --batch 4"
    return [*shown.split(), *["--lengths", "4,8", "--out", "out", "--results", "."]]


def run(*arguments: str) -> tuple[str, dict[str, Any]]:
    done = CliRunner().invoke(table3.main, arguments)
    assert done.exit_code == 0, done.output
    return done.output, json.loads(Path("table3.json").read_text())


def test_the_command_makes_a_table_that_says_what_is_missing(arguments: list[str]) -> None:
    output, found = run(*arguments, "--seeds", "1", "--networks", "alexnet")
    assert output.count(": training") == 3
    rows = {(row["system"], row["setting"]): row for row in found["rows"]}
    ours = rows["Our method, MobileNet-v1", "4 bits, set"]
    assert ours["values"] == [] and ours["missing"] == "Not yet run."
    ssdh = rows["SSDH, AlexNet-shaped network", "8 bits, set"]
    assert len(ssdh["values"]) == 1 and 0 < ssdh["values"][0] <= 100 and ssdh["one_seed_reason"]
    assert "set, 4 bits, each on its own backbone: not judged: the paper's method" in str(found)
    sizes = {row["system"]: row for row in found["rows"] if row["measure"] == "size (MB)"}
    full = sizes["AlexNet with a 64-bit layer"]
    assert full["published"] == 230.0 and 228 < full["values"][0] < 245
    read_table(Path("table3.json"))  # every row keeps the rules of the page


def test_the_command_runs_only_what_is_not_finished(arguments: list[str]) -> None:
    run(*arguments, "--seeds", "1", "--networks", "alexnet")
    output, found = run(*arguments, "--seeds", "1")
    assert output.count(": training") == 3 and "alexnet-" not in output
    assert "each on its own backbone: not judged" not in str(found)
    again, same = run(*arguments, "--seeds", "1")
    assert ": training" not in again and same == found
    other, _ = run(*arguments, "--seeds", "1", "--networks", "alexnet", "--lengths", "4")
    assert other.count(": training") == 3  # the lengths are part of what is trained
    assert not [path for path in Path("out").iterdir() if path.is_dir()]


def test_without_the_alexnet_the_command_says_how_to_get_it(arguments: list[str]) -> None:
    Path("alexnet.pt").unlink()
    done = CliRunner().invoke(table3.main, arguments)
    assert done.exit_code == 4 and done.output.count("\n") == 1
    assert "alexnet.pt: not found (python -m training papers alexnet trains one)" in done.output


def test_a_network_for_another_side_is_refused(arguments: list[str]) -> None:
    done = CliRunner().invoke(table3.main, [*arguments, "--side", "80"])
    assert done.exit_code == 3 and done.output.count("\n") == 1
    assert "--side: alexnet.pt was trained for 72 pixels (give 72, or train" in done.output
