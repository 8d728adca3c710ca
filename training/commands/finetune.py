"""A model for your own photos, in minutes on a laptop: `make train DATA=my-photos/`.

    python -m training finetune --data DIR --out build/my-model

Starts from the shipped model, so nothing needs to be downloaded: its backbone stays, a new hash
layer is fitted to your photos. A contiguous fifth of each label is held out to judge both (the
photos of both parts are listed in OUT/split.csv); the new model is written only where it beats the
shipped one by more than chance allows, else the shipped one is kept. Its radius is measured on
labels that a second layer was fitted without, where there are four labels or more. The last line
but one says in words what came out.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import onnx
from numpy.typing import NDArray

from edge_runtime.engine.portable import PortableEngine
from edge_runtime.model import MODEL_FILE, MODEL_VARIABLE, find_model
from training.cli import log, report_errors
from training.data.input_tensor import Floats
from training.data.photo_sets import label_indices, read_sets, require_labels, warnings_about
from training.data.pixel_cache import PhotoReader, PhotoSource, open_cache
from training.data.splits import default_split, save_split
from training.determinism import set_determinism
from training.eval.metrics import average_precision
from training.eval.retrieval import TOP, CodeSet, retrieve
from training.hash_layer.backbone import (
    from_model,
    read_head,
)
from training.hash_layer.codes import Passes, fit_without, to_codes
from training.hash_layer.features import clean_features, feature_passes
from training.hash_layer.fit import HeadRecipe
from training.hash_layer.radius import (
    measure_radius,
    unseen_labels,
)
from training.methods import SUPERVISED
from training.methods.base import LinearMap
from training.onnx.export import save

DRAWS = 1000  # of the bootstrap
ENOUGH = 20  # held-out photos: with fewer, "not better" says little


def ap_of(
    cache: PhotoSource, held: PhotoSource, kept: Floats, asked: Floats, head: LinearMap
) -> NDArray[np.float64]:
    """AP@100 of every held-out photo against the kept ones, by the codes of `head`."""
    ranking = retrieve(
        CodeSet(cache.photos, to_codes(kept, head)), CodeSet(held.photos, to_codes(asked, head))
    )
    return average_precision(ranking.relevant, TOP)


def verdict(report: dict[str, object], own: Path) -> str:
    """What came out, in a sentence, and what to do; `own` is where a better model goes."""
    count = int(str(report["queries"]))
    seen = f"{report['shipped_map100']} -> {report['new_map100']} on {count} held-out photos"
    if report["kept"] == "new":
        return f"better: {seen} (MAP@100); use it: {MODEL_VARIABLE}={own}, and enrol again"
    why = f"not better: {seen}" if count >= ENOUGH else f"too few photos to judge: {seen}"
    older = f"; {own} is of an earlier run" if own.exists() else ""
    return f"{why} (MAP@100); keep the shipped model{older}"


def measured_on(hidden: int, labels: int) -> str:
    """On what the radius was measured, in words."""
    if hidden:
        return f"{hidden} labels that a second layer was fitted without"
    return (
        f"all {labels} labels, which the layer was fitted to, for want of labels to hold out:"
        " strangers may come nearer"
    )


@click.command(help=__doc__)
@click.option("--data", multiple=True, type=Path, required=True, help="Your photos.")
@click.option("--model", type=Path, help="To start from; the shipped one by default.")
@click.option("--out", type=Path, default=Path("build/my-model"), show_default=True)
@click.option(
    "--method",
    type=click.Choice(sorted(SUPERVISED)),
    default="paper",
    show_default=True,
    help="Of the hash layer; contrastive is better at 32 bits and fewer.",
)
@click.option("--passes", default=4, show_default=True, help="Augmented views of each photo.")
@click.option("--seed", default=1, show_default=True)
@report_errors
def main(
    data: tuple[Path, ...], model: Path | None, out: Path, method: str, passes: int, seed: int
) -> None:
    """Command: see the module."""
    set_determinism(seed)
    path = find_model(model)
    origin, info = from_model(path), PortableEngine(path).model
    photos = read_sets(data)
    for line in warnings_about(photos):
        log(f"note: {line}")
    require_labels(photos, 2, data[0])
    kept, asked, split = default_split(photos, seed)
    cache, held = open_cache(kept), PhotoReader(asked)
    for line in cache.skipped + held.skipped:
        log(f"skipped {line}")
    require_labels(cache.photos, 2, data[0])
    features = feature_passes(origin.run, cache, origin.size, passes, seed)
    queries = clean_features(origin.run, held, origin.size)
    database = Passes(cache, features)
    recipe = HeadRecipe(method=method, bits=info.bits, seed=seed)
    head = fit_without(database, set(), recipe)
    old = ap_of(cache, held, features[0], queries, read_head(onnx.load(path)))
    new = ap_of(cache, held, features[0], queries, head)
    rng = np.random.default_rng(seed)
    gains = (new - old)[rng.integers(0, len(new), (DRAWS, len(new)))].mean(1)
    better = bool(np.quantile(gains, 0.05) > 0)
    stored = out / "split.csv"
    report: dict[str, object] = {
        "split": split, "split_file": str(stored),
        "split_sha256": save_split(stored, split, {"train": cache.photos, "query": held.photos}),
        "shipped_map100": round(100 * float(old.mean()), 2),
        "new_map100": round(100 * float(new.mean()), 2),
        "queries": len(held), "kept": "new" if better else "shipped",
    }  # fmt: skip
    if better:
        hidden = unseen_labels(cache.photos, held.photos)
        other = fit_without(database, hidden, recipe) if hidden else head
        labels = hidden or set(label_indices(cache.photos))
        measured = measure_radius(database, (held.photos, queries), labels, other)
        report["radius"] = measured.radius
        report["radius_of"] = measured_on(len(hidden), len(labels))
        log(f"radius {measured.radius}: measured on {report['radius_of']}")
        described = replace(info, name="mobilenet_v1_hash_own", radius=measured.radius)
        save(origin.with_head(head, described), out / MODEL_FILE)
        report["model"] = str(out / MODEL_FILE)
    log(verdict(report, out / MODEL_FILE))
    click.echo(json.dumps(report))
