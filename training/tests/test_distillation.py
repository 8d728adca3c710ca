"""The larger network that teaches: its published weights, its tuning, and what a student learns."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from torch import Tensor

from training.commands import train
from training.fit.run_dir import load_teachers
from training.methods.distilled import Distilled
from training.models.efficientnet_lite2 import FEATURES, Lite2, load_lite2
from training.models.imagenet_weights import WeightsError
from training.models.mobilenet_v1 import Backbone
from training.tests.conftest import draw_photos

NAMES = ["label0", "label1", "label2"]
SHORT_CODE_TARGETS = ["--stages", "32x1", "--average", "0.5"]


def command(out: str, *options: str) -> Result:
    return CliRunner().invoke(
        train.main, ["--data", "set", "--out", out, *SHORT_CODE_TARGETS, *options]
    )


def published(network: Lite2) -> dict[str, Tensor]:
    """The network's arrays under the names of efficientnet_lite_pytorch, and a classifier."""
    state = {}
    for key, value in network.state_dict().items():
        parts = key.split(".")
        inside = parts[0] == "blocks"
        unit, layer, array = parts[-3:]
        norm = {"expand": 0, "depthwise": 1, "project": 2, "stem": 0, "head": 1}[unit]
        name = f"_bn{norm}" if layer == "1" else f"_{unit}_conv" if inside else f"_conv_{unit}"
        state[".".join([f"_blocks.{parts[1]}" if inside else "", name, array]).lstrip(".")] = value
    return {**state, "_fc.weight": torch.zeros(1000, FEATURES), "_fc.bias": torch.zeros(1000)}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(2)
    torch.save(published(Lite2()), tmp_path / "lite2.pth")
    return tmp_path / "lite2.pth"


def test_published_weights_find_their_places(weights: Path) -> None:
    torch.manual_seed(2)
    drawn, loaded = Lite2().eval(), load_lite2(weights)
    image = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(loaded(image), drawn(image), rtol=0, atol=0)
    assert loaded(image).shape == (1, FEATURES)
    # The published network has 6.09 million parameters, 1.281 of them in its classifier.
    assert sum(each.numel() for each in loaded.parameters()) == 4_811_072


def test_weights_that_are_none_end_in_one_line(tmp_path: Path) -> None:
    draw_photos(tmp_path / "set")
    torch.save(Backbone(0.25).state_dict(), tmp_path / "other.pth")
    (tmp_path / "broken.pth").write_bytes(b"broken")
    for name, message in (
        ("other.pth", "not EfficientNet-Lite2"),
        ("broken.pth", "cannot be read"),
    ):
        with pytest.raises(WeightsError, match=message):
            load_lite2(tmp_path / name)
        done = command("next", "--method", "teacher", "--weights", name)
        assert done.exit_code == 4 and message in done.output and done.output.count("\n") == 1


def test_frozen_blocks_and_large_depthwise_kernels_stay() -> None:
    network = Lite2()
    network.freeze(4)
    network.train()
    network(torch.rand(2, 3, 32, 32)).sum().backward()
    assert network.blocks[3].depthwise[0].weight.grad is None
    assert network.blocks[4].depthwise[0].weight.grad is None  # 5 x 5
    assert network.blocks[4].expand[0].weight.grad is not None
    assert not network.stem[1].training and network.head[1].training


def test_teacher_is_tuned_and_a_student_learns_its_answers(weights: Path, tmp_path: Path) -> None:
    draw_photos(tmp_path / "set")
    done = command("taught", "--method", "teacher", "--weights", str(weights), "--frozen", "18")
    assert done.exit_code == 0, done.output
    teacher = tmp_path / "taught" / "checkpoint.pt"
    answers = load_teachers([teacher, teacher], NAMES)(torch.zeros(2, 3, 32, 32))
    assert answers.shape == (2, 3)
    torch.testing.assert_close(answers.exp().sum(1), torch.ones(2))

    torch.manual_seed(1)
    small = {"classes": NAMES, "width": 0.25, "recipe": "{}"}
    averaged = {f"module.backbone.{k}": v for k, v in Backbone(0.25).state_dict().items()}
    start = {"identity": small, "epoch": 1, "averaged": averaged}
    torch.save(start, tmp_path / "start.pt")
    options = ["--method", "distilled", "--start", "start.pt", "--frozen", "0"]
    done = command("next", *options, "--teacher", str(teacher))
    assert done.exit_code == 0, done.output

    done = command("other", *options, "--teacher", "start.pt")
    assert done.exit_code == 4 and "not a teacher" in done.output
    torch.save({**start, "identity": {**small, "classes": ["x"]}}, tmp_path / "x.pt")
    done = command("other", *options, "--teacher", "x.pt")
    assert done.exit_code == 4 and "the teacher was trained on other labels" in done.output
    done = command("other", *options)
    assert done.exit_code == 2 and "go together" in done.output
    assert not (tmp_path / "other" / "checkpoint.pt").exists()


def test_student_that_answers_alike_has_nothing_to_learn() -> None:
    torch.manual_seed(1)
    method = Distilled(8, 16, 3)
    features = torch.rand(5, 8)
    method.requires_grad_(False)
    answers = method.classifier(features)
    assert float(method.learn(features, answers)) == pytest.approx(0, abs=1e-6)
    assert float(method.learn(features, answers.flip(1))) > 1e-3
