"""Benchmark the lookup against its peers: one thread each, interleaved in one process.

    python -m profiles.bench.lookup [--largest 1e8] [--photos FOLDER]...
                                    [--out profiles/reports/lookup-x86_64.json]

Every contender answers the same queries over the same codes and must return the same distances. For
the one that is approximate by design, the report gives its share of correct answers. The limit is a
plain read of the same bytes (bits / 8 per code) in the same run. With --photos, the codes that the
shipped network gives to real photos (with their views, as in enrollment) are searched too.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from edge_runtime.code import Code, words_of
from edge_runtime.engine import open_engine
from edge_runtime.errors import PhotoError
from edge_runtime.image.decode import find_photos, read_photo
from edge_runtime.image.preprocess import views_of
from edge_runtime.lookup import Lookup, by_numpy
from edge_runtime.recognition.pipeline import code_of
from edge_runtime.system.device import read_device
from profiles.bench.support.results import write_report

K = 10
QUERIES = 7
"""Different queries per case, so that no contender profits from repeating one."""
CLUSTERS, FLIPS = 162, 0.02
"""Clustered codes: the paper's 162 places, each bit of a code flipped with this probability."""

INDEXED = (1_000_000, 10_000_000)
"""Sizes at which the multi-index is measured too."""
APPROXIMATE = "faiss BinaryMultiHash"

Search = Callable[[Code], NDArray[Any]]
"""Maps a query, uint64 [W], to the K smallest distances."""


@dataclass(frozen=True)
class Case:
    """One set of codes to search."""

    kind: str
    bits: int
    count: int


def make_codes(case: Case, seed: int = 1) -> tuple[Code, Code]:
    """Return codes, uint64 [count, W], and queries, uint64 [QUERIES, W], for the case."""
    generator = np.random.default_rng(seed)
    words, total = words_of(case.bits), case.count + QUERIES
    mask = np.uint64(2 ** min(case.bits, 64) - 1)
    shape = (total, words)
    if case.kind == "uniform":
        codes = generator.integers(0, 2**64, shape, dtype=np.uint64) & mask
    else:
        centers = generator.integers(0, 2**64, (CLUSTERS, words), dtype=np.uint64)
        codes = centers[generator.integers(0, CLUSTERS, total)] & mask
        changes = int(FLIPS * case.bits * total)
        rows = generator.integers(0, total, changes)
        places = generator.integers(0, case.bits, changes)
        flips = np.uint64(1) << (places % 64).astype(np.uint64)
        np.bitwise_xor.at(codes, (rows, places // 64), flips)
    return codes[:-QUERIES], codes[-QUERIES:]


def contenders(codes: Code, bits: int, queries: Code) -> Iterator[tuple[str, Search]]:
    """Yield every installed contender by name, ready to search these codes.

    The index is tried on `queries`, as in normal use.
    """
    ours = Lookup(codes, bits, index=False)
    octets = ours.rows.reshape(-1)
    words = octets[: octets.size // 8 * 8].view(np.uint64)
    yield "read", lambda _query: words.max(keepdims=True)
    yield f"edge-runtime ({ours.kernel})", lambda query: ours.nearest(query, K)[1]
    if len(codes) in INDEXED:
        chosen = Lookup(codes, bits)
        for query in queries:
            chosen.nearest(query, K)
        chosen.planner.build(chosen.rows)
        yield "with index if it wins", lambda query: chosen.nearest(query, K)[1]
    if len(codes) <= 10_000_000:
        yield "numpy", lambda query: by_numpy.nearest(codes, query, K)[1]
    if bits % 8 == 0 and bits % 64 == 0 and len(codes) <= 10_000_000:
        yield from _faiss(codes, bits)
        if len(codes) <= 100_000:  # 100 times slower; larger sizes would only evict the caches
            yield from _usearch(codes, bits)


def _faiss(codes: Code, bits: int) -> Iterator[tuple[str, Search]]:
    try:
        import faiss
    except ImportError:
        return
    faiss.omp_set_num_threads(1)
    index: Any = faiss.IndexBinaryFlat(bits)
    index.use_heap = False  # the faster of its two methods for a single query
    index.add(codes.view(np.uint8))
    yield (
        f"faiss {faiss.__version__} BinaryFlat",
        lambda query: index.search(query[np.newaxis].view(np.uint8), K)[0][0].astype(np.int64),
    )
    if len(codes) in INDEXED:
        hashes: Any = faiss.IndexBinaryMultiHash(bits, 4, 16)
        hashes.nflip = 1
        hashes.add(codes.view(np.uint8))
        yield (
            APPROXIMATE,
            lambda query: hashes.search(query[np.newaxis].view(np.uint8), K)[0][0].astype(np.int64),
        )


def _usearch(codes: Code, bits: int) -> Iterator[tuple[str, Search]]:
    try:
        import usearch
        from usearch.index import MetricKind, search
    except ImportError:
        return
    rows = codes.view(np.uint8)

    def run(query: Code) -> NDArray[np.int64]:
        matches = search(
            rows, query.view(np.uint8), K, MetricKind.Hamming, exact=True, threads=1, dtype="b1"
        )
        return np.sort(np.asarray(matches.distances).astype(np.int64))

    yield f"usearch {usearch.__version__} exact", run


def measure(case: Case, seconds: float, given: tuple[Code, Code] | None = None) -> dict[str, Any]:
    """Return microseconds per query for every contender, measured in interleaved rounds."""
    codes, queries = given or make_codes(case)
    searches = dict(contenders(codes, case.bits, queries))
    answers_by_name = {}
    for name, search in searches.items():
        answers = [search(query) for query in queries]  # also the warm-up
        if name != "read":
            answers_by_name[name] = [answer.tolist() for answer in answers]
    first = next(iter(answers_by_name.values()))
    hits = answers_by_name.pop(APPROXIMATE, None)
    wrong = [name for name, answers in answers_by_name.items() if answers != first]
    if wrong:
        raise click.ClickException(f"{case}: distances of {', '.join(wrong)} differ")
    # The approximate contender runs separately, because its tables evict the others' cached data.
    exact = {name: search for name, search in searches.items() if name != APPROXIMATE}
    medians, rounds = _time_interleaved(exact, queries, seconds)
    if APPROXIMATE in searches:
        medians |= _time_interleaved({APPROXIMATE: searches[APPROXIMATE]}, queries, seconds / 4)[0]
    return {
        "kind": case.kind,
        "bits": case.bits,
        "count": case.count,
        "rounds": rounds,
        "median_us": medians,
        **({} if hits is None else {"approximate_right": _agreement(hits, first)}),
    }


def _time_interleaved(
    searches: dict[str, Search], queries: Code, seconds: float
) -> tuple[dict[str, float], int]:
    """Return the median microseconds of each contender and the number of rounds."""
    samples: dict[str, list[float]] = {name: [] for name in searches}
    deadline = time.perf_counter() + seconds
    rounds = 0
    while time.perf_counter() < deadline or rounds < 3:
        query = queries[rounds % len(queries)]
        for name, search in searches.items():
            began = time.perf_counter_ns()
            search(query)
            samples[name].append((time.perf_counter_ns() - began) / 1e3)
        rounds += 1
    return {name: median(values) for name, values in samples.items()}, rounds


def _agreement(answers: list[list[int]], expected: list[list[int]]) -> float:
    """Return the share of queries for which all distances are correct."""
    return sum(one == other for one, other in zip(answers, expected, strict=True)) / len(expected)


def real_codes(folders: tuple[Path, ...]) -> tuple[Code, Code]:
    """Return the codes of the photos' views as database, with every hundredth photo as a query."""
    engine = open_engine()
    codes, queries = [], []
    for number, photo in enumerate(path for folder in folders for path in find_photos(folder)):
        try:
            image = read_photo(photo)
        except PhotoError:
            continue
        if number % 100 == 0:
            queries.append(code_of(engine, image))
        else:
            codes += [code_of(engine, view) for view in views_of(image)]
    return np.array(codes), np.array(queries)


def measure_batch(rounds: int) -> list[dict[str, Any]]:
    """Time the paper's evaluation: 1,620 queries against 6,442 codes of 64 bits, milliseconds."""
    codes, _ = make_codes(Case("clustered", 64, 6442))
    queries, _ = make_codes(Case("clustered", 64, 1620), seed=2)
    ours = Lookup(codes, 64)
    batches: dict[str, Callable[[int], object]] = {
        f"edge-runtime ({ours.kernel})": lambda k: (
            ours.nearest_batch(queries, k) if k < len(codes) else ours.ranking(queries)
        ),
        "numpy": lambda k: [by_numpy.nearest(codes, query, k) for query in queries],
    }
    try:
        import faiss

        faiss.omp_set_num_threads(1)
        index = faiss.IndexBinaryFlat(64)
        index.add(codes.view(np.uint8))
        octets = queries.view(np.uint8)
        batches[f"faiss {faiss.__version__} BinaryFlat"] = lambda k: index.search(octets, k)
    except ImportError:
        pass
    results = []
    for k in (K, len(codes)):
        samples: dict[str, list[float]] = {name: [] for name in batches}
        for round_number in range(rounds + 1):
            for name, search in batches.items():
                began = time.perf_counter_ns()
                search(k)
                if round_number:  # the first round is the warm-up
                    samples[name].append((time.perf_counter_ns() - began) / 1e6)
        medians = {name: median(values) for name, values in samples.items()}
        results.append({"queries": 1620, "codes": 6442, "k": k, "median_ms": medians})
    return results


@click.command(help=__doc__)
@click.option("--largest", type=float, default=1e7, show_default=True, help="Most codes.")
@click.option("--seconds", type=float, default=3.0, show_default=True, help="Per case.")
@click.option(
    "--photos",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Search their codes too.",
)
@click.option("--batch", is_flag=True, help="Measure batches only, into --out.")
@click.option(
    "--lengths",
    is_flag=True,
    help="Measure other code lengths than 64 only, into --out.",
)
@click.option("--out", type=click.Path(path_type=Path))
def main(
    largest: float,
    seconds: float,
    photos: tuple[Path, ...],
    batch: bool,
    lengths: bool,
    out: Path | None,
) -> None:
    """Benchmark the lookup and write the report."""
    other_lengths = [
        Case("uniform", bits, 10**7) for bits in (16, 32, 48, 128, 256) if largest >= 10**7
    ]
    if batch or lengths:
        report = json.loads(out.read_text(encoding="utf-8")) if out else {"cases": []}
        if batch:
            report |= {"batch": measure_batch(5), "batch_apart": True}
        if lengths:
            cases = [case for case in report["cases"] if case["bits"] == 64]
            cases += [measure(case, seconds) for case in other_lengths]
            report |= {"cases": cases, "lengths_apart": True}
        write_report(report, out)
        return
    cases = [
        Case(kind, 64, 10**power)
        for power in range(4, 9)
        for kind in ("uniform", "clustered")
        if 10**power <= largest
    ] + other_lengths
    results = []
    if photos:
        given = real_codes(photos)
        results.append(measure(Case("real", 64, len(given[0])), seconds, given))
    for case in cases:
        results.append(measure(case, seconds))
        click.echo(json.dumps(results[-1]), err=True)
    device = read_device()
    report = {
        "schema_version": 1,
        "machine": platform.machine(),
        "cpu": device.cpu,
        "emulated": device.emulated,
        "load_average_before": os.getloadavg()[0],
        "numpy": np.__version__,
        "k": K,
        "cases": results,
        "batch": measure_batch(5),
    }
    write_report(report, out)


if __name__ == "__main__":
    main()
