"""Every kernel of this machine, at every code width, equals a full stable sort."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.code import Code, hamming, words_of
from edge_runtime.errors import CodeError, InputError
from edge_runtime.lookup import ALL, Lookup, RowFilter, kernels, rows_where
from edge_runtime.lookup.by_numpy import BLOCK
from edge_runtime.lookup.multi_index import MAX_PARTS, UNLIMITED, MultiIndex
from edge_runtime.lookup.planner import Planner

WIDTHS = (1, 8, 13, 16, 24, 32, 48, 63, 64, 65, 96, 128, 200, 256)


def _codes(generator: np.random.Generator, count: int, bits: int, flips: int | None) -> Code:
    """Return uniform codes, or with `flips`, a few centers with up to that many bits changed."""
    rows = generator.integers(0, 2, (count, bits)).astype(np.uint8)
    if flips is not None:
        centers = generator.integers(0, 2, (3, bits)).astype(np.uint8)
        rows = centers[generator.integers(0, 3, count)]
        for _ in range(flips):
            rows[np.arange(count), generator.integers(0, bits, count)] ^= 1
    padded = np.zeros((count, words_of(bits) * 64), np.uint8)
    padded[:, :bits] = rows
    return np.packbits(padded, axis=1, bitorder="little").view(np.uint64)


def _expected(codes: Code, query: Code, k: int, alive: np.ndarray | None) -> list[tuple[int, int]]:
    distances = hamming(codes, query).tolist()
    rows = range(len(codes)) if alive is None else np.flatnonzero(alive).tolist()
    return sorted((distances[row], row) for row in rows)[:k]


def _check(lookup: Lookup, codes: Code, queries: Code, k: int, alive: np.ndarray | None) -> None:
    rows, distances = lookup.nearest_batch(queries, k, ALL if alive is None else rows_where(alive))
    for query, found_rows, found_distances in zip(queries, rows, distances, strict=True):
        found = list(zip(found_distances.tolist(), found_rows.tolist(), strict=True))
        assert found == _expected(codes, query, k, alive)


@pytest.mark.parametrize("kernel", kernels())
@pytest.mark.parametrize("bits", WIDTHS)
def test_every_kernel_at_every_width(kernel: str, bits: int) -> None:
    generator = np.random.default_rng(bits)
    for count in (0, 1, 63, 64, 65, 130, 700):
        for flips in (None, 2):
            codes = _codes(generator, count, bits, flips)
            queries = np.concatenate([_codes(generator, 3, bits, None), codes[:2]])
            lookup = Lookup(codes, bits, kernel=kernel)
            for k in (0, 1, 10, 700, 5000):
                _check(lookup, codes, queries, k, None)
            _check(lookup, codes, queries, 10, generator.random(count) < 0.5)


@settings(max_examples=150, deadline=None)
@given(
    kernel=st.sampled_from(kernels()),
    bits=st.sampled_from(WIDTHS),
    count=st.integers(0, 300),
    query_count=st.integers(0, 40),
    k=st.integers(0, 310),
    flips=st.none() | st.integers(0, 3),
    dead=st.none() | st.floats(0, 1),
    seed=st.integers(0, 2**32),
)
def test_searches_equal_a_full_stable_sort(
    kernel: str,
    bits: int,
    count: int,
    query_count: int,
    k: int,
    flips: int | None,
    dead: float | None,
    seed: int,
) -> None:
    generator = np.random.default_rng(seed)
    codes = _codes(generator, count, bits, flips)
    queries = _codes(generator, query_count, bits, flips)
    alive = None if dead is None else generator.random(count) >= dead
    _check(Lookup(codes, bits, kernel=kernel), codes, queries, k, alive)


@pytest.mark.parametrize("kernel", kernels())
@pytest.mark.parametrize("bits", WIDTHS)
def test_a_batch_over_many_codes(kernel: str, bits: int) -> None:
    """The codes fill more than the first block, which is transposed for all queries."""
    generator = np.random.default_rng(bits)
    for count, flips in ((1024, None), (3001, 2), (17_000, None), (17_000, 2)):
        codes = _codes(generator, count, bits, flips)
        queries = np.concatenate([_codes(generator, 13, bits, None), codes[:4]])
        alive = generator.random(count) < 0.5
        lookup = Lookup(codes, bits, kernel=kernel)
        for mask in (np.ones(count, np.bool_), alive):
            distances = np.stack([hamming(codes, query) for query in queries])
            distances[:, ~mask] = bits + 1
            order = np.argsort(distances, axis=1, kind="stable")
            for k in (1, 10, 32, 33):
                found = lookup.nearest_batch(queries, k, ALL if mask.all() else rows_where(mask))
                assert (found[0] == order[:, :k]).all()
                assert (found[1] == np.take_along_axis(distances, order[:, :k], axis=1)).all()


@pytest.mark.parametrize("kernel", kernels())
def test_distances_of_all_bits_do_not_overflow(kernel: str) -> None:
    for bits in (8, 16, 32, 48, 64, 128, 256):
        codes = ~np.zeros((200, words_of(bits)), np.uint64)
        if bits % 64:
            codes >>= np.uint64(64 - bits)
        codes[150] = 0
        query = np.zeros(words_of(bits), np.uint64)
        rows, distances = Lookup(codes, bits, kernel=kernel).nearest(query, 3)
        assert rows.tolist() == [150, 0, 1]
        assert distances.tolist() == [0, bits, bits]
        many = Lookup(np.tile(codes[:150], (20, 1)), bits, kernel=kernel)
        rows, distances = many.nearest_batch(np.tile(query, (16, 1)), 3)
        assert (rows == [0, 1, 2]).all()
        assert (distances == bits).all()


@pytest.mark.parametrize("kernel", kernels())
def test_many_neighbors_and_more_than_one_block(kernel: str) -> None:
    generator = np.random.default_rng(1)
    codes = _codes(generator, BLOCK + 17, 64, 6)
    order = Lookup(codes, 64, kernel=kernel).ranking(codes[:1])[0]
    assert order.tolist() == [row for _, row in _expected(codes, codes[0], len(codes), None)]
    for k in (2048, 2049, len(codes)):
        _check(Lookup(codes, 64, kernel=kernel), codes, codes[[5, BLOCK + 3]], k, None)


@pytest.mark.parametrize("kernel", kernels())
@pytest.mark.parametrize("bits", WIDTHS)
def test_all_within_a_radius_and_the_full_ranking(kernel: str, bits: int) -> None:
    generator = np.random.default_rng(bits)
    for count in (0, 1, 64, 130, 3000):
        codes = _codes(generator, count, bits, 2)
        query = _codes(generator, 1, bits, None)[0] if not count else codes[count // 2]
        lookup = Lookup(codes, bits, kernel=kernel)
        full = _expected(codes, query, count, None)
        order = lookup.ranking(np.stack([query, query]))
        assert order.tolist() == [[row for _, row in full]] * 2
        alive = generator.random(count) < 0.5
        for radius in (0, bits // 3, bits):
            rows, distances = lookup.within(query, radius)
            found = list(zip(distances.tolist(), rows.tolist(), strict=True))
            assert found == [pair for pair in full if pair[0] <= radius]
            rows, _ = lookup.within(query, radius, rows_where(alive))
            assert rows.tolist() == [row for d, row in full if d <= radius and alive[row]]


@pytest.mark.parametrize("kernel", kernels())
def test_rows_of_unwanted_groups_do_not_pass(kernel: str) -> None:
    generator = np.random.default_rng(3)
    codes = _codes(generator, 500, 64, 3)
    group = generator.integers(0, 20, 500).astype(np.uint32)
    chosen = np.zeros(17, np.bool_)  # groups 17 to 19 lie beyond the bits and are unwanted
    chosen[[2, 3, 16]] = True
    alive = generator.random(500) < 0.7
    row_filter = RowFilter(
        np.packbits(alive, bitorder="little"), group, np.packbits(chosen, bitorder="little")
    )
    passing = alive & np.isin(group, [2, 3, 16])
    lookup = Lookup(codes, 64, kernel=kernel)
    for k in (1, 10, 500):
        rows, distances = lookup.nearest(codes[7], k, row_filter)
        found = list(zip(distances.tolist(), rows.tolist(), strict=True))
        assert found == _expected(codes, codes[7], k, passing)


def test_extending_a_lookup_leaves_the_earlier_one_unchanged() -> None:
    generator = np.random.default_rng(5)
    for bits in (16, 48, 64, 128):
        codes = _codes(generator, 900, bits, 4)
        codes.flags.writeable = False  # as in a mapped file
        lookups = [Lookup(codes[:300], bits)]
        for end in (301, 301, 640, 900):
            lookups.append(lookups[-1].extended(codes[len(lookups[-1]) : end]))
        for lookup in lookups:
            assert (lookup.codes == codes[: len(lookup)]).all()
            _check(lookup, codes[: len(lookup)], codes[:3], 20, None)


compiled = pytest.mark.skipif(kernels() == ["numpy"], reason="installed without a compiler")


@compiled
@settings(max_examples=150, deadline=None)
@given(
    bits=st.sampled_from((16, 32, 48, 63, 64, 96, 128, 200, 256)),
    count=st.integers(1, 400),
    bits_per_part=st.integers(4, 10),
    k=st.integers(1, 410),
    radius=st.integers(0, 30),
    flips=st.none() | st.integers(0, 3),
    dead=st.none() | st.floats(0, 1),
    seed=st.integers(0, 2**32),
)
def test_the_multi_index_equals_a_full_stable_sort(
    bits: int,
    count: int,
    bits_per_part: int,
    k: int,
    radius: int,
    flips: int | None,
    dead: float | None,
    seed: int,
) -> None:
    from edge_runtime.lookup import to_bytes

    generator = np.random.default_rng(seed)
    codes = _codes(generator, count, bits, flips)
    alive = None if dead is None else generator.random(count) >= dead
    row_filter = ALL if alive is None else rows_where(alive)
    k = min(k, count)
    parts = min(max(-(-bits // bits_per_part), -(-bits // 20)), MAX_PARTS)
    index = MultiIndex(to_bytes(codes, bits), bits, parts)
    assert index.distinct == len(np.unique(codes, axis=0))
    for query in (codes[0], _codes(generator, 1, bits, None)[0]):
        packed = to_bytes(query, bits)
        expected = _expected(codes, query, count, alive)
        bounds = (0, UNLIMITED) if bits <= 16 * 10 else (0,)
        for work in bounds:  # a scan of the distinct codes, then the tables
            found, _ = index.nearest(packed, k, row_filter, kernels()[0], work)
            assert found is not None
            pairs = list(zip(found[1].tolist(), found[0].tolist(), strict=True))
            assert pairs == expected[:k]
        near = index.within(packed, min(radius, bits), row_filter, 10**7)
        if near is not None:
            pairs = list(zip(near[1].tolist(), near[0].tolist(), strict=True))
            assert pairs == [pair for pair in expected if pair[0] <= radius]


@compiled
@pytest.mark.parametrize("spread", ["clustered", "uniform"])
def test_a_planner_with_an_index_returns_the_results_of_a_scan(spread: str) -> None:
    """Cover a tail of new codes behind the index, dead rows, groups and a small work limit."""
    generator = np.random.default_rng(4)
    codes = _codes(generator, 60_000, 64, None)
    if spread == "clustered":
        codes = np.repeat(codes[:3000], 20, axis=0)
        codes[:, 0] ^= np.uint64(1) << generator.integers(0, 64, 60_000).astype(np.uint64)
    rows = codes.view(np.uint8)
    planner = Planner(64, kernels()[0])
    planner._recent.extend((rows[at], 10) for at in range(0, 50_000, 5000))
    planner.build(rows[:50_000])
    if planner.index is None:  # not faster for so few codes; use one anyway
        planner._index, planner._work = MultiIndex(rows[:49_984], 64), 50
    dead = generator.random(60_000) < 0.3
    group = np.arange(60_000, dtype=np.uint32) % 100
    wanted = np.packbits(np.arange(100) < 30, bitorder="little")
    for row_filter, passing in (
        (ALL, None),
        (rows_where(~dead), ~dead),
        (RowFilter(None, group, wanted), group < 30),
    ):
        for at in (3, 777, 49_990, 55_000):
            expected = _expected(codes, codes[at], 60_000, passing)
            for k in (1, 10, 300):
                found, distances = planner.nearest(rows, rows[at], k, row_filter)
                pairs = list(zip(distances.tolist(), found.tolist(), strict=True))
                assert pairs == expected[:k]
            found, distances = planner.within(rows, rows[at], 9, row_filter)
            pairs = list(zip(distances.tolist(), found.tolist(), strict=True))
            assert pairs == [pair for pair in expected if pair[0] <= 9]


@compiled
def test_an_index_search_that_fails_late_halves_the_work_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = _codes(np.random.default_rng(4), 64_000, 128, None).view(np.uint8)
    planner = Planner(128, kernels()[0])
    planner._index, planner._work = MultiIndex(rows, 128), 64
    unlike = ~rows[0]
    moments_ns = iter([0, 50, 150, 1000, 1010, 1110])  # 0.5x a scan's time, then 0.1x
    monkeypatch.setattr("edge_runtime.lookup.planner.perf_counter_ns", moments_ns.__next__)
    expected = Lookup(rows.view(np.uint64), 128, index=False).nearest(unlike.view(np.uint64), 10)
    for work in (32, 32):
        for found, wanted in zip(planner.nearest(rows, unlike, 10, ALL), expected, strict=True):
            assert (found == wanted).all()
        assert planner._work == work


@compiled
def test_an_index_is_built_after_enough_scans_and_used_if_faster(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edge_runtime.lookup.INDEX_FROM", 1)
    generator = np.random.default_rng(4)
    centers = _codes(generator, 500, 64, None)
    codes = np.repeat(centers, 600, axis=0)
    lookup = Lookup(codes, 64)
    query = codes[1234]
    expected = lookup.nearest(query, 10)
    while lookup.planner._builder is None and lookup.planner.index is None:
        lookup.nearest(query, 10)
    builder = lookup.planner._builder
    if builder is not None:
        builder.join()
    assert lookup.planner.index is not None
    assert lookup.planner.index.distinct == 500
    for found, wanted in zip(lookup.nearest(query, 10), expected, strict=True):
        assert (found == wanted).all()
    wider = lookup.extended(codes[:1])
    assert wider.nearest(codes[0], 700)[0].tolist()[:601] == [*range(600), 300_000]


@compiled
def test_an_index_that_exceeds_the_memory_is_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_runtime.lookup.planner.MAX_MEMORY", 0.0)
    planner = Planner(64, kernels()[0])
    planner.build(np.zeros((1000, 8), np.uint8))
    assert planner.index is None


def test_codes_too_wide_for_the_compiled_kernels_use_numpy() -> None:
    codes = _codes(np.random.default_rng(2), 100, 512, None)
    lookup = Lookup(codes, 512)
    assert lookup.kernel == "numpy"
    _check(lookup, codes, codes[:3], 5, None)


def test_invalid_input_is_rejected() -> None:
    lookup = Lookup(np.zeros((3, 1), np.uint64), 64)
    query = np.zeros(1, np.uint64)
    with pytest.raises(InputError, match="k must be 0 or more, got -1"):
        lookup.nearest(query, -1)
    with pytest.raises(CodeError, match="codes of 64 bits"):
        lookup.nearest(np.zeros(2, np.uint64), 1)
    with pytest.raises(CodeError, match="int64"):
        lookup.nearest(np.zeros(1, np.int64), 1)
    with pytest.raises(InputError, match="radius must be between 0 and 64, got 65"):
        lookup.within(query, 65)
    with pytest.raises(InputError, match=r"turbo: this machine does not support .*numpy"):
        Lookup(np.zeros((3, 1), np.uint64), 64, kernel="turbo")


def test_without_the_compiled_module_the_results_are_the_same() -> None:
    """The package may be installed without a C compiler."""
    script = (
        "import sys; sys.modules['edge_runtime._hamming'] = None\n"
        "import numpy as np\n"
        "from edge_runtime.lookup import Lookup, kernels\n"
        "assert kernels() == ['numpy'], kernels()\n"
        "codes = np.arange(50, dtype=np.uint64)[:, None]\n"
        "print(*Lookup(codes, 64).nearest(codes[7], 4)[0])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    codes = np.arange(50, dtype=np.uint64)[:, None]
    assert done.stdout.split() == list(map(str, Lookup(codes, 64).nearest(codes[7], 4)[0]))
