from __future__ import annotations

import errno
import os
import resource
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edge_runtime.errors import StorageError
from training.data.augment import Strength, augment
from training.data.photo_sets import label_indices, read_set
from training.data.pixel_cache import PixelCache, open_cache
from training.eval.corruptions import CORRUPTIONS, SEVERITIES, corruption
from training.files import write_bytes
from training.fit.recipe import Recipe
from training.fit.run_dir import load_backbone
from training.fit.trainer import TrainingModel, train
from training.methods import SUPERVISED
from training.models.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from training.models.mobilenet_v1 import Backbone
from training.tests.conftest import draw_photos

RECIPE = Recipe(bits=16, stages=((32, 2), (48, 1)), batch=6, mixed=0.5, frozen=0)


class KilledError(Exception):
    """Stands for a kill between two epochs."""


def run(
    cache: PixelCache,
    out: Path,
    recipe: Recipe = RECIPE,
    kill_after: int = 0,
    backbone: Backbone | None = None,
) -> TrainingModel[Backbone]:
    index = label_indices(cache.photos)
    labels = np.array([index[photo.label] for photo in cache.photos], np.int64)
    torch.manual_seed(5)
    epochs_logged = 0

    def log(line: str) -> None:
        nonlocal epochs_logged
        epochs_logged += line.startswith("epoch")
        if kill_after and epochs_logged >= kill_after:
            raise KilledError

    return train(cache, labels, list(index), backbone or Backbone(0.25), recipe, out, log)


@pytest.fixture
def cache(tmp_path: Path) -> PixelCache:
    draw_photos(tmp_path / "set")
    return open_cache(read_set(tmp_path / "set"))


@pytest.mark.parametrize(
    ("method", "kill_after"), [("orthohash", 1), ("dlbh", 1), ("dlbh", 2)]
)  # dlbh: in either stage
def test_killed_and_resumed_equals_uninterrupted(
    cache: PixelCache, tmp_path: Path, method: str, kill_after: int
) -> None:
    recipe = replace(RECIPE, method=method)
    whole = run(cache, tmp_path / "whole", recipe)
    with pytest.raises(KilledError):
        run(cache, tmp_path / "parts", recipe, kill_after=kill_after)
    resumed = run(cache, tmp_path / "parts", recipe)
    for (name, one), other in zip(
        whole.state_dict().items(), resumed.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=0, msg=name)
    log = (tmp_path / "parts" / "log.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in log[1:]] == [["1", "32"], ["2", "32"], ["3", "48"]]
    assert load_backbone(tmp_path / "parts" / "checkpoint.pt").features == 256


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_dlbh_tunes_the_features_and_then_puts_the_layer_in(
    cache: PixelCache, tmp_path: Path, optimizer: str
) -> None:
    recipe = Recipe(method="dlbh", bits=16, stages=((32, 2),), batch=6, frozen=0, average=0.0,
                    optimizer=optimizer, decay=0.0, rate=1e-3, warmup=0.0)  # fmt: skip
    backbone = Backbone(0.25)
    before = backbone.units[0][0].weight.detach().clone()
    with pytest.raises(KilledError):
        run(cache, tmp_path / "run", recipe, kill_after=1, backbone=backbone)
    state = load_checkpoint(tmp_path / "run" / "checkpoint.pt", {})
    assert state is not None
    torch.manual_seed(recipe.seed)
    drawn = SUPERVISED["dlbh"](256, 16, 3).state_dict()
    for name, value in drawn.items():
        same = torch.equal(state["model"][f"head.{name}"], value)
        assert same == (not name.startswith("tuner")), name
    half = backbone.units[0][0].weight.detach().clone()
    done = run(cache, tmp_path / "run", recipe, backbone=backbone)
    for name, value in done.head.state_dict().items():
        same = torch.equal(state["model"][f"head.{name}"], value)
        assert same == name.startswith("tuner"), name
    after = done.backbone.units[0][0].weight.detach()
    moved = [float((one - other).abs().mean()) for one, other in ((half, before), (after, half))]
    assert 0 < moved[1] < moved[0] / 4  # ten times slower, and later in the schedule


def test_features_learn_at_their_own_pace_in_the_second_stage_only() -> None:
    method = SUPERVISED["dlbh"](12, 8, 4)
    assert [method.begin(share) for share in (0.0, 0.49, 0.5, 1.0)] == [1, 1, 0.1, 0.1]
    assert method.slows and SUPERVISED["paper"](12, 8, 4).begin(0.9) == 1


def test_run_of_another_version_is_refused(cache: PixelCache, tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        run(cache, tmp_path / "run", kill_after=1)
    path = tmp_path / "run" / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    state["optimizer"]["param_groups"].pop()
    torch.save(state, path)
    with pytest.raises(CheckpointError, match="cannot resume from it"):
        run(cache, tmp_path / "run")


def test_checkpoint_of_another_recipe_is_refused(cache: PixelCache, tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        run(cache, tmp_path / "run", kill_after=1)
    with pytest.raises(CheckpointError, match="recipe"):
        run(cache, tmp_path / "run", replace(RECIPE, bits=32))


def test_full_disk_keeps_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"identity": {}, "epoch": 1})

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("training.files.os.fsync", full)
    with pytest.raises(StorageError, match="disk is full"):
        save_checkpoint(path, {"identity": {}, "epoch": 2})
    state = load_checkpoint(path, {})
    assert state is not None and state["epoch"] == 1
    assert [each.name for each in tmp_path.glob("checkpoint*")] == ["checkpoint.pt"]


def test_damaged_checkpoint_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"broken")
    with pytest.raises(CheckpointError, match="corrupt"):
        load_checkpoint(tmp_path / "checkpoint.pt", {})


def test_augmentation_follows_its_seed_only() -> None:
    image = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    one, other = (augment(image, 48, np.random.default_rng(7), Strength()) for _ in range(2))
    assert one.shape == (48, 48, 3) and one.dtype == np.uint8
    np.testing.assert_array_equal(one, other)
    assert (augment(image, 48, np.random.default_rng(8), Strength()) != one).any()


@pytest.mark.parametrize("name", sorted(CORRUPTIONS))
def test_disturbances_grow_with_severity(name: str) -> None:
    rng = np.random.default_rng(1)
    image = np.kron(rng.integers(0, 256, (8, 8, 3)), np.ones((12, 12, 1))).astype(np.uint8)
    changes = []
    for severity in SEVERITIES:
        apply = corruption(name, severity)
        first = apply(image, 3)
        assert first.shape == image.shape and first.dtype == np.uint8
        np.testing.assert_array_equal(first, apply(image, 3))
        several = [apply(image, index).astype(int) for index in range(8)]
        changes.append(np.mean([np.abs(each - image).mean() for each in several]))
    assert 0 < changes[0] < changes[2]


def test_limit_of_a_file_is_told_in_our_words(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StorageError, match="may not grow") as raised:
            save_checkpoint(tmp_path / "checkpoint.pt", {"weights": torch.zeros(1_000_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert "inline_container" not in str(raised.value) and not list(tmp_path.iterdir())


def test_a_written_file_and_its_name_are_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(
        os, "fsync", lambda number: synced.append(Path(f"/proc/self/fd/{number}").readlink())
    )
    write_bytes(tmp_path / "result.json", b"{}")
    assert synced == [tmp_path / "result.json.part", tmp_path]
