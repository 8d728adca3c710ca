"""Repeat Table 3 of the seed paper, each method on its own backbone and on the other's.

\b
    python -m training papers alexnet --data DIR... --weights NPZ --more DIR
    python -m training papers table3 --data DIR... --weights NPZ

The paper's method, SSDH and DLBH are trained on MobileNet-v1 and on the AlexNet-shaped network
that `papers alexnet` trains, and judged by MAP@100 on the queries of each set of --data. Finished
trainings are lines of OUT/runs.jsonl. The same command continues after a kill. --networks trains
only some of them; the table always holds all that are finished.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from edge_runtime.errors import InputError
from training.cli import log, report_errors
from training.data.photo_sets import read_set
from training.determinism import set_determinism
from training.models.alexnet import AlexNet, load_network
from training.models.imagenet_weights import load_imagenet
from training.options import SIDE, parse_lengths
from training.papers.files import FinishedRuns
from training.papers.rows import RESULTS, write_table
from training.papers.table3.bench import RECIPE, Bench, Network
from training.papers.table3.table import Found, table
from training.papers.table3.verdict import ORDER
from training.papers.times import keep_share, timed

EPOCHS = RECIPE.epochs


@click.command(help=__doc__)
@click.option("--data", multiple=True, type=Path, required=True, help="Folders of one set each.")
@click.option("--weights", type=Path, required=True, help="ImageNet weights of MobileNet-v1.")
@click.option("--alexnet", type=Path, default=Path("build/papers/alexnet/alexnet.pt"),
              show_default=True, help="The network that `papers alexnet` trained.")  # fmt: skip
@click.option("--places", default="ie_tower", show_default=True,
              help="Comma-separated sets whose photos are not mirrored.")  # fmt: skip
@click.option("--lengths", default="16,32,64", show_default=True)
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--epochs", type=click.IntRange(1), default=EPOCHS, show_default=True)
@click.option("--batch", type=click.IntRange(2), default=RECIPE.batch, show_default=True)
@click.option("--networks", default="mobilenet,alexnet", show_default=True,
              help="Which to train; an empty list makes the table only.")  # fmt: skip
@click.option("--side", type=SIDE, default=112, show_default=True, help="Input side in pixels.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("--out", type=Path, default=Path("build/papers/table3"), show_default=True)
@click.option("--results", type=Path, default=RESULTS, help="Folder of the result file.")
@report_errors
@timed("table3")
def main(
    data: tuple[Path, ...],
    weights: Path,
    alexnet: Path,
    places: str,
    lengths: str,
    seeds: int,
    epochs: int,
    batch: int,
    networks: str,
    side: int,
    threads: int,
    out: Path,
    results: Path,
) -> None:
    """Run the command."""
    set_determinism(1, threads)
    bits = parse_lengths(lengths, "--lengths")
    both = (
        Network("mobilenet", weights, load_imagenet, 23),
        Network("alexnet", alexnet, load_network, 2),
    )
    loaded = {network.name: network.load(network.file) for network in both}
    trained_for = loaded["alexnet"]
    if isinstance(trained_for, AlexNet) and trained_for.side != side:
        raise InputError(
            f"{alexnet} was trained for {trained_for.side} pixels",
            where="--side",
            remedy=f"give {trained_for.side}, or train another with papers alexnet",
        )
    benches = [
        Bench(read_set(folder), side, threads, folder.name not in places.split(","))
        for folder in data
    ]
    base = replace(RECIPE, stages=((side, epochs),), batch=batch)
    runs = [
        (seed, bench, network, method)
        for seed in range(1, seeds + 1)
        for bench in benches
        for network in both
        for method in ORDER
    ]
    finished = FinishedRuns(out / "runs.jsonl")
    for number, (seed, bench, network, method) in enumerate(runs, 1):
        recipe = bench.recipe(network, method, seed, base)
        key = bench.key(network, recipe, bits)
        name = f"{bench.source}-{network.name}-{method}-{seed}"
        if network.name not in networks.split(",") or finished.find(key) is not None:
            continue
        log(f"{name}: training")
        finished.add(key, bench.run(network, recipe, bits, out / name))
        log(f"{name}: {finished.find(key)}")
        keep_share(results, number, len(runs))
    finished = FinishedRuns(out / "runs.jsonl")  # with what another process has finished meanwhile
    found: Found = {}
    for seed, bench, network, method in runs:
        key = bench.key(network, bench.recipe(network, method, seed, base), bits)
        for length, value in (finished.find(key) or {}).items():
            if length != "float":
                place = (bench.source, int(length), network.name, method)
                found.setdefault(place, []).append(value)
    shown = " ".join(f"--data {folder}" for folder in data)
    made = table(
        f"python -m training papers table3 {shown} --weights {weights}",
        {bench.source: bench.split for bench in benches},
        bits, found, loaded, side,
        f"Inputs of {side} pixels, {epochs} epochs, frozen early units.", results,
    )  # fmt: skip
    log(f"{sum(map(len, found.values()))} values: {write_table('table3', made, results)}")
