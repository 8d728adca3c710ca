"""What each ingredient of a training run gives: runs of equal length that differ in one thing.

    python -m training ablation --data ../shared/data/grocery --weights NPZ --out FILE.json

Trains every variant on the set's train, val and gallery photos, each by `training.fit.train`'s own loop
under the same short budget, and judges it on the set's queries twice: by the codes of the layer it
was trained with, and by those of the paper's layer fitted afterwards to its features. The budget is
far too short for a good network: the rows compare with each other and with nothing else. Variants
that the file already holds are left alone, and one that was killed goes on, so the table grows with
the time there is. `--only paper,ssdh` makes some rows, of another set in a file of its own, say.
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
from training.commands.options import SIDE, parse_lengths
from training.data.photo_sets import label_indices, read_sets
from training.data.pixel_cache import PhotoReader, open_cache
from training.data.splits import default_split, describe_splits
from training.experiments.ablation import BASE, Bench, variants
from training.files import write_json
from training.fit.recipe import parse_stages


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
    index = label_indices(cache.photos)
    labels = np.array([index[photo.label] for photo in cache.photos], np.int64)
    bench = Bench(cache, PhotoReader(queries), labels, list(index), size)
    result: dict[str, Any] = {
        "set": ", ".join(sorted({photo.source for photo in cache.photos})), "stages": stages,
        "size": size, "photos": len(cache), "queries": len(bench.asked),
        "splits": describe_splits(cache.photos, bench.asked.photos, split), "rows": {},
    }  # fmt: skip
    if out.exists():
        result["rows"] = json.loads(out.read_text(encoding="utf-8"))["rows"]
    for name in chosen:
        if name not in result["rows"]:
            log(f"{name}: {rows[name].what}")
            result["rows"][name] = bench.run(rows[name], weights, runs / out.stem / name)
            write_json(out, result)
            log(f"{name}: {result['rows'][name]}")
