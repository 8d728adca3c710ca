"""Fit the hash layer of the shipped model to your own photos, in minutes on a laptop.

\b
    python -m training finetune --data DIR --out build/my-model
    make train DATA=my-photos/

Nothing needs to be downloaded: the backbone of the shipped model stays as it is, and a new hash
layer is fitted to your photos. A contiguous fifth of the photos of each label is held out to
evaluate both models; OUT/split.csv lists the photos of both parts. The new model is written only
if it beats the shipped one by more than chance.

With four labels or more, the radius is measured on labels that a second layer was fitted without.
The last message on stderr states the outcome, and stdout gets a JSON report.
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
from edge_runtime.model import MODEL_VARIABLE, find_model
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

DRAWS = 1000
"""Resamples of the bootstrap."""
ENOUGH = 20
"""Held-out photos; with fewer, a result that is not better means little."""


def average_precisions(
    cache: PhotoSource, held_out: PhotoSource, database: Floats, queries: Floats, head: LinearMap
) -> NDArray[np.float64]:
    """Return the AP@100 of every held-out photo against the database, with the codes of `head`."""
    ranking = retrieve(
        CodeSet(cache.photos, to_codes(database, head)),
        CodeSet(held_out.photos, to_codes(queries, head)),
    )
    return average_precision(ranking.relevant, TOP)


def verdict(report: dict[str, object], own: Path) -> str:
    """State the outcome and what to do in one sentence; `own` is the path of a better model."""
    count = int(str(report["queries"]))
    figures = f"{report['shipped_map100']} -> {report['new_map100']} on {count} held-out photos"
    if report["kept"] == "new":
        return f"better: {figures} (MAP@100); set {MODEL_VARIABLE}={own} and enroll again"
    why = "not better" if count >= ENOUGH else "too few photos to judge"
    older = f"; {own} is from an earlier run" if own.exists() else ""
    return f"{why}: {figures} (MAP@100); keep the shipped model{older}"


def radius_basis(held_out: int, labels: int) -> str:
    """Describe the labels on which the radius was measured."""
    if held_out:
        return f"{held_out} labels that a second layer was fitted without"
    return (
        f"all {labels} labels, including those the layer was fitted to, because there are too few"
        " labels to hold any out; unknown objects may come closer than the radius suggests"
    )


@click.command(help=__doc__)
@click.option("--data", multiple=True, type=Path, required=True, help="Folders of your photos.")
@click.option("--model", type=Path, help="Model to start from.  [default: the shipped one]")
@click.option(
    "--out", type=Path, default=Path("build/my-model"), show_default=True, help="Output folder."
)
@click.option(
    "--method",
    type=click.Choice(sorted(SUPERVISED)),
    default="paper",
    show_default=True,
    help="Method that fits the hash layer; contrastive is better at 32 bits and fewer.",
)
@click.option("--passes", default=4, show_default=True, help="Augmented views per photo.")
@click.option("--seed", default=1, show_default=True)
@report_errors
def main(
    data: tuple[Path, ...], model: Path | None, out: Path, method: str, passes: int, seed: int
) -> None:
    """Run the command."""
    set_determinism(seed)
    path = find_model(model)
    backbone, info = from_model(path), PortableEngine(path).model
    own = out / f"mobilenet_v1_hash{info.bits}.onnx"
    photos = read_sets(data)
    for line in warnings_about(photos):
        log(f"note: {line}")
    require_labels(photos, 2, data[0])
    database_photos, query_photos, split = default_split(photos, seed)
    cache, held_out = open_cache(database_photos), PhotoReader(query_photos)
    for line in cache.skipped + held_out.skipped:
        log(f"skipped {line}")
    require_labels(cache.photos, 2, data[0])
    database = Passes(cache, feature_passes(backbone.run, cache, backbone.size, passes, seed))
    queries = clean_features(backbone.run, held_out, backbone.size)
    recipe = HeadRecipe(method=method, bits=info.bits, seed=seed)
    head = fit_without(database, set(), recipe)
    clean = database.features[0]
    old = average_precisions(cache, held_out, clean, queries, read_head(onnx.load(path)))
    new = average_precisions(cache, held_out, clean, queries, head)
    rng = np.random.default_rng(seed)
    gains = (new - old)[rng.integers(0, len(new), (DRAWS, len(new)))].mean(1)
    better = bool(np.quantile(gains, 0.05) > 0)
    stored = out / "split.csv"
    report: dict[str, object] = {
        "split": split, "split_file": str(stored),
        "split_sha256": save_split(
            stored, split, {"train": cache.photos, "query": held_out.photos}
        ),
        "shipped_map100": round(100 * float(old.mean()), 2),
        "new_map100": round(100 * float(new.mean()), 2),
        "queries": len(held_out), "kept": "new" if better else "shipped",
    }  # fmt: skip
    if better:
        unseen = unseen_labels(cache.photos, held_out.photos)
        radius_head = fit_without(database, unseen, recipe) if unseen else head
        labels = unseen or set(label_indices(cache.photos))
        measured = measure_radius(database, (held_out.photos, queries), labels, radius_head)
        report["radius"] = measured.radius
        report["radius_of"] = radius_basis(len(unseen), len(labels))
        log(f"radius {measured.radius}, measured on {report['radius_of']}")
        described = replace(info, name="mobilenet_v1_hash_own", radius=measured.radius)
        save(backbone.with_head(head, described), own)
        report["model"] = str(own)
    log(verdict(report, own))
    click.echo(json.dumps(report))
