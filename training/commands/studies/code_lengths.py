"""Compare hash layers of several lengths on the features of one backbone, over several seeds.

\b
    python -m training code-lengths --data DIR... --checkpoint FILE --name tuned --out FILE.json
    python -m training code-lengths --data DIR... --model FILE.onnx --name shipped --out FILE.json
    python -m training code-lengths --data DIR... --weights NPZ --name ImageNet --out FILE.json

For each method, length and seed, the file holds the MAP@100 of the official queries and of the
interleaved split of the distinct places. The same figures are given for the activations of the
layer, compared by cosine: the difference is what binarization costs. The row of the backbone ranks
its features by cosine and needs no labels. Rows that FILE.json already holds are not computed
again, so several backbones can share one file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np

from edge_runtime.errors import InputError
from training.cli import log, report_errors
from training.data.photo_sets import read_sets
from training.data.pixel_cache import open_cache
from training.data.splits import default_split, describe_splits
from training.determinism import set_determinism
from training.experiments.code_lengths import by_cosine, fitted, judge
from training.files import write_json
from training.hash_layer.backbone import (
    load_feature_model,
)
from training.hash_layer.features import augmented_features, clean_features
from training.hash_layer.fit import HeadRecipe
from training.options import SIDE, parse_lengths, parse_methods


@click.command(help=__doc__)
@click.option("--data", multiple=True, type=Path, required=True, help="Folders of photos.")
@click.option("--weights", type=Path, help="ImageNet weights (.npz) of a frozen backbone.")
@click.option("--checkpoint", type=Path, help="The checkpoint.pt of a training run.")
@click.option("--model", type=Path, help="A finished fp32 ONNX model, for its features.")
@click.option("--name", required=True, help="Name of the backbone in the results.")
@click.option("--methods", default="paper,contrastive", show_default=True)
@click.option("--bits", default="16,32,48,64,128", show_default=True)
@click.option(
    "--passes",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Augmented views per photo.",
)
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True)
@click.option(
    "--size",
    type=SIDE,
    default=224,
    show_default=True,
    help="Input side in pixels; --model has its own.",
)
@click.option("--out", type=Path, required=True)
@report_errors
def main(
    data: tuple[Path, ...],
    weights: Path | None,
    checkpoint: Path | None,
    model: Path | None,
    name: str,
    methods: str,
    bits: str,
    passes: int,
    seeds: int,
    size: int,
    out: Path,
) -> None:
    """Run the command."""
    set_determinism(1)
    chosen, lengths = parse_methods(methods), parse_lengths(bits)
    model_features = load_feature_model(weights, checkpoint, model, size)
    run, size = model_features.run, model_features.size
    known, queries, split = default_split(read_sets(data))
    cache = open_cache(known)
    views = [clean_features(run, cache, size)]
    views += [augmented_features(run, cache, size, 1 + number) for number in range(passes)]
    query_cache = open_cache(queries)
    features = np.concatenate([views[0], clean_features(run, query_cache, size)])
    photos = cache.photos + query_cache.photos
    splits = describe_splits(cache.photos, query_cache.photos, split)
    result: dict[str, Any] = {"float": {}, "rows": {}}
    if out.exists():
        result = json.loads(out.read_text(encoding="utf-8"))
    if result.setdefault("splits", splits) != splits:
        raise InputError(
            "its rows were computed on other photos",
            where=out,
            remedy="name another file with --out",
        )
    result["float"][name] = judge(photos, features, by_cosine)
    for method in chosen:
        for length in lengths:
            row = result["rows"].setdefault(f"{name}, {method}, {length} bits, {passes} views", {
                "backbone": name, "method": method, "bits": length, "passes": passes,
                "binary": {}, "real": {},
            })  # fmt: skip
            for seed in range(1, seeds + 1):
                if str(seed) in row["binary"]:
                    continue
                recipe = HeadRecipe(method=method, bits=length, seed=seed)
                binary, real = fitted(photos, features, views, recipe)
                row["binary"][str(seed)], row["real"][str(seed)] = binary, real
                log(f"{name}, {method}, {length} bits, seed {seed}: {binary}")
                write_json(out, result)
    write_json(out, result)
