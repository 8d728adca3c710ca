"""Judge codes that are fitted to a gallery of the labels that training saw.

\b
    python -m training seen --model models/mobilenet_v1_hash64.onnx --data DIR...
        --out training/results/seen_fitted.json

The whole database of each set is enrolled, whole and without further views, and the code is fitted
to it as `edge-runtime gallery refit` does, with the prior that belongs to the model, if there is
one. The official queries are searched in the database of their set. The fit starts from a random
rotation: --seeds starts are judged, and the first is the one that the runtime uses.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edge_runtime.engine.portable import PortableEngine
from edge_runtime.fitting.prior import prior_of
from edge_runtime.model import identify
from training.cli import log, report_errors
from training.data.photo_sets import read_sets
from training.data.pixel_cache import PhotoReader
from training.data.splits import default_split, describe_splits
from training.experiments.methods import Part
from training.experiments.unseen import judge_seen
from training.files import write_json
from training.hash_layer.feature_model import from_model
from training.hash_layer.features import clean_features
from training.options import parse_lengths


@click.command(help=__doc__)
@click.option("--model", "models", multiple=True, type=Path, required=True, help="fp32 models.")
@click.option("--data", multiple=True, type=Path, required=True, help="Folders of photos.")
@click.option("--bits", default="64,128", show_default=True)
@click.option("--seeds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--out", type=Path, required=True)
@report_errors
def main(
    models: tuple[Path, ...], data: tuple[Path, ...], bits: str, seeds: int, out: Path
) -> None:
    """Run the command."""
    lengths = parse_lengths(bits)
    database, queries, split = default_split(read_sets(data))
    sides = [PhotoReader(photos) for photos in (database, queries)]
    rows: dict[str, Any] = {}
    for path in models:
        network, info = from_model(path), PortableEngine(path).model
        log(f"judging {info.name}")
        stored, queried = (
            Part(each.photos, clean_features(network.run, each, network.size)) for each in sides
        )
        prior = prior_of(info)
        found = judge_seen(stored, queried, prior, lengths, range(1, seeds + 1))
        rows[info.name] = {"sha256": identify(path)[0], "prior": prior is not None, "sets": found}
    splits = describe_splits(sides[0].photos, sides[1].photos, split)
    write_json(out, {"views": 1, "models": rows, "splits": splits})
