"""A model for your own photos, in minutes on a laptop: `make train DATA=my-photos/`.

    python -m training.hash_layer.finetune --data DIR --out build/my-model

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
from training.cli import fail_in_one_line, say, settle
from training.data.photo_sets import enough_labels, label_indices, read_sets, warnings_about
from training.data.pixel_cache import PhotoReader, Pictures, open_cache
from training.data.splits import default_split, save_split
from training.eval.metrics import average_precision
from training.eval.retrieval import TOP, Side, retrieve
from training.hash_layer.backbone import head_of, of_model
from training.hash_layer.build_model import Passes, fit_without, measure_radius, strangers, to_codes
from training.hash_layer.features import Floats, clean_features, feature_passes
from training.hash_layer.fit import HeadRecipe
from training.methods import LEARNT
from training.methods.base import LinearMap
from training.onnx.export import save

DRAWS = 1000  # of the bootstrap
ENOUGH = 20  # held-out photos: with fewer, "not better" says little


def ap_of(
    cache: Pictures, held: Pictures, kept: Floats, asked: Floats, head: LinearMap
) -> NDArray[np.float64]:
    """AP@100 of every held-out photo against the kept ones, by the codes of `head`."""
    ranking = retrieve(
        Side(cache.kept, to_codes(kept, head)), Side(held.kept, to_codes(asked, head))
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
    type=click.Choice(sorted(LEARNT)),
    default="paper",
    show_default=True,
    help="Of the hash layer; contrastive is better at 32 bits and fewer.",
)
@click.option("--passes", default=4, show_default=True, help="Augmented views of each photo.")
@click.option("--seed", default=1, show_default=True)
@fail_in_one_line
def main(
    data: tuple[Path, ...], model: Path | None, out: Path, method: str, passes: int, seed: int
) -> None:
    """Command: see the module."""
    settle(seed)
    path = find_model(model)
    origin, info = of_model(path), PortableEngine(path).model
    photos = read_sets(data)
    for line in warnings_about(photos):
        say(f"note: {line}")
    enough_labels(photos, 2, data[0])
    kept, asked, split = default_split(photos, seed)
    cache, held = open_cache(kept), PhotoReader(asked)
    for line in cache.skipped + held.skipped:
        say(f"skipped {line}")
    enough_labels(cache.kept, 2, data[0])
    features = feature_passes(origin.run, cache, origin.size, passes, seed)
    queries = clean_features(origin.run, held, origin.size)
    database = Passes(cache, features)
    recipe = HeadRecipe(method=method, bits=info.bits, seed=seed)
    head = fit_without(database, set(), recipe)
    old = ap_of(cache, held, features[0], queries, head_of(onnx.load(path)))
    new = ap_of(cache, held, features[0], queries, head)
    rng = np.random.default_rng(seed)
    gains = (new - old)[rng.integers(0, len(new), (DRAWS, len(new)))].mean(1)
    better = bool(np.quantile(gains, 0.05) > 0)
    stored = out / "split.csv"
    report: dict[str, object] = {
        "split": split, "split_file": str(stored),
        "split_sha256": save_split(stored, split, {"train": cache.kept, "query": held.kept}),
        "shipped_map100": round(100 * float(old.mean()), 2),
        "new_map100": round(100 * float(new.mean()), 2),
        "queries": len(held), "kept": "new" if better else "shipped",
    }  # fmt: skip
    if better:
        hidden = strangers(cache.kept, held.kept)
        other = fit_without(database, hidden, recipe) if hidden else head
        labels = hidden or set(label_indices(cache.kept))
        measured = measure_radius(database, (held.kept, queries), labels, other)
        report["radius"] = measured.radius
        report["radius_of"] = measured_on(len(hidden), len(labels))
        say(f"radius {measured.radius}: measured on {report['radius_of']}")
        described = replace(info, name="mobilenet_v1_hash_own", radius=measured.radius)
        save(origin.whole(head, described), out / MODEL_FILE)
        report["model"] = str(out / MODEL_FILE)
    say(verdict(report, out / MODEL_FILE))
    click.echo(json.dumps(report))


if __name__ == "__main__":
    main()
