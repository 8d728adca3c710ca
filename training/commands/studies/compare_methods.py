"""Compare hashing methods at several code lengths on the features of one backbone.

\b
    python -m training compare-methods --data DIR... --weights NPZ --name frozen --out F.json
    python -m training compare-methods --data DIR... --checkpoint FILE --name tuned --out F.json
    python -m training compare-methods --data DIR... --model FILE.onnx --name shipped --out F.json
    python -m training compare-methods --data DIR... --features hand-made --name by-hand --out F

For each method and length, the table holds the MAP@100 of the official queries. A second half is
for unseen labels: the hash layer is fitted without a fifth of the labels, and the queries of these
labels are ranked against the whole database. That figure is one for unseen labels only if the
backbone has not seen them either; state in `--note` what it was trained on. The row `float`, keyed
by the number of features, ranks by cosine. Handcrafted features (`--features hand-made`) need no
network.
"""

from __future__ import annotations

from pathlib import Path

import click

from training.cli import report_errors
from training.data.photo_sets import read_sets
from training.data.pixel_cache import PhotoReader
from training.data.splits import default_split, describe_splits
from training.determinism import set_determinism
from training.experiments.methods import (
    METHODS,
    Part,
    compare,
)
from training.files import write_json
from training.hash_layer import handcrafted
from training.hash_layer.backbone import (
    load_feature_model,
)
from training.hash_layer.features import Run, clean_features
from training.options import SIDE, parse_lengths, parse_methods


def feature_source(
    kind: str, weights: Path | None, checkpoint: Path | None, model: Path | None, size: int
) -> tuple[Run, int]:
    """Return the function that computes the features and its input side in pixels.

    Raises click.UsageError when the options contradict each other.
    """
    if kind == "network":
        model_features = load_feature_model(weights, checkpoint, model, size)
        return model_features.run, model_features.size
    if weights or checkpoint or model:
        raise click.UsageError("--features hand-made takes no --weights, --checkpoint or --model")
    return handcrafted.run, handcrafted.SIZE


@click.command(help=__doc__)
@click.option("--data", multiple=True, type=Path, required=True, help="Folders of photos.")
@click.option("--weights", type=Path, help="ImageNet weights (.npz) of a frozen backbone.")
@click.option("--checkpoint", type=Path, help="The checkpoint.pt of a training run.")
@click.option("--model", type=Path, help="A finished fp32 ONNX model, for its features.")
@click.option("--features", type=click.Choice(["network", "hand-made"]), default="network",
              show_default=True)  # fmt: skip
@click.option("--name", required=True, help="Name of the backbone in the results.")
@click.option(
    "--note", default="", help="What the backbone was trained on, for readers of the results."
)
@click.option("--bits", default="16,32,64", show_default=True)
@click.option(
    "--size",
    type=SIDE,
    default=224,
    show_default=True,
    help="Input side in pixels, for --weights and --checkpoint.",
)
@click.option(
    "--only", type=click.Choice(["seen", "unseen"]), help="Compute one half of the table."
)
@click.option("--methods", default=",".join(METHODS), show_default=True)
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Seeds per layer, from 1; figures are their mean.",
)
@click.option("--out", type=Path, required=True)
@report_errors
def main(
    data: tuple[Path, ...],
    weights: Path | None,
    checkpoint: Path | None,
    model: Path | None,
    features: str,
    name: str,
    note: str,
    bits: str,
    size: int,
    only: str | None,
    methods: str,
    seeds: int,
    out: Path,
) -> None:
    """Run the command."""
    set_determinism(1)
    lengths, chosen = parse_lengths(bits), parse_methods(methods)
    run, size = feature_source(features, weights, checkpoint, model, size)
    *sides, split = default_split(read_sets(data))
    parts = []
    for photos in sides:
        cache = PhotoReader(photos)
        parts.append(Part(cache.photos, clean_features(run, cache, size)))
    table = compare(parts[0], parts[1], lengths, range(1, seeds + 1), only or "", chosen)
    splits = describe_splits(parts[0].photos, parts[1].photos, split)
    write_json(out, {"backbone": name, "note": note, "size": size, "seeds": seeds, "sets": table,
                     "splits": splits})  # fmt: skip
