"""All methods at all code lengths on the features of one backbone, seen and unseen labels.

    python -m training compare-methods --data DIR... --weights NPZ --name frozen --out FILE.json
    python -m training compare-methods --data DIR... --checkpoint FILE --name tuned --out FILE.json
    python -m training compare-methods --data DIR... --model FILE.onnx --name shipped --out FILE.json
    python -m training compare-methods --data DIR... --features hand-made --name hand-made --out FILE.json

For each method and length: MAP@100 of the official queries; and, with a hash layer that was fitted
without a fifth of the labels, MAP@100 of these labels' queries against the whole database. The
backbone is what it is: only a backbone that never saw the held-out labels makes the second figure
one of unseen labels; the JSON says which it was. The float row, under the number of features, ranks
by cosine. Features made by hand (training/handmade) need no network: the baseline of old.
"""

from __future__ import annotations

from pathlib import Path

import click

from training.cli import report_errors
from training.commands.options import SIDE, parse_lengths, parse_methods
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


def source_of(
    made: str, weights: Path | None, checkpoint: Path | None, model: Path | None, size: int
) -> tuple[Run, int]:
    """What computes the features, and its input side in pixels; raises click.UsageError."""
    if made == "network":
        origin = load_feature_model(weights, checkpoint, model, size)
        return origin.run, origin.size
    if weights or checkpoint or model:
        raise click.UsageError("--features hand-made takes no --weights, --checkpoint or --model")
    return handcrafted.run, handcrafted.SIZE


@click.command(help=__doc__)
@click.option("--data", multiple=True, type=Path, required=True, help="Sets of photos.")
@click.option("--weights", type=Path, help="ImageNet arrays: a frozen backbone.")
@click.option("--checkpoint", type=Path, help="A training run's checkpoint.pt.")
@click.option("--model", type=Path, help="A finished model's .onnx, of fp32: its own features.")
@click.option("--features", type=click.Choice(["network", "hand-made"]), default="network",
              show_default=True)  # fmt: skip
@click.option("--name", required=True, help="What to call this backbone.")
@click.option("--note", default="", help="What the backbone was trained on, for the reader.")
@click.option("--bits", default="16,32,64", show_default=True)
@click.option(
    "--size",
    type=SIDE,
    default=224,
    show_default=True,
    help="Input side in pixels, of a network of --weights or --checkpoint.",
)
@click.option("--only", type=click.Choice(["seen", "unseen"]), help="One half of the table.")
@click.option("--methods", default=",".join(METHODS), show_default=True)
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Of each layer, from 1; their mean.",
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
    """Command: see the module."""
    set_determinism(1)
    lengths, chosen = parse_lengths(bits), parse_methods(methods)
    run, size = source_of(features, weights, checkpoint, model, size)
    *sides, split = default_split(read_sets(data))
    parts = []
    for photos in sides:
        cache = PhotoReader(photos)
        parts.append(Part(cache.photos, clean_features(run, cache, size)))
    table = compare(parts[0], parts[1], lengths, range(1, seeds + 1), only or "", chosen)
    splits = describe_splits(parts[0].photos, parts[1].photos, split)
    write_json(out, {"backbone": name, "note": note, "size": size, "seeds": seeds, "sets": table,
                     "splits": splits})  # fmt: skip
