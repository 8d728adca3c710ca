"""Learning labels without forgetting what the first weights know."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

from edge_runtime.image.decode import read_photo
from edge_runtime.image.preprocess import preprocess
from training.commands import train as command
from training.data.input_tensor import to_input
from training.data.photo_sets import label_indices, read_set
from training.data.pixel_cache import PixelCache, open_cache
from training.fit.recipe import Recipe
from training.fit.run_dir import load_backbone
from training.fit.trainer import distance, train
from training.models.mobilenet_v1 import Backbone
from training.tests.conftest import draw_photos

RECIPE = Recipe(
    bits=16, stages=((32, 3),), batch=6, frozen=0, optimizer="adamw", rate=0.003, average=0.5,
    dropout=0.0, mixed=0.5,
)  # fmt: skip
LATE = replace(RECIPE, frozen=23, stored_views=2, kept_norms=True)


@pytest.fixture
def cache(tmp_path: Path) -> PixelCache:
    draw_photos(tmp_path / "set")
    return open_cache(read_set(tmp_path / "set"))


def images() -> Tensor:
    draw_photos(Path("drawn"))
    squares = [preprocess(read_photo(each.path), 32) for each in read_set(Path("drawn"))]
    return torch.cat([torch.from_numpy(to_input(each)) for each in squares])


def first() -> Backbone:
    """First weights whose batch norms know what images make of them, as pretrained ones do."""
    torch.manual_seed(5)
    backbone = Backbone(0.25)
    for module in backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        backbone.train()(images())
    backbone.eval()
    return backbone


def trained(cache: PixelCache, out: Path, recipe: Recipe) -> Backbone:
    index = label_indices(cache.photos)
    labels = np.array([index[photo.label] for photo in cache.photos], np.int64)
    network = train(cache, labels, list(index), first(), recipe, out, lambda line: None)
    network.backbone.eval()
    return network.backbone


def moved(backbone: Backbone) -> float:
    """How far the features of the photos are from those of the first weights."""
    with torch.no_grad():
        return float(distance(backbone(images()), first()(images())))


def equal(one: nn.Module, other: nn.Module) -> bool:
    """Whether two networks have the same arrays, the batch norms' statistics included."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def same(backbone: Backbone, units: int) -> bool:
    """Whether the first `units` are as they were."""
    return equal(backbone.units[:units], first().units[:units])


def test_the_distance_is_that_of_directions() -> None:
    rows = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    assert float(distance(rows, 3 * rows)) == pytest.approx(0, abs=1e-6)
    assert float(distance(rows, rows.flip(0))) == pytest.approx(2)


def test_features_that_are_preserved_move_less(cache: PixelCache, tmp_path: Path) -> None:
    kept = replace(LATE, stages=((32, 20),), rate=1e-3)
    free = moved(trained(cache, tmp_path / "free", kept))
    held = moved(trained(cache, tmp_path / "held", replace(kept, preserve=100.0)))
    slow = moved(trained(cache, tmp_path / "slow", replace(kept, features_rate=0.01)))
    assert held < free / 2
    assert slow < free / 2


def test_the_head_alone_is_trained_at_first(cache: PixelCache, tmp_path: Path) -> None:
    whole = replace(RECIPE, head_first=3)
    assert same(trained(cache, tmp_path / "head", whole), len(first().units))
    assert not same(trained(cache, tmp_path / "both", replace(whole, head_first=2)), 1)


def test_batch_norms_keep_their_statistics(cache: PixelCache, tmp_path: Path) -> None:
    def means(backbone: Backbone) -> Tensor:
        return torch.cat([b for name, b in backbone.named_buffers() if "running_mean" in name])

    kept = trained(cache, tmp_path / "kept", replace(RECIPE, kept_norms=True))
    assert torch.equal(means(kept), means(first()))
    assert not torch.equal(means(trained(cache, tmp_path / "free", RECIPE)), means(first()))


def test_stored_maps_train_the_late_units(cache: PixelCache, tmp_path: Path) -> None:
    backbone = trained(cache, tmp_path / "late", LATE)
    assert same(backbone, 23) and not same(backbone, len(backbone.units))
    assert not backbone.from_maps  # it takes images
    loaded = load_backbone(tmp_path / "late" / "checkpoint.pt")
    assert equal(loaded, backbone)
    (maps,) = Path("build/cache").glob("maps-*.npy")
    stored = np.load(maps)
    assert stored.shape == (2, len(cache), 128, 2, 2) and stored.max() > 0
    before = maps.stat().st_mtime_ns
    again = trained(cache, tmp_path / "again", LATE)  # reads them
    assert equal(again, backbone)
    assert maps.stat().st_mtime_ns == before
    trained(cache, tmp_path / "other", replace(LATE, stages=((48, 1),)))
    assert len(list(Path("build/cache").glob("maps-*.npy"))) == 2


@pytest.mark.parametrize("options", [["--frozen", "0"], ["--stages", "32x1,48x1"]])
def test_views_are_stored_only_for_frozen_units_of_one_size(
    tmp_path: Path, options: list[str]
) -> None:
    draw_photos(tmp_path / "set")
    arguments = ["--data", "set", "--out", "out", "--width", "0.25", "--frozen", "7"]
    arguments += ["--stages", "32x1", "--stored-views", "2", *options]
    done = CliRunner().invoke(command.main, arguments)
    assert done.exit_code == 2
    assert "--stored-views needs MobileNet-v1, --frozen and a single size" in done.output
