"""Every kernel that runs here, at every width, against a full stable sort."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.code import Code, hamming, words_of
from edge_runtime.errors import CodeError, InputError
from edge_runtime.lookup import Lookup, kernels
from edge_runtime.lookup.by_numpy import BLOCK

WIDTHS = (1, 8, 13, 16, 24, 32, 48, 63, 64, 65, 96, 128, 200, 256)


def _codes(generator: np.random.Generator, count: int, bits: int, flips: int | None) -> Code:
    """Uniform codes, or (with `flips`) a few centres with up to that many bits changed: ties."""
    rows = generator.integers(0, 2, (count, bits)).astype(np.uint8)
    if flips is not None:
        centres = generator.integers(0, 2, (3, bits)).astype(np.uint8)
        rows = centres[generator.integers(0, 3, count)]
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
    rows, distances = lookup.nearest_batch(queries, k, alive)
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
def test_against_a_full_stable_sort(
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


@pytest.mark.parametrize("kernel", kernels())
def test_many_neighbours_and_more_than_one_block(kernel: str) -> None:
    generator = np.random.default_rng(1)
    codes = _codes(generator, BLOCK + 17, 64, 6)
    for k in (2048, 2049, len(codes)):
        _check(Lookup(codes, 64, kernel=kernel), codes, codes[[5, BLOCK + 3]], k, None)


@pytest.mark.skipif(kernels() == ["numpy"], reason="installed without a compiler")
@settings(max_examples=100, deadline=None)
@given(
    bits=st.sampled_from((16, 32, 48, 64, 128)),
    count=st.integers(1, 400),
    bits_a_part=st.integers(4, 10),
    k=st.integers(0, 40),
    flips=st.none() | st.integers(0, 3),
    dead=st.none() | st.floats(0, 0.9),
    seed=st.integers(0, 2**32),
)
def test_the_multi_index_against_a_full_stable_sort(
    bits: int,
    count: int,
    bits_a_part: int,
    k: int,
    flips: int | None,
    dead: float | None,
    seed: int,
) -> None:
    from edge_runtime.lookup.multi_index import MOST_PARTS, MultiIndex

    generator = np.random.default_rng(seed)
    codes = _codes(generator, count, bits, flips)
    alive = None if dead is None else generator.random(count) >= dead
    k = min(k, count if alive is None else int(alive.sum()))
    index = MultiIndex(codes, bits, min(-(-bits // bits_a_part), MOST_PARTS))
    assert sum(index.widths) == bits
    mask = None if alive is None else np.packbits(alive, bitorder="little")
    for query in (codes[0], _codes(generator, 1, bits, None)[0]):
        found = index.nearest(query, k, mask, work=10**9)
        assert found is not None
        pairs = list(zip(found[1].tolist(), found[0].tolist(), strict=True))
        assert pairs == _expected(codes, query, k, alive)


@pytest.mark.skipif(kernels() == ["numpy"], reason="installed without a compiler")
def test_a_lookup_with_an_index_gives_the_scans_answers() -> None:
    """Clustered codes, which the index answers, and uniform ones, where it gives up."""
    generator = np.random.default_rng(4)
    uniform = _codes(generator, 60_000, 64, None)
    clustered = np.repeat(uniform[:3000], 20, axis=0)
    clustered[:, 0] ^= np.uint64(1) << generator.integers(0, 64, 60_000).astype(np.uint64)
    for codes, answers in ((clustered, True), (uniform, False)):
        indexed, plain = Lookup(codes, 64, index=True), Lookup(codes, 64)
        assert indexed._index is not None
        for query in codes[:20]:
            assert (indexed._index.nearest(query, 10) is not None) == answers
            for found, expected in zip(
                indexed.nearest(query, 10), plain.nearest(query, 10), strict=True
            ):
                assert (found == expected).all()


def test_codes_wider_than_the_compiled_kernels_fall_back() -> None:
    codes = _codes(np.random.default_rng(2), 100, 512, None)
    lookup = Lookup(codes, 512)
    assert lookup.kernel == "numpy"
    _check(lookup, codes, codes[:3], 5, None)


def test_bad_input() -> None:
    lookup = Lookup(np.zeros((3, 1), np.uint64), 64)
    query = np.zeros(1, np.uint64)
    with pytest.raises(InputError, match="k is -1"):
        lookup.nearest(query, -1)
    with pytest.raises(CodeError, match="the codes have 64 bits"):
        lookup.nearest(np.zeros(2, np.uint64), 1)
    with pytest.raises(CodeError, match="int64"):
        lookup.nearest(np.zeros(1, np.int64), 1)
    with pytest.raises(InputError, match=r"expected bool \[n\]"):
        lookup.nearest(query, 1, np.ones(4, np.bool_))
    with pytest.raises(InputError, match=r"turbo: no such lookup kernel here .*numpy"):
        Lookup(np.zeros((3, 1), np.uint64), 64, kernel="turbo")


def test_without_the_compiled_part_the_answers_are_the_same() -> None:
    """As installed where there is no C compiler."""
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
