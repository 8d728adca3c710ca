"""The compiled functions check every size that they are given before they touch memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edge_runtime.lookup.compiled import hamming

pytestmark = pytest.mark.skipif(hamming is None, reason="built without a C compiler")

COUNT, BITS, QUERIES, NEAREST = 100, 64, 3, 5
HOSTILE = (-1, 0, 1, 2, 4, 99, 101, 2**31, 2**32 - 1, 2**32, 2**61, 2**62, 2**63, 2**64 - 1, 2**64)
"""Numbers that wrap around in a product, and neighbors of the right ones."""
REFUSED = (ValueError, OverflowError)


def _codes() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (COUNT, BITS // 8), np.uint8)


def _index() -> object:
    index = hamming.index_new(_codes(), COUNT, BITS)
    hamming.index_divide(index, 4, np.arange(BITS, dtype=np.uint16))
    return index


def _empty(dtype: str, *shape: int) -> np.ndarray:
    return np.empty(shape, dtype)


CALLS: dict[str, Callable[[], list[Any]]] = {
    "search": lambda: [
        *(_codes(), COUNT, BITS, _codes()[:QUERIES], QUERIES, NEAREST, None, None, None),
        *(_empty("i8", QUERIES, NEAREST), _empty("i8", QUERIES, NEAREST), _empty("u4", QUERIES)),
        "scalar",
    ],
    "rank": lambda: [
        *(_codes(), COUNT, BITS, _codes()[:QUERIES], QUERIES),
        *(_empty("u2", QUERIES, COUNT), "scalar"),
    ],
    "collect": lambda: [
        *(_codes(), COUNT, BITS, _codes()[0], BITS, None, None, None),
        *(_empty("u4", COUNT), _empty("u2", COUNT), "scalar"),
    ],
    "index_new": lambda: [_codes(), COUNT, BITS],
    "index_search": lambda: [
        *(_index(), COUNT, _codes()[0], NEAREST, None, None, None),
        *(_empty("i8", NEAREST), _empty("i8", NEAREST), 2**63, "scalar"),
    ],
    "index_collect": lambda: [
        *(_index(), COUNT, _codes()[0], BITS, None, None, None),
        *(_empty("u4", COUNT), _empty("u2", COUNT), 2**63),
    ],
}
UNLIMITED = {("collect", 4), ("index_search", 9), ("index_collect", 3), ("index_collect", 9)}
"""Arguments for which every number of 64 bits is right: limits of distance and of effort."""
SIZES = [
    (name, place)
    for name, arguments in (CALLS.items() if hamming is not None else ())
    for place, value in enumerate(arguments())
    if isinstance(value, int)
]


@pytest.mark.parametrize(("name", "place"), SIZES)
def test_a_wrong_size_is_refused(name: str, place: int) -> None:
    for value in HOSTILE:
        arguments = CALLS[name]()
        if value == arguments[place]:
            continue
        arguments[place] = value
        if (name, place) in UNLIMITED and 0 <= value < 2**64:
            getattr(hamming, name)(*arguments)
        else:
            with pytest.raises(REFUSED):
                getattr(hamming, name)(*arguments)


@pytest.mark.parametrize("name", CALLS)
def test_a_buffer_of_another_size_is_refused(name: str) -> None:
    room = {"collect": {8, 9}, "index_collect": {7, 8}}.get(name, set())
    for place, value in enumerate(CALLS[name]()):
        if not isinstance(value, np.ndarray) or place in room:
            continue
        for size in (0, value.nbytes - 1, value.nbytes + 1):
            arguments = CALLS[name]()
            arguments[place] = np.zeros(size, np.uint8)
            with pytest.raises(ValueError, match="bytes"):
                getattr(hamming, name)(*arguments)


@pytest.mark.parametrize("name", CALLS)
def test_what_is_no_plain_buffer_is_refused(name: str) -> None:
    for place, value in enumerate(CALLS[name]()):
        if not isinstance(value, np.ndarray):
            continue
        twice = np.concatenate([value, value])
        items = (*value.shape[:-1], value.shape[-1] * value.itemsize // 8)
        objects = np.empty(items, object)
        for wrong in (None, "text", 7, [1], object(), twice[::2], np.flip(value), objects):
            arguments = CALLS[name]()
            arguments[place] = wrong
            with pytest.raises((TypeError, ValueError)):
                getattr(hamming, name)(*arguments)


@pytest.mark.parametrize(
    ("name", "first"),
    [("search", 6), ("collect", 5), ("index_search", 4), ("index_collect", 4)],
)
def test_a_filter_of_another_size_is_refused(name: str, first: int) -> None:
    for alive, group in ((13, None), (12, None), (0, None), (None, 99), (None, 101)):
        arguments = CALLS[name]()
        wrong = alive not in (None, 13)
        if alive is not None:
            arguments[first] = np.full(alive, 255, np.uint8)
        if group is not None:
            wrong = True
            arguments[first + 1] = np.zeros(group, np.uint32)
            arguments[first + 2] = np.full(1, 255, np.uint8)
        if wrong:
            with pytest.raises(ValueError, match="bytes"):
                getattr(hamming, name)(*arguments)
        else:
            getattr(hamming, name)(*arguments)


def test_a_group_without_wanted_groups_does_not_pass() -> None:
    arguments = CALLS["search"]()
    arguments[7], arguments[8] = np.full(COUNT, 2**32 - 1, np.uint32), np.full(1, 255, np.uint8)
    hamming.search(*arguments)
    assert arguments[11].tolist() == [0] * QUERIES


def test_an_index_is_divided_once_and_by_bits_that_exist() -> None:
    index, order = hamming.index_new(_codes(), COUNT, BITS), np.arange(BITS, dtype=np.uint16)
    for parts in (0, 1, 2, 17, 65, 2**32, 2**64 - 1):
        with pytest.raises(ValueError, match="cannot divide"):
            hamming.index_divide(index, parts, order)
    with pytest.raises(ValueError, match="beyond"):
        hamming.index_divide(index, 4, order + 1)
    with pytest.raises(ValueError, match="not divided"):
        hamming.index_collect(index, *CALLS["index_collect"]()[1:])
    hamming.index_divide(index, 4, order)
    with pytest.raises(ValueError, match="already divided"):
        hamming.index_divide(index, 4, order)
