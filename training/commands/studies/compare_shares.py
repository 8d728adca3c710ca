"""Compare blends of a trained model and ImageNet weights, on new objects and on its own sets.

\b
    python -m training compare-shares --model models/mobilenet_v1_hash64.onnx --weights NPZ
        --shares 0,0.25,1 --data DIR... --new DIR... --out training/results/general.json

--data are the sets that the model was trained on, --new folders of objects that no training saw.
Features are judged, not codes; --layers also judges the codes of each method in closed form.
--network adds the features of another ONNX network, which must take the same input, and
--checkpoint those of a training run. Rows that the output file has already are kept, so that an
interrupted run continues.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from edge_runtime.errors import InputError
from edge_runtime.model import identify
from training.cli import log, report_errors
from training.data.photo_sets import Photo, count_by_set, read_set, read_sets
from training.data.splits import default_split
from training.determinism import set_determinism
from training.experiments.shares import DRAWS, ENROLLED, NAMED, QUERIES, judge, judge_layers
from training.files import write_json
from training.fit.run_dir import describe_run, load_backbone
from training.hash_layer.backbone import feature_runner, from_blend
from training.onnx.model_file import session
from training.options import parse_shares

SIZE, BITS, LAYER_SEEDS = 224, 64, (1, 2, 3)


def _named(text: str, option: str) -> tuple[str, Path]:
    """Parse NAME=FILE; raises InputError."""
    name, equals, path = text.partition("=")
    if not (name and equals and Path(path).is_file()):
        raise InputError(f'"{text}" is not NAME=FILE', where=option, remedy="check the path")
    return name, Path(path)


@click.command(help=__doc__)
@click.option("--model", type=Path, required=True, help="A trained fp32 ONNX hash model.")
@click.option("--weights", type=Path, required=True, help="ImageNet weights (.npz).")
@click.option("--shares", default="0,0.15,0.25,0.35,0.5,1", show_default=True)
@click.option("--network", multiple=True, help="Another network with features [1, F]: NAME=FILE.")
@click.option("--checkpoint", multiple=True, help="A training run: NAME=checkpoint.pt.")
@click.option("--data", multiple=True, type=Path, required=True, help="Sets of the training.")
@click.option("--new", multiple=True, type=Path, required=True, help="Folders of new objects.")
@click.option(
    "--layers", type=click.FloatRange(0, 1), help="Share whose hash layers are compared, too."
)
@click.option("--seed", default=1, show_default=True)
@click.option("--out", type=Path, required=True)
@report_errors
def main(
    model: Path,
    weights: Path,
    shares: str,
    network: tuple[str, ...],
    checkpoint: tuple[str, ...],
    data: tuple[Path, ...],
    new: tuple[Path, ...],
    layers: float | None,
    seed: int,
    out: Path,
) -> None:
    """Run the command."""
    set_determinism(seed)
    parts = parse_shares(shares)
    others = [_named(text, "--network") for text in network]
    trained = [_named(text, "--checkpoint") for text in checkpoint]
    objects = {folder.name: read_set(folder) for folder in new}
    photos = read_sets(data)
    database, queries, split = default_split(photos)
    sets: dict[str, tuple[list[Photo], list[Photo]]] = {
        name: (own, []) for name, own in objects.items()
    } | {
        source: (
            [photo for photo in database if photo.source == source],
            [photo for photo in queries if photo.source == source],
        )
        for source in sorted({photo.source for photo in photos})
    }
    earlier = json.loads(out.read_text()) if out.exists() else {}
    rows, found = earlier.get("rows", {}), earlier.get("layers", {})
    names = [f"{share:g}" for share in parts]
    for name, share in zip(names, parts, strict=True):
        if name not in rows:
            log(f"judging the share {name}")
            rows[name] = judge(from_blend(model, weights, share).run, SIZE, sets, seed)
            write_json(out, earlier | {"rows": rows})
    for name, path in others:
        if name not in rows:
            log(f"judging {name}")
            rows[name] = judge(session(path), SIZE, sets, seed)
            write_json(out, earlier | {"rows": rows})
    for name, path in trained:
        if name not in rows:
            log(f"judging {name}")
            rows[name] = judge(feature_runner(load_backbone(path), SIZE), SIZE, sets, seed)
            write_json(out, earlier | {"rows": rows})
    if layers is not None:
        log(f"comparing hash layers at the share {layers:g}")
        run = from_blend(model, weights, layers).run
        found = judge_layers(run, SIZE, sets, BITS, LAYER_SEEDS)
    result = {
        "rows": {name: rows[name] for name in [*names, *(name for name, _ in others + trained)]},
        "runs": {name: describe_run(path) for name, path in trained},
        "shares": names,
        "bytes": {name: path.stat().st_size for name, path in others},
        "layers": found, "layer_bits": BITS, "layer_seeds": len(LAYER_SEEDS),
        "model": identify(model)[0],
        "split": split,
        "new": {name: count_by_set(own)[name] for name, own in objects.items()},
        "labels": ENROLLED, "draws": DRAWS, "named": NAMED, "queries": QUERIES, "seed": seed,
    }  # fmt: skip
    write_json(out, result)
    click.echo(json.dumps(result))
