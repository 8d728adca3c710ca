"""Train variants of a recipe that differ in one ingredient, all with the same short budget.

\b
    python -m training ablation --data ../shared/data/grocery --weights NPZ --out FILE.json

Every variant is trained on the train, val and gallery photos of the set by the same loop as
`python -m training train`. It is evaluated on the queries of the set twice: with the layer that it
was trained with, and with the paper's layer fitted to its features afterwards. The budget is far
too short for a good network, so compare the rows only with each other.

Variants that the file already holds are not trained again, and an interrupted one is resumed.
`--only paper,ssdh` trains some of the variants.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from edge_runtime.errors import InputError
from training.cli import log, report_errors
from training.data.photo_sets import label_indices, read_sets
from training.data.pixel_cache import PhotoReader, open_cache
from training.data.splits import default_split, describe_splits
from training.experiments.ablation import BASE, Harness, variants
from training.files import write_json
from training.fit.recipe import parse_stages
from training.options import SIDE, parse_lengths


@click.command(help=__doc__)
@click.option("--data", multiple=True, type=Path, required=True, help="Folders of photos.")
@click.option("--weights", type=Path, required=True, help="ImageNet weights (.npz) to start from.")
@click.option("--stages", default="128x5", show_default=True, help="Pixels x epochs.")
@click.option(
    "--size", type=SIDE, default=160, show_default=True, help="Input side in pixels for evaluation."
)
@click.option("--lengths", default="16,32", show_default=True, help="Code lengths besides 64 bits.")
@click.option("--only", default="", help="Comma-separated names of variants.")
@click.option("--runs", type=Path, default=Path("build/ablation"), show_default=True,
              help="Folder for the runs, each in a sub-folder named after --out.")  # fmt: skip
@click.option("--out", type=Path, required=True)
@report_errors
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
    """Run the command."""
    base = replace(BASE, stages=parse_stages(stages))
    rows = variants(base, parse_lengths(lengths, "--lengths"))
    chosen = only.split(",") if only else list(rows)
    unknown = [name for name in chosen if name not in rows]
    if unknown:
        raise InputError(
            f"unknown variant {unknown[0]}", where="--only", remedy=f"known: {', '.join(rows)}"
        )
    photos, queries, split = default_split(read_sets(data))
    cache = open_cache(photos)
    index = label_indices(cache.photos)
    labels = np.array([index[photo.label] for photo in cache.photos], np.int64)
    harness = Harness(cache, PhotoReader(queries), labels, list(index), size)
    result: dict[str, Any] = {
        "set": ", ".join(sorted({photo.source for photo in cache.photos})), "stages": stages,
        "size": size, "photos": len(cache), "queries": len(harness.query_reader),
        "splits": describe_splits(cache.photos, harness.query_reader.photos, split), "rows": {},
    }  # fmt: skip
    if out.exists():
        result["rows"] = json.loads(out.read_text(encoding="utf-8"))["rows"]
    for name in chosen:
        if name not in result["rows"]:
            log(f"{name}: {rows[name].what}")
            result["rows"][name] = harness.run(rows[name], weights, runs / out.stem / name)
            write_json(out, result)
            log(f"{name}: {result['rows'][name]}")
