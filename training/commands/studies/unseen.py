"""Judge codes that are fitted to a gallery on labels that a training run did not see.

\b
    python -m training unseen --run build/train/unseen --weights NPZ --data DIR...
        --out training/results/unseen_fitted.json

--run is the folder of a `python -m training train --hold classes`: its checkpoint.pt, and the
hidden labels in its split.csv. Its weights are averaged with the ImageNet weights by each of
--shares. The whole database is enrolled, photos of the hidden labels too, whole and without further
views; the code is fitted to it as `edge-runtime gallery refit` does. The prior is the covariance
within the labels that training saw. Queries of hidden labels are searched in the whole database of
their set. The run's own layer is judged with the run's own features.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edge_runtime.model import identify
from training.cli import log, report_errors
from training.data.photo_sets import DataError, read_sets
from training.data.pixel_cache import PhotoReader
from training.data.splits import default_split, describe_splits, held_out_labels
from training.determinism import set_determinism
from training.experiments.methods import Part
from training.experiments.unseen import HiddenLabels, count_hidden, judge_hidden
from training.files import write_json
from training.fit.run_dir import classes_of_run, describe_run, load_hash_layer
from training.hash_layer.backbone import run_blend
from training.hash_layer.features import clean_features
from training.options import SIDE, parse_lengths, parse_shares


@click.command(help=__doc__)
@click.option(
    "--run", "folder", type=Path, required=True, help="Folder of a run with --hold classes."
)
@click.option("--weights", type=Path, required=True, help="ImageNet weights (.npz).")
@click.option("--data", multiple=True, type=Path, required=True, help="Folders of photos.")
@click.option("--shares", default="0,0.25,0.5,1", show_default=True, help="Shares of the run.")
@click.option("--bits", default="64,128", show_default=True)
@click.option("--size", type=SIDE, default=224, show_default=True, help="Input side in pixels.")
@click.option("--out", type=Path, required=True)
@report_errors
def main(
    folder: Path,
    weights: Path,
    data: tuple[Path, ...],
    shares: str,
    bits: str,
    size: int,
    out: Path,
) -> None:
    """Run the command."""
    set_determinism(1)
    lengths, parts = parse_lengths(bits), parse_shares(shares)
    checkpoint, split_file = folder / "checkpoint.pt", folder / "split.csv"
    own = load_hash_layer(checkpoint)
    database, queries, split = default_split(read_sets(data))
    hidden = held_out_labels(split_file, database)
    if seen := hidden & set(classes_of_run(checkpoint)):
        raise DataError(
            f"the run was trained on {len(seen)} of its held-out labels",
            where=split_file,
            remedy="give the folder of one run",
        )
    sides = [PhotoReader(photos) for photos in (database, queries)]
    rows: dict[str, Any] = {}
    for share in parts:
        log(f"judging the share {share:g}")
        run = run_blend(checkpoint, weights, share, size)
        stored, queried = (Part(each.photos, clean_features(run, each, size)) for each in sides)
        layer = own if share == 1 else None
        rows[f"{share:g}"] = judge_hidden(stored, queried, HiddenLabels(hidden, layer), lengths)
    result = {
        "run": describe_run(checkpoint),
        "hold_sha256": identify(split_file)[0],
        "imagenet_sha256": identify(weights)[0],
        "size": size,
        "views": 1,
        "hidden": count_hidden(sides[0].photos, sides[1].photos, hidden),
        "rows": rows,
        "splits": describe_splits(sides[0].photos, sides[1].photos, split),
    }
    write_json(out, result)
