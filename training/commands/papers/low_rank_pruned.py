"""Judge low-rank and pruned hash networks: size, MAP@100, multiply-adds and instructions.

\b
    python -m training papers low-rank-pruned --data DIR
    .venv-compile/bin/python -m profiles.estimate.quantized_cnn build/papers/low_rank_pruned \\
        --fp32 --out profiles/reports/low_rank_pruned.json

The second command counts the instructions of every variant on emulated boards; the page shows them.
The shipped network and the AlexNet-shaped one of `papers alexnet` are made smaller without
training, as the survey lists in section 1.4, and judged on the queries of the set. Finished
variants are lines of OUT/runs.jsonl; the same command continues after a kill.
"""

from __future__ import annotations

from pathlib import Path

import click

from edge_runtime.model import identify
from training.cli import log, report_errors
from training.data.photo_sets import read_set
from training.data.pixel_cache import open_cache
from training.data.splits import OFFICIAL, default_split, split_digest
from training.determinism import set_determinism
from training.models.alexnet import load_network
from training.papers.compressed.small_networks import (
    Maker,
    fitted,
    int8_row,
    judge_int8,
    judge_variant,
    row_of,
    shipped,
    write_network,
)
from training.papers.compressed.variants import (
    CONNECTED,
    FOLDERS,
    INT8,
    SEPARABLE,
    VARIANTS,
    file_of,
)
from training.papers.files import FinishedRuns
from training.papers.rows import RESULTS, Row, Table, write_table
from training.papers.times import timed

ROOT = Path(__file__).resolve().parents[3]
NOTES = (
    "Nothing is trained after a network was made smaller. Training restores a part of the loss.",
    "The AlexNet-shaped network is that of `papers alexnet`: only its hash layer has seen labels.",
    "Early layers, which have few weights, are not changed.",
    "A pruned network is stored as its other weights and one bit per weight. Its multiply-adds fall"
    " only in a kernel that skips zeros (million_without_zeros).",
    "Multiply-adds are counted from the layers, not measured.",
)


@click.command(help=__doc__)
@click.option("--data", type=Path, required=True, help="Folder of one set.")
@click.option("--model", type=Path, default=ROOT / "models" / "mobilenet_v1_hash64.onnx",
              help="Shipped hash network in fp32.")  # fmt: skip
@click.option("--alexnet", type=Path, default=Path("build/papers/alexnet/alexnet.pt"),
              show_default=True, help="The network that `papers alexnet` trained.")  # fmt: skip
@click.option("--only-table", is_flag=True, help="Run nothing; make the table of what is finished.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("--out", type=Path, default=Path("build/papers/low_rank_pruned"), show_default=True)
@click.option("--results", type=Path, default=RESULTS, help="Folder of the result file.")
@report_errors
@timed("low-rank-pruned")
def main(
    data: Path,
    model: Path,
    alexnet: Path,
    only_table: bool,
    threads: int,
    out: Path,
    results: Path,
) -> None:
    """Run the command."""
    set_determinism(1, threads)
    stored, asked, split = default_split(read_set(data))
    database, queries = open_cache(stored), open_cache(asked)
    source = database.photos[0].source
    digest = split_digest(OFFICIAL, {"database": database.photos, "queries": queries.photos})
    finished = FinishedRuns(out / "runs.jsonl")
    rows: list[Row] = []
    networks = {
        "MobileNet-v1": (model, (*VARIANTS, *SEPARABLE)),
        "AlexNet-shaped": (alexnet, (*VARIANTS, *CONNECTED, INT8)),
    }
    for name, (file, variants) in networks.items():
        base = {"network": identify(file)[0], "split": digest}
        keys = {variant: {**base, "variant": variant.name} for variant in variants}
        wanted = [each for each, key in keys.items() if finished.find(key) is None]
        if wanted and not only_table:
            chain, judge = (
                shipped(file, database, queries)
                if file == model
                else fitted(load_network(file), database, queries)
            )
            maker = Maker(chain, judge)
            for variant in wanted:
                folder = out / FOLDERS[name]
                if variant == INT8:
                    found = judge_int8(chain, judge, folder / "int8.onnx")
                else:
                    late = maker.make(variant)
                    write_network(chain, late, folder / file_of(variant))
                    found = judge_variant(chain, judge, variant, late)
                finished.add(keys[variant], found)
                log(f"{name}, {variant.name}: {found}")
        rows += [row_of(name, each, finished.find(key), source) for each, key in keys.items()]
        integer = int8_row(source) if file == model else None
        rows += [integer] if integer else []
    command = f"python -m training papers low-rank-pruned --data {data}"
    table = Table(command=command, data=f"{source}: {split}", rows=rows, notes=NOTES)
    log(f"{len(rows)} rows: {write_table('low_rank_pruned', table, results)}")
