"""Hash layers of many lengths on the features of one backbone, over several seeds.

    python -m training code-lengths --data DIR... --checkpoint FILE --name tuned --out FILE.json
    python -m training code-lengths --data DIR... --model FILE.onnx --name shipped --out FILE.json
    python -m training code-lengths --data DIR... --weights NPZ --name ImageNet --bits 64 --out FILE.json

For each method and length: MAP@100 of the official queries and of the interleaved split of the
distinct places, a figure a seed; and the same when the layer's activations are compared by cosine
before they become bits, which is what binarising costs. The backbone's own row, features compared
by cosine, is what no labels are needed for. Rows that FILE.json already holds are left alone, so
several backbones share one file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np

from edge_runtime.errors import InputError
from training.cli import log, report_errors
from training.commands.options import SIDE, parse_lengths, parse_methods
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


@click.command(help=__doc__)
@click.option("--data", multiple=True, type=Path, required=True, help="Sets of photos.")
@click.option("--weights", type=Path, help="ImageNet arrays: a frozen backbone.")
@click.option("--checkpoint", type=Path, help="A training run's checkpoint.pt.")
@click.option("--model", type=Path, help="A finished model's .onnx, of fp32: its own features.")
@click.option("--name", required=True, help="What to call this backbone.")
@click.option("--methods", default="paper,contrastive", show_default=True)
@click.option("--bits", default="16,32,48,64,128", show_default=True)
@click.option(
    "--passes",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Augmented views of each photo.",
)
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True)
@click.option(
    "--size",
    type=SIDE,
    default=224,
    show_default=True,
    help="Input side in pixels, but a model's own.",
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
    """Command: see the module."""
    set_determinism(1)
    chosen, lengths = parse_methods(methods), parse_lengths(bits)
    origin = load_feature_model(weights, checkpoint, model, size)
    run, size = origin.run, origin.size
    known, queries, split = default_split(read_sets(data))
    cache = open_cache(known)
    views = [clean_features(run, cache, size)]
    views += [augmented_features(run, cache, size, 1 + turn) for turn in range(passes)]
    asked = open_cache(queries)
    features = np.concatenate([views[0], clean_features(run, asked, size)])
    photos = cache.photos + asked.photos
    splits = describe_splits(cache.photos, asked.photos, split)
    result: dict[str, Any] = {"float": {}, "rows": {}}
    if out.exists():
        result = json.loads(out.read_text(encoding="utf-8"))
    if result.setdefault("splits", splits) != splits:
        raise InputError(
            "its rows are of other photos", where=out, remedy="name another file with --out"
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
