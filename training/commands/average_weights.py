"""Average the weights of a trained backbone with those of its ImageNet initialization.

\b
    python -m training average-weights --weights NPZ --checkpoint FILE... --data DIR... --out FILE

Averaging the fine-tuned and the original weights keeps most of what was learned from a few hundred
labels and most of what was learned from the thousand classes of ImageNet (Wortsman et al., "Robust
fine-tuning of zero-shot models", 2022). This matters because the places of a user are labels that
no training has seen.

Several checkpoints are averaged with each other first (Wortsman et al., "Model soups", 2022). They
must be last stages of one run (`python -m training train --start`), so that they lie in the same
basin of the loss. Their average is then often better than each of them, at no cost on the board.

The batch norms of the average get new statistics from augmented training photos. The result is a
checkpoint like those of `python -m training train`.
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
@click.option("--weights", type=Path, required=True, help="ImageNet weights (.npz).")
@click.option(
    "--checkpoint",
    multiple=True,
    type=Path,
    required=True,
    help="The checkpoint.pt of one or more training runs.",
)
@click.option("--data", multiple=True, type=Path, required=True, help="Folders of photos.")
@click.option(
    "--share", default=0.75, show_default=True, help="Share of the trained weights in the average."
)
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
    """Run the command."""
    set_determinism(seed)
    trained = [(load_backbone(path), share / len(checkpoint)) for path in checkpoint]
    average = average_weights([(load_imagenet(weights), 1 - share), *trained])
    if len(trained) > 1 or 0 < share < 1:
        renew_statistics(average, open_cache(default_split(read_sets(data))[0]), seed)
    state = load_checkpoint(checkpoint[0], {})
    assert state is not None  # load_backbone has already read it
    averaged_state = {
        **state["averaged"],
        **{f"module.backbone.{key}": value for key, value in average.state_dict().items()},
    }
    additions = {"blended": share, "soup": len(trained)}
    recipe = f"{state['identity']['recipe'][:-1]}, {str(additions)[1:]}"
    save_checkpoint(
        out,
        {
            **{key: state[key] for key in ("epoch", "step")},
            "identity": {**state["identity"], "recipe": recipe},
            "averaged": averaged_state,
        },
    )
    log(f"wrote {out}: {share:.0%} trained ({len(trained)} runs), {1 - share:.0%} ImageNet")
