"""Measure what features cost a gallery: space, the query path, and a refit; on one thread.

    OPENBLAS_NUM_THREADS=1 python -m profiles.bench.features [--pictures 1000] [--labels 40]

The gallery holds made-up features with six views per picture, so no photos are needed. `search` is
the search by codes alone, as in a gallery without features; `rank` compares the features of the
nearest codes, too. Both are called in turn with the same queries, and set against one call of the
network. The times are medians.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import click
import numpy as np

from edge_runtime.code import Embedding
from edge_runtime.engine import open_engine
from edge_runtime.fitting.fit import fit_layer
from edge_runtime.fitting.prior import FeaturePrior, prior_of
from edge_runtime.fitting.quantized import quantize
from edge_runtime.gallery import Gallery, LabeledCode
from edge_runtime.gallery.pictures import view_digest
from profiles.bench.support.network_input import MODEL, sample_picture

VIEWS, QUERIES, CALLS = 6, 400, 60
FITTED_ROWS = 3_000


@click.command(help=__doc__)
@click.option("--model", type=click.Path(path_type=Path, exists=True), default=MODEL)
@click.option("--pictures", type=click.IntRange(20), default=1000, show_default=True)
@click.option("--labels", type=click.IntRange(5), default=40, show_default=True)
def main(model: Path, pictures: int, labels: int) -> None:
    """Measure and print."""
    engine = open_engine(model)
    if not engine.model.features:
        raise click.ClickException(f"{model} gives no features")
    prior = prior_of(engine.model)
    picture = sample_picture(engine.model.input.size)
    network_ms = median(_timed(lambda: engine.embed(picture)) for _ in range(CALLS)) * 1e3
    features = _features(pictures, labels, engine.model.features)
    with tempfile.TemporaryDirectory(prefix="edge-features-") as folder:
        path = Path(folder) / "gallery.sqlite"
        with Gallery(path, engine.model, create=True) as gallery:
            gallery.enroll(_codes(features, labels))
            gallery.checkpoint()
            values = quantize(features)
            click.echo(f"{pictures} pictures, {len(values) * VIEWS} codes, {labels} labels")
            click.echo(f"on disk      {path.stat().st_size / 1e6:.1f} MB")
            click.echo(f"in memory    {values.nbytes / 1e6:.1f} MB of features")
            click.echo(f"load         {_timed(gallery.snapshot):.2f} s")
            click.echo(f"calibrate    {_timed(gallery.calibration):.2f} s")
            click.echo(f"network      {network_ms:.2f} ms, {engine.name}")
            _queries(gallery, features, network_ms)
            click.echo(f"refit        {_timed(lambda: gallery.refit(64, prior)):.2f} s, judged")
            rows = values.reshape(-1, values.shape[-1])[:FITTED_ROWS]
            owners = np.arange(len(rows)) // VIEWS % labels
            _fit_time(rows, owners, prior)


def _features(pictures: int, labels: int, length: int) -> np.ndarray:
    """Return features float32 [pictures, VIEWS, length]: labels, pictures and views differ."""
    rng = np.random.default_rng(1)
    centers = rng.gamma(1, 1, (labels, 1, length))[np.arange(pictures) % labels]
    own = rng.gamma(1, 0.7, (pictures, 1, length))
    views = rng.gamma(1, 0.3, (pictures, VIEWS, length))
    return (centers + own + views).astype(np.float32)


def _codes(features: np.ndarray, labels: int) -> list[LabeledCode]:
    codes = np.random.default_rng(2).integers(0, 1 << 63, features.shape[:2], np.uint64)
    values = quantize(features)
    return [
        LabeledCode(
            f"label {number % labels}",
            codes[number, view : view + 1],
            digest=view_digest(number.to_bytes(32, "big"), view),
            features=values[number, view],
        )
        for number in range(len(features))
        for view in range(VIEWS)
    ]


def _queries(gallery: Gallery, features: np.ndarray, network_ms: float) -> None:
    code = np.random.default_rng(3).integers(0, 1 << 63, (QUERIES, 1), np.uint64)
    times: dict[str, list[float]] = {"search": [], "rank": []}
    for number in range(QUERIES):
        query = Embedding(code[number], features[number % len(features), 0])
        times["search"].append(_timed(lambda query=query: gallery.search(query.code)))  # type: ignore[misc]
        times["rank"].append(_timed(lambda query=query: gallery.rank(query)))  # type: ignore[misc]
    search_ms, rank_ms = (median(each) * 1e3 for each in times.values())
    slower = (rank_ms - search_ms) / (network_ms + search_ms)
    click.echo(f"search       {search_ms:.3f} ms")
    click.echo(f"rank         {rank_ms:.3f} ms: the query path takes {slower:+.1%} longer")


def _fit_time(rows: np.ndarray, owners: np.ndarray, prior: FeaturePrior | None) -> None:
    taken_s = _timed(lambda: fit_layer(rows, owners, 64, prior))
    click.echo(f"fit          {taken_s:.2f} s, {len(rows)} rows, 64 bits")


def _timed(call: Callable[[], object]) -> float:
    """Return the seconds that `call` takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
