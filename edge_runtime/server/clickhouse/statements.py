"""The tables, and the statements that search them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edge_runtime.code import Code, words_of
from edge_runtime.errors import InputError

MOST_WORDS = 4
"""Codes of at most 256 bits."""
VERSIONS = "edge_versions"
"""Table of each host: which codes are searched. A row is written when a load is complete."""
_FIELDS = "(stamp String, number UInt64, model_id String, bits UInt16, codes UInt64, labels UInt64)"
_MASKS = (0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F, 0x0101010101010101)


def codes_table(stamp: str) -> str:
    """Return the name of the table over all shards that the load `stamp` fills."""
    return f"edge_codes_{stamp}"


def create_versions() -> str:
    """Return the statement that makes the table of versions on a host."""
    return f"CREATE TABLE IF NOT EXISTS {VERSIONS} {_FIELDS} ENGINE = TinyLog"


def create_local(stamp: str, bits: int, engine: str) -> str:
    """Return the statement that makes one shard's table on a host."""
    if words_of(bits) > MOST_WORDS:
        raise InputError(f"codes of {bits} bits cannot be stored, at most {64 * MOST_WORDS}")
    words = ", ".join(f"code{number} UInt64" for number in range(words_of(bits)))
    return (
        f"CREATE TABLE {codes_table(stamp)}_local (id UInt64, picture UInt64, {words}, "
        "label String, latitude Float64, longitude Float64, heading Float64) "
        f"ENGINE = {engine} ORDER BY id"
    )


def create_distributed(stamp: str, cluster: str) -> str:
    """Return the statement that makes the table over all shards on a host.

    All codes of a picture are on one shard.
    """
    name = codes_table(stamp)
    return (
        f"CREATE TABLE {name} AS {name}_local "
        f"ENGINE = Distributed({cluster}, currentDatabase(), {name}_local, intHash64(picture))"
    )


def popcount(term: str, *, has_bit_count: bool) -> str:
    """Return SQL for the number of ones in `term`, a UInt64."""
    if has_bit_count:
        return f"bitCount({term})"
    m1, m2, m4, h01 = (f"toUInt64({mask})" for mask in _MASKS)
    # The sums of 1, 2, 4 bits side by side; the product adds the bytes up in the highest one.
    a = f"({term} - bitAnd(bitShiftRight({term}, 1), {m1}))"
    b = f"(bitAnd({a}, {m2}) + bitAnd(bitShiftRight({a}, 2), {m2}))"
    c = f"bitAnd({b} + bitShiftRight({b}, 4), {m4})"
    return f"bitShiftRight(toUInt64({c}) * {h01}, 56)"


def distance(code: Code, *, has_bit_count: bool) -> str:
    """Return SQL for the Hamming distance between a row and `code` (uint64 [W])."""
    terms = (
        popcount(f"toUInt64(bitXor(code{i}, toUInt64({int(word)})))", has_bit_count=has_bit_count)
        for i, word in enumerate(code)
    )
    return " + ".join(f"toUInt16({term})" for term in terms)


def nearest(
    stamp: str,
    queries: Iterable[tuple[int, Code]],
    take: int,
    radius: int,
    *,
    has_bit_count: bool,
    where: str = "",
) -> str:
    """Return a SELECT of (query, distance, id, picture): the `take` nearest rows of each query.

    Sorted by distance, then by id; each shard sends at most `take` rows of each query. The bound is
    a PREWHERE, so that only the codes are read where nothing is within `radius`.
    """
    parts = []
    for number, code in queries:
        bits = distance(code, has_bit_count=has_bit_count)
        bound = f"({bits}) <= {radius}"
        parts.append(
            f"SELECT toUInt32({number}) AS query, toUInt16({bits}) AS distance, id, picture "
            f"FROM {codes_table(stamp)} PREWHERE {bound} {f'WHERE {where} ' if where else ''}"
            f"ORDER BY distance, id LIMIT {take}"
        )
    if len(parts) == 1:
        return parts[0]
    return " UNION ALL ".join(f"SELECT * FROM ({part})" for part in parts)


def details(stamp: str, ids: Sequence[int]) -> str:
    """Return a SELECT of (id, label, latitude, longitude, heading) of these rows."""
    listed = ", ".join(map(str, ids))
    return (
        f"SELECT id, label, latitude, longitude, heading FROM {codes_table(stamp)} "
        f"WHERE id IN ({listed})"
    )
