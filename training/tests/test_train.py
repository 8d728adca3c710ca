"""The training command, and the last stages that continue from a run and are averaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from training.commands import train as train_command
from training.data.augment import Strength
from training.data.loader import Loader
from training.data.photo_sets import label_indices, read_set
from training.data.pixel_cache import PixelCache, open_cache
from training.fit.average_weights import average_weights, renew_statistics
from training.fit.recipe import Recipe
from training.fit.run_dir import describe_run, load_backbone, load_head
from training.fit.trainer import train
from training.models.checkpoint import INPUTS, CheckpointError, digests, load_checkpoint
from training.models.mobilenet_v1 import Backbone
from training.tests.conftest import draw_photos

NAMES = ["label0", "label1", "label2"]


def command(*options: str) -> Result:
    return CliRunner().invoke(train_command.main, ["--data", "set", "--out", "next", *options])


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """The checkpoint of a short run of a small network."""
    draw_photos(tmp_path / "set")
    cache = open_cache(read_set(tmp_path / "set"))
    index = label_indices(cache.photos)
    labels = np.array([index[photo.label] for photo in cache.photos], np.int64)
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
    ("start", "message"), [("broken.pt", "corrupt"), ("absent.pt", "checkpoint not found")]
)
def test_start_that_is_none_ends_in_one_line(tmp_path: Path, start: str, message: str) -> None:
    draw_photos(tmp_path / "set")
    (tmp_path / "broken.pt").write_bytes(b"broken")
    done = command("--start", start)
    assert done.exit_code == 4 and message in done.output and done.output.count("\n") == 1
    assert not (tmp_path / "next").exists()


NO_RUNS = {
    "a tensor": torch.zeros(3),
    "a list": [torch.zeros(3)],
    "weights alone": {"0.weight": torch.zeros(3)},
    "an identity alone": {"identity": {"recipe": "{}", "classes": ["a"], "width": 1.0}},
    "another identity": {"identity": [1], "averaged": {}, "epoch": 1, "step": 1},
}


@pytest.mark.parametrize("state", NO_RUNS.values(), ids=list(NO_RUNS))
def test_file_that_is_no_checkpoint_ends_in_one_line(
    first: Path, tmp_path: Path, state: object
) -> None:
    torch.save(state, tmp_path / "other.pt")
    for options in (
        ["--start", "other.pt"],
        ["--start", str(first), "--method", "distilled", "--teacher", "other.pt"],
    ):
        done = command(*options, "--stages", "32x1")
        assert done.exit_code == 4 and "Traceback" not in done.output
        assert done.output.splitlines()[-1].startswith("error: other.pt: not a checkpoint")
    (tmp_path / "next").mkdir(exist_ok=True)
    torch.save(state, tmp_path / "next" / "checkpoint.pt")
    done = command("--start", str(first), "--stages", "32x1")
    last = done.output.splitlines()[-1]
    assert done.exit_code == 4 and last.startswith("error: next/checkpoint.pt: ")


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
    assert done.exit_code == 3 and "photos of 0 labels, 2 are needed" in done.output


def test_run_skips_and_names_a_corrupt_photo(first: Path, tmp_path: Path) -> None:
    (tmp_path / "set" / "label1" / "002.png").write_bytes(b"")
    done = command("--start", str(first), "--stages", "32x1")
    assert done.exit_code == 0 and "skipped label1/002.png" in done.output


def test_blend_weighs_every_part_and_renews_the_norms(first: Path, tmp_path: Path) -> None:
    one, other = load_backbone(first), Backbone(0.25)
    mixed = average_weights([(one, 0.25), (other, 0.75)])
    a, b, c = (net.units[3][0].weight for net in (one, other, mixed))
    torch.testing.assert_close(c, 0.25 * a + 0.75 * b)
    before = mixed.units[1][1].running_mean.clone()
    renew_statistics(mixed, open_cache(read_set(tmp_path / "set")), 1)
    assert not torch.equal(mixed.units[1][1].running_mean, before)
    assert mixed.units[1][1].momentum == other.units[1][1].momentum


@pytest.mark.parametrize("stages", ["32x0", "0x1", "-1x1", "31x4", "32x-1", "32"])
def test_stages_that_train_nothing_are_refused(tmp_path: Path, stages: str) -> None:
    done = command("--width", "0.25", f"--stages={stages}")
    assert done.exit_code == 3 and done.output.startswith("error: --stages:")


@pytest.mark.parametrize(
    "options",
    ["--hold foo", "--bits 0", "--bits 4097", "--width 2", "--batch 1", "--warmup 1", "--rate -1",
     "--decay -1", "--mixed 2", "--average 1", "--dropout 1", "--frozen -1", "--seed -1"],
)  # fmt: skip
def test_options_that_are_none_are_wrong_usage(options: str) -> None:
    done = command(*options.split())
    assert done.exit_code == 2 and "Traceback" not in done.output


def test_mirrored_sets_are_named_and_part_of_the_run(tmp_path: Path) -> None:
    draw_photos(tmp_path / "set")
    options = "--width 0.25 --stages 32x1 --batch 6 --warmup 0.2"
    shown = options.split()
    done = command(*shown, "--mirror", "grocery")
    assert done.exit_code == 3 and done.output.count("\n") == 1
    assert done.output.startswith('error: --mirror: unknown set "grocery" (known: set')
    assert command(*shown, "--mirror", "set", "--mirror", "set").exit_code == 0
    recipe = describe_run(tmp_path / "next" / "checkpoint.pt")
    assert (recipe["flip_sources"], recipe["batch"], recipe["warmup"]) == (("set",), 6, 0.2)
    done = command(*shown)  # no photo is mirrored: another run
    assert done.exit_code == 4 and "made with recipe" in done.output


def test_only_the_named_sets_are_mirrored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        draw_photos(tmp_path / name)
    seen: set[tuple[str, float]] = set()

    class Watched(Loader):
        def __init__(self, cache: PixelCache, targets: NDArray[np.int64],
                     strengths: list[Strength], batch: int, seed: int):  # fmt: skip
            super().__init__(cache, targets, strengths, batch, seed)
            kept = zip(cache.photos, strengths, strict=True)
            seen.update((each.source, strength.flip_p) for each, strength in kept)

    monkeypatch.setattr("training.fit.trainer.Loader", Watched)
    options = "--data one --data two --out next --width 0.25 --stages 32x1 --mirror two"
    done = CliRunner().invoke(train_command.main, options.split())
    assert done.exit_code == 0, done.output
    assert seen == {("one", 0.0), ("two", 0.5)}


def test_one_label_left_after_corrupt_photos_ends_in_one_line(tmp_path: Path) -> None:
    draw_photos(tmp_path / "set", labels=2, each=1)
    (tmp_path / "set" / "label1" / "000.png").write_bytes(b"")
    done = command("--width", "0.25", "--stages", "32x1")
    assert done.exit_code == 3 and "photos of 1 label, 2 are needed" in done.output


def test_narrow_network_is_trained_from_scratch(first: Path, tmp_path: Path) -> None:
    (tmp_path / "next").mkdir()
    (tmp_path / "next" / "log.csv").write_text("epoch,size,loss,rate,seconds\n9,32,1,1,1\n")
    done = command("--width", "0.25", "--stages", "32x1")
    assert done.exit_code == 0, done.output
    assert load_backbone(tmp_path / "next" / "checkpoint.pt").width == 0.25
    assert describe_run(tmp_path / "next" / "checkpoint.pt")["frozen"] == 0
    log = (tmp_path / "next" / "log.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in log] == ["epoch", "1"]  # no row of an older run
    done = command("--width", "0.25", "--start", str(first))
    assert done.exit_code == 2 and "from scratch" in done.output


def test_run_goes_on_from_its_own_inputs_only(first: Path, tmp_path: Path) -> None:
    options = ("--start", str(first), "--stages", "32x1")
    assert command(*options).exit_code == 0
    assert "resuming after epoch 1" in command(*options).output
    again = torch.load(first, weights_only=True)
    torch.save({**again, "note": 1}, tmp_path / "other.pt")
    done = command("--start", "other.pt", *options[2:])
    assert done.exit_code == 4 and "made with other first weights" in done.output
    older = torch.load(tmp_path / "next" / "checkpoint.pt", weights_only=True)
    for key in INPUTS:
        del older["identity"][key]
    torch.save(older, tmp_path / "next" / "checkpoint.pt")
    assert command(*options).exit_code == 0  # made before inputs were noted


def test_run_with_other_labels_says_the_first_difference(tmp_path: Path) -> None:
    state = {"identity": {"classes": ["a", "b", "c"]}}
    torch.save(state, tmp_path / "one.pt")
    with pytest.raises(CheckpointError, match=r"other labels: 3 against 2, .* b against c"):
        load_checkpoint(tmp_path / "one.pt", {"classes": ["a", "c"]})
    with pytest.raises(CheckpointError, match="other photos"):
        torch.save({"identity": {"photos": "1"}}, tmp_path / "one.pt")
        load_checkpoint(tmp_path / "one.pt", {"photos": "2"})


def test_digests_follow_photos_weights_and_teachers(tmp_path: Path) -> None:
    draw_photos(tmp_path / "set")
    photos = read_set(tmp_path / "set")
    (tmp_path / "w").write_bytes(b"1")
    one = digests(photos, tmp_path / "w", [])
    assert set(one) == set(INPUTS) and digests(photos, tmp_path / "w", []) == one
    changed = [digests(photos[1:], tmp_path / "w", []), digests(photos, None, []),
               digests(photos, tmp_path / "w", [tmp_path / "w"])]  # fmt: skip
    for key, other in zip(INPUTS, changed, strict=True):
        assert [each for each in INPUTS if other[each] != one[each]] == [key]
