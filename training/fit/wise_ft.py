"""Halfway back to ImageNet: a trained backbone blended with the one that it started from.

    python -m training.fit.wise_ft --weights NPZ --checkpoint FILE... --data DIR... --out FILE

Several checkpoints are averaged first: a soup (Wortsman et al., "Model soups", 2022). They must be
last stages of one run (`training.fit.train --start`), so that they lie in one valley of the loss; then
their average is often better than each, at no cost on the board.

Wortsman et al., "Robust fine-tuning of zero-shot models" (2022): the weights of both, averaged,
keep most of what training on a few hundred labels taught, and most of what ImageNet's thousand
classes taught. That matters here because a user's own places are labels that no training saw.

The averaged network's batch norms get their statistics anew, from augmented training photos. The
file that is written is a checkpoint like those of `training.fit.train`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import torch
from torch import nn

from training.cli import fail_in_one_line, say, settle
from training.data.augment import GENTLE, augment
from training.data.photo_sets import read_sets
from training.data.pixel_cache import PixelCache, open_cache
from training.data.splits import default_split
from training.fit.run_dir import load_backbone
from training.hash_layer.features import to_input
from training.models.checkpoint import load_checkpoint, save_checkpoint
from training.models.imagenet_weights import load_imagenet
from training.models.mobilenet_v1 import Backbone

BATCH, BATCHES, SIZE = 32, 16, 224


def blend(parts: Sequence[tuple[Backbone, float]]) -> Backbone:
    """The weights of all `parts`, each times its share; the shares sum to 1."""
    mixed = Backbone(parts[0][0].width)
    states = [(part.state_dict(), share) for part, share in parts]
    mixed.load_state_dict(
        {
            key: torch.stack([state[key].double() * share for state, share in states])
            .sum(0)
            .to(value.dtype)
            for key, value in mixed.state_dict().items()
        }
    )
    return mixed.eval()


def renew_statistics(backbone: Backbone, cache: PixelCache, seed: int) -> None:
    """Set the batch norms' means and variances to those of augmented photos of `cache`."""
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain average over all batches
    rng = np.random.default_rng(seed)
    count = min(BATCH * BATCHES, len(cache))
    rows = rng.choice(len(cache), count, replace=False)
    backbone.train()
    with torch.no_grad():
        for start in range(0, count, BATCH):
            views = [
                to_input(augment(cache[int(row)], SIZE, rng, GENTLE))[0]
                for row in rows[start : start + BATCH]
            ]
            backbone(torch.from_numpy(np.stack(views)))
    backbone.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


@click.command(help=__doc__)
@click.option("--weights", type=Path, required=True, help="ImageNet arrays.")
@click.option(
    "--checkpoint", multiple=True, type=Path, required=True, help="Training runs' checkpoint.pt."
)
@click.option("--data", multiple=True, type=Path, required=True, help="Sets of photos.")
@click.option("--share", default=0.75, show_default=True, help="Of the trained weights.")
@click.option("--seed", default=1, show_default=True)
@click.option("--out", type=Path, required=True)
@fail_in_one_line
def main(
    weights: Path,
    checkpoint: tuple[Path, ...],
    data: tuple[Path, ...],
    share: float,
    seed: int,
    out: Path,
) -> None:
    """Command: see the module."""
    settle(seed)
    trained = [(load_backbone(path), share / len(checkpoint)) for path in checkpoint]
    mixed = blend([(load_imagenet(weights), 1 - share), *trained])
    if len(trained) > 1 or 0 < share < 1:
        renew_statistics(mixed, open_cache(default_split(read_sets(data))[0]), seed)
    state = load_checkpoint(checkpoint[0], {})
    assert state is not None  # load_backbone has read it
    averaged = {
        **state["averaged"],
        **{f"module.backbone.{key}": value for key, value in mixed.state_dict().items()},
    }
    more = {"blended": share, "soup": len(trained)}
    recipe = f"{state['identity']['recipe'][:-1]}, {str(more)[1:]}"
    save_checkpoint(
        out,
        {
            **{key: state[key] for key in ("epoch", "step")},
            "identity": {**state["identity"], "recipe": recipe},
            "averaged": averaged,
        },
    )
    say(f"{share:.0%} trained ({len(trained)} runs), {1 - share:.0%} ImageNet: {out}")


if __name__ == "__main__":
    main()
