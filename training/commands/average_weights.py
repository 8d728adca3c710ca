"""Halfway back to ImageNet: a trained backbone blended with the one that it started from.

    python -m training average-weights --weights NPZ --checkpoint FILE... --data DIR... --out FILE

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

from pathlib import Path

import click

from training.cli import log, report_errors
from training.data.photo_sets import read_sets
from training.data.pixel_cache import open_cache
from training.data.splits import default_split
from training.determinism import set_determinism
from training.fit.average_weights import average_weights, renew_statistics
from training.fit.run_dir import load_backbone
from training.models.checkpoint import load_checkpoint, save_checkpoint
from training.models.imagenet_weights import load_imagenet


@click.command(help=__doc__)
@click.option("--weights", type=Path, required=True, help="ImageNet arrays.")
@click.option(
    "--checkpoint", multiple=True, type=Path, required=True, help="Training runs' checkpoint.pt."
)
@click.option("--data", multiple=True, type=Path, required=True, help="Sets of photos.")
@click.option("--share", default=0.75, show_default=True, help="Of the trained weights.")
@click.option("--seed", default=1, show_default=True)
@click.option("--out", type=Path, required=True)
@report_errors
def main(
    weights: Path,
    checkpoint: tuple[Path, ...],
    data: tuple[Path, ...],
    share: float,
    seed: int,
    out: Path,
) -> None:
    """Command: see the module."""
    set_determinism(seed)
    trained = [(load_backbone(path), share / len(checkpoint)) for path in checkpoint]
    mixed = average_weights([(load_imagenet(weights), 1 - share), *trained])
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
    log(f"{share:.0%} trained ({len(trained)} runs), {1 - share:.0%} ImageNet: {out}")
