"""Measure what the features cost: `embed` against `hash`, in turn, on one thread.

    python -m profiles.bench.embed [--model BUNDLE_OR_ONNX]... [--rounds 600]

In each round every call is made once, in random order: `hash`, `hash` again as a control, `embed`.
Printed are the medians of the CPU time and of the difference to `hash` in the same round. The
features cost nothing measurable where the difference of `embed` is within that of the control.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles

import click

from edge_runtime.engine import Engine, open_engine
from profiles.bench.support.network_input import MODEL, QUANTIZED_MODEL, sample_picture

WARM_UP = 20


@click.command(help=__doc__)
@click.option(
    "--model",
    "models",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    default=(MODEL, QUANTIZED_MODEL),
    help="A model file or bundle; may be repeated.  [default: those in models/]",
)
@click.option("--rounds", type=click.IntRange(20), default=600, show_default=True)
def main(models: tuple[Path, ...], rounds: int) -> None:
    """Measure each model and print three lines for it."""
    for path in models:
        engine = open_engine(path)
        if not engine.model.features:
            raise click.ClickException(f"{path} gives no features")
        click.echo(f"{path}: engine {engine.name}, {engine.model.features} features")
        for name, times in measure(engine, rounds).items():
            click.echo(f"  {name:8} {times}")


def measure(engine: Engine, rounds: int) -> dict[str, str]:
    """Return the times of each call in milliseconds, in words."""
    picture = sample_picture(engine.model.input.size)
    calls: dict[str, Callable[[], object]] = {
        "hash": lambda: engine.hash(picture),
        "control": lambda: engine.hash(picture),
        "embed": lambda: engine.embed(picture),
    }
    samples: dict[str, list[float]] = {name: [] for name in calls}
    order = list(calls)
    chance = random.Random(1)
    for turn in range(WARM_UP + rounds):
        chance.shuffle(order)
        for name in order:
            began = time.process_time_ns()
            calls[name]()
            if turn >= WARM_UP:
                samples[name].append((time.process_time_ns() - began) / 1e6)
    texts = {}
    for name, times in samples.items():
        differences = [ours - base for ours, base in zip(times, samples["hash"], strict=True)]
        low, _, high = quantiles(differences, n=4)
        texts[name] = f"{median(times):.3f} ms"
        if name != "hash":
            middle = median(differences)
            texts[name] += f", {middle:+.4f} against hash (quartiles {low:+.3f}, {high:+.3f})"
    return texts


if __name__ == "__main__":
    main()
