"""The training command, and the last stages that go on from a run and are averaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from training import run
from training.blend import blend, renew_statistics
from training.cache import open_cache
from training.data import label_indices, read_set
from training.network import Backbone
from training.runs import describe_run, load_backbone, load_head
from training.tests.conftest import draw_photos
from training.train import Recipe, train

NAMES = ["label0", "label1", "label2"]


def command(*options: str) -> Result:
    return CliRunner().invoke(run.main, ["--data", "set", "--out", "next", *options])


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """The checkpoint of a short run of a small network."""
    draw_photos(tmp_path / "set")
    cache = open_cache(read_set(tmp_path / "set"))
    index = label_indices(cache.kept)
    labels = np.array([index[photo.label] for photo in cache.kept], np.int64)
    torch.manual_seed(1)
    recipe = Recipe(method="joint", stages=((32, 1),), batch=6, frozen=0, average=0.5)
    train(cache, labels, list(index), Backbone(0.25), recipe, tmp_path / "first", lambda _: None)
    return tmp_path / "first" / "checkpoint.pt"


def test_last_stage_goes_on_from_a_run(first: Path, tmp_path: Path) -> None:
    done = command("--start", str(first), "--stages", "32x1", "--augmentation", "gentle",
                   "--rate", "0", "--average", "0")  # fmt: skip
    assert done.exit_code == 0, done.output
    after = tmp_path / "next" / "checkpoint.pt"
    assert describe_run(after)["augmentation"] == "gentle"
    one, other = load_backbone(first), load_backbone(after)
    torch.testing.assert_close(one.units[0].state_dict(), other.units[0].state_dict())
    began, ended = load_head(first, NAMES), load_head(after, NAMES)
    torch.testing.assert_close(began["classifier.weight"], ended["classifier.weight"])
    assert load_head(first, ["others"]) == {}


def test_last_stage_with_another_method_takes_what_fits(first: Path) -> None:
    options = "--stages 32x1 --method contrastive --bits 16 --augmentation gentle"
    done = command("--start", str(first), *options.split())
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("start", "told"), [("broken.pt", "damaged"), ("absent.pt", "no such checkpoint")]
)
def test_start_that_is_none_ends_in_one_line(tmp_path: Path, start: str, told: str) -> None:
    draw_photos(tmp_path / "set")
    (tmp_path / "broken.pt").write_bytes(b"broken")
    done = command("--start", start)
    assert done.exit_code == 4 and told in done.output and done.output.count("\n") == 1
    assert not (tmp_path / "next").exists()


def test_checkpoint_of_another_architecture_is_refused(first: Path, tmp_path: Path) -> None:
    assert command("--start", str(first), "--stages", "32x1").exit_code == 0
    wider = torch.load(first, weights_only=True)
    wider["identity"]["width"] = 0.5
    torch.save(wider, tmp_path / "wider.pt")
    done = command("--start", "wider.pt", "--stages", "32x1")
    assert done.exit_code == 4 and "wider.pt" in done.output
    assert "another architecture" in done.output and "Traceback" not in done.output


def test_set_without_a_training_photo_ends_in_one_line(first: Path, tmp_path: Path) -> None:
    rows = [f"label{i}/000.png,label{i},test" for i in range(3)]
    (tmp_path / "set" / "manifest.csv").write_text("\n".join(["path,label,split", *rows]))
    done = command("--start", str(first))
    assert done.exit_code == 3 and "fewer than two labels" in done.output


def test_run_skips_and_names_a_corrupt_photo(first: Path, tmp_path: Path) -> None:
    (tmp_path / "set" / "label1" / "002.png").write_bytes(b"")
    done = command("--start", str(first), "--stages", "32x1")
    assert done.exit_code == 0 and "skipped label1/002.png" in done.output


def test_blend_weighs_every_part_and_renews_the_norms(first: Path, tmp_path: Path) -> None:
    one, other = load_backbone(first), Backbone(0.25)
    mixed = blend([(one, 0.25), (other, 0.75)])
    a, b, c = (net.units[3][0].weight for net in (one, other, mixed))
    torch.testing.assert_close(c, 0.25 * a + 0.75 * b)
    before = mixed.units[1][1].running_mean.clone()
    renew_statistics(mixed, open_cache(read_set(tmp_path / "set")), 1)
    assert not torch.equal(mixed.units[1][1].running_mean, before)
    assert mixed.units[1][1].momentum == other.units[1][1].momentum
