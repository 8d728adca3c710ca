"""Hash layers of many lengths on the features of one backbone, over several seeds.

    python -m training.experiments.code_lengths --data DIR... --checkpoint FILE --name tuned --out FILE.json
    python -m training.experiments.code_lengths --data DIR... --model FILE.onnx --name shipped --out FILE.json
    python -m training.experiments.code_lengths --data DIR... --weights NPZ --name ImageNet --bits 64 --out FILE.json

For each method and length: MAP@100 of the official queries and of the interleaved split of the
distinct places, a figure a seed; and the same when the layer's activations are compared by cosine
before they become bits, which is what binarising costs. The backbone's own row, features compared
by cosine, is what no labels are needed for. Rows that FILE.json already holds are left alone, so
several backbones share one file.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from edge_runtime.errors import InputError
from training.cli import SIDE, fail_in_one_line, say, settle
from training.data.photo_sets import Photo, label_indices, read_sets
from training.data.pixel_cache import open_cache
from training.data.splits import default_split, splits_of
from training.eval.protocols import protocols
from training.eval.retrieval import Side, mean_ap
from training.experiments.methods import Part, float_map, parse_lengths, parse_methods
from training.files import write_json
from training.hash_layer.build_model import choose, to_codes
from training.hash_layer.features import Floats, augmented_features, clean_features
from training.hash_layer.fit import HeadRecipe, fit_head

JUDGED = ("official", "distinct_interleaved")
Measure = Callable[[list[Photo], Floats, list[Photo], Floats], float]


def judge(photos: list[Photo], features: Floats, measure: Measure) -> dict[str, float]:
    """MAP@100 by "source/protocol" of features float32 [N, F] of all `photos`."""
    result = {}
    for source in sorted({photo.source for photo in photos}):
        own = [photo for photo in photos if photo.source == source]
        row = {photo.name: i for i, photo in enumerate(photos) if photo.source == source}
        nothing = Side(own, np.zeros((len(own), 1), np.uint64))
        for name, (database, queries, _) in protocols(own, nothing).items():
            if name in JUDGED:
                sides = [
                    (side.photos, features[[row[photo.name] for photo in side.photos]])
                    for side in (database, queries)
                ]
                result[f"{source}/{name}"] = round(measure(*sides[0], *sides[1]), 2)
    return result


def by_cosine(database: list[Photo], base: Floats, queries: list[Photo], asked: Floats) -> float:
    """MAP@100 in percent of ranking by cosine."""
    return float_map(Part(database, base), Part(queries, asked))


def by_bits(database: list[Photo], base: Floats, queries: list[Photo], asked: Floats) -> float:
    """MAP@100 in percent of ranking signs by Hamming distance."""
    identity = np.eye(base.shape[1], dtype=np.float32), np.zeros(base.shape[1], np.float32)
    sides = [Side(database, to_codes(base, identity)), Side(queries, to_codes(asked, identity))]
    return mean_ap(*sides)


def fitted(
    photos: list[Photo], features: Floats, database: list[Floats], recipe: HeadRecipe
) -> tuple[dict[str, float], dict[str, float]]:
    """MAP@100 of a layer fitted to the passes `database`, which are of the first `photos`: of its
    bits, and of its activations.
    """
    known = photos[: len(database[0])]
    index = label_indices(known)
    labels = np.array([index[photo.label] for photo in known], np.int64)
    weight, bias = fit_head(database, labels, len(index), recipe)
    logits = features @ weight.T + bias
    return judge(photos, logits, by_bits), judge(photos, np.tanh(logits / 2), by_cosine)


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
@fail_in_one_line
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
    settle(1)
    chosen, lengths = parse_methods(methods), parse_lengths(bits)
    origin = choose(weights, checkpoint, model, size)
    run, size = origin.run, origin.size
    known, queries, split = default_split(read_sets(data))
    cache = open_cache(known)
    views = [clean_features(run, cache, size)]
    views += [augmented_features(run, cache, size, 1 + turn) for turn in range(passes)]
    asked = open_cache(queries)
    features = np.concatenate([views[0], clean_features(run, asked, size)])
    photos = cache.kept + asked.kept
    splits = splits_of(cache.kept, asked.kept, split)
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
                say(f"{name}, {method}, {length} bits, seed {seed}: {binary}")
                write_json(out, result)
    write_json(out, result)


if __name__ == "__main__":
    main()
