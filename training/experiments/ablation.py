"""What each ingredient of a training run gives: runs of equal length that differ in one thing.

    python -m training.experiments.ablation --data ../shared/data/grocery --weights NPZ --out FILE.json

Trains every variant on the set's train, val and gallery photos, each by `training.fit.train`'s own loop
under the same short budget, and judges it on the set's queries twice: by the codes of the layer it
was trained with, and by those of the paper's layer fitted afterwards to its features. The budget is
far too short for a good network: the rows compare with each other and with nothing else. Variants
that the file already holds are left alone, and one that was killed goes on, so the table grows with
the time there is. `--only paper,ssdh` makes some rows, of another set in a file of its own, say.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import InputError
from training.cli import SIDE, fail_in_one_line, say, settle
from training.data.photo_sets import label_indices, read_sets
from training.data.pixel_cache import PhotoReader, PixelCache, open_cache
from training.data.splits import default_split, splits_of
from training.eval.retrieval import Side, mean_ap
from training.experiments.methods import Part, float_map, parse_lengths
from training.files import write_json
from training.fit.train import parse_stages
from training.fit.trainer import Recipe, train
from training.hash_layer.build_model import to_codes
from training.hash_layer.features import clean_features, runner
from training.hash_layer.fit import HeadRecipe, fit_head
from training.methods.base import LinearMap
from training.models.imagenet_weights import load_imagenet
from training.models.mobilenet_v1 import Backbone

BASE = Recipe(
    method="joint", optimiser="adamw", rate=0.001, decay=0.05, mixed=0.2, average=0.98, frozen=7,
    flip_sources=("grocery",),
)  # fmt: skip

METHODS = ("paper", "ssdh", "dlbh", "orthohash", "csq", "contrastive")


@dataclass(frozen=True)
class Variant:
    """One row: `BASE` with one thing changed."""

    what: str
    recipe: Recipe
    imagenet: bool = True  # else random first weights


def variants(base: Recipe, lengths: Iterable[int]) -> dict[str, Variant]:
    """All rows by their names, the most telling first."""
    rows = {"base": Variant("method joint, strong augmentation, mixing, averaged weights", base)}
    for name in METHODS:
        rows[name] = Variant(f"method {name} instead of joint", replace(base, method=name))
    rows |= {
        "gentle": Variant("gentle augmentation", replace(base, augmentation="gentle")),
        "unmixed": Variant("no mixup or cutmix", replace(base, mixed=0.0)),
        "last": Variant("last instead of averaged weights", replace(base, average=0.0)),
        "all": Variant("all layers trained", replace(base, frozen=0)),
        "seed2": Variant("another seed", replace(base, seed=2)),
        "seed3": Variant("a third seed", replace(base, seed=3)),
        "scratch": Variant("no ImageNet weights, all layers", replace(base, frozen=0), False),
    }
    for bits in lengths:
        for name in (BASE.method, *METHODS):
            recipe = replace(base, method=name, bits=bits)
            rows[f"{name}{bits}"] = Variant(f"method {name}, {bits} bits", recipe)
    return rows


@dataclass(frozen=True)
class Bench:
    """The photos all variants share: what they train on, and what judges them."""

    cache: PixelCache
    asked: PhotoReader
    labels: NDArray[np.int64]
    names: list[str]
    size: int  # input side in pixels at which they are judged

    def run(self, variant: Variant, weights: Path, folder: Path) -> dict[str, Any]:
        """Train `variant` in `folder` and judge it; MAP@100 in percent."""
        recipe = variant.recipe
        settle(recipe.seed)
        backbone = load_imagenet(weights) if variant.imagenet else Backbone()
        trained = train(self.cache, self.labels, self.names, backbone, recipe, folder)
        run = runner(trained.backbone, self.size)
        database = Part(self.cache.kept, clean_features(run, self.cache, self.size))
        queries = Part(self.asked.kept, clean_features(run, self.asked, self.size))
        fitted = HeadRecipe(method="paper", bits=recipe.bits)
        head = fit_head([database.features], self.labels, len(self.names), fitted)
        return {
            "what": variant.what,
            "bits": recipe.bits,
            "own": _map(database, queries, trained.head.linear()),
            "refitted": _map(database, queries, head),
            "float": round(float_map(database, queries), 2),
        }


def _map(database: Part, queries: Part, head: LinearMap) -> float:
    """MAP@100 in percent of the codes that `head` makes."""
    sides = [Side(part.photos, to_codes(part.features, head)) for part in (database, queries)]
    return round(mean_ap(*sides), 2)


@click.command(help=__doc__)
@click.option("--data", multiple=True, type=Path, required=True, help="Sets of photos.")
@click.option("--weights", type=Path, required=True, help="ImageNet arrays to start from.")
@click.option("--stages", default="128x5", show_default=True, help="Pixels x epochs.")
@click.option("--size", type=SIDE, default=160, show_default=True, help="Input side when judging.")
@click.option("--lengths", default="16,32", show_default=True, help="Besides 64 bits.")
@click.option("--only", default="", help="Names of variants, comma-separated.")
@click.option("--runs", type=Path, default=Path("build/ablation"), show_default=True,
              help="Where the runs go, below the name of --out.")  # fmt: skip
@click.option("--out", type=Path, required=True)
@fail_in_one_line
def main(
    data: tuple[Path, ...],
    weights: Path,
    stages: str,
    size: int,
    lengths: str,
    only: str,
    runs: Path,
    out: Path,
) -> None:
    """Command: see the module."""
    base = replace(BASE, stages=parse_stages(stages))
    rows = variants(base, parse_lengths(lengths, "--lengths"))
    chosen = only.split(",") if only else list(rows)
    unknown = [name for name in chosen if name not in rows]
    if unknown:
        raise InputError(
            f"no variant {unknown[0]}", where="--only", remedy=f"known: {', '.join(rows)}"
        )
    photos, queries, split = default_split(read_sets(data))
    cache = open_cache(photos)
    index = label_indices(cache.kept)
    labels = np.array([index[photo.label] for photo in cache.kept], np.int64)
    bench = Bench(cache, PhotoReader(queries), labels, list(index), size)
    result: dict[str, Any] = {
        "set": ", ".join(sorted({photo.source for photo in cache.kept})), "stages": stages,
        "size": size, "photos": len(cache), "queries": len(bench.asked),
        "splits": splits_of(cache.kept, bench.asked.kept, split), "rows": {},
    }  # fmt: skip
    if out.exists():
        result["rows"] = json.loads(out.read_text(encoding="utf-8"))["rows"]
    for name in chosen:
        if name not in result["rows"]:
            say(f"{name}: {rows[name].what}")
            result["rows"][name] = bench.run(rows[name], weights, runs / out.stem / name)
            write_json(out, result)
            say(f"{name}: {result['rows'][name]}")


if __name__ == "__main__":
    main()
