"""The codes of a ClickHouse cluster as those of a server: exact and complete, or an error."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge_runtime.errors import GalleryNotFoundError
from edge_runtime.gallery.query import VIEWS, first_of_each
from edge_runtime.position import EARTH_RADIUS_M, QueryPosition, ground_distance_m
from edge_runtime.remote.http import RemoteError
from edge_runtime.server.clickhouse import statements
from edge_runtime.server.clickhouse.client import Address, ClickHouse
from edge_runtime.server.codes import Answer, Content, Query, Scope
from edge_runtime.types import Match

REFRESH_S = 1.0
"""Age at which the version is read again."""
COUNT_S = 60.0
"""Age at which the codes are counted again."""
TOGETHER = 16
"""Queries in one statement."""
IDS_TOGETHER = 5000


@dataclass(frozen=True)
class _Loaded:
    number: int
    stamp: str
    content: Content


@dataclass(frozen=True)
class _Row:
    distance: int
    id: int
    picture: int


@dataclass(frozen=True)
class _Details:
    label: str
    position: tuple[float, float, float]
    """Latitude, longitude and heading; NaN if unknown."""


class ClickHouseCodes:
    """Searches what `edge-runtime serve load` has loaded."""

    def __init__(self, address: Address, server: ClickHouse | None = None) -> None:
        """Read the version and count the codes; raises `RemoteError` or `GalleryNotFoundError`.

        `server` sends the statements; by default over HTTP.
        """
        self.where = str(address)
        self._server = server or ClickHouse(address)
        self._loaded: _Loaded | None = None
        self._read_s = self._counted_s = 0.0
        self._count(self._latest())

    def content(self) -> Content:
        """See `Codes`. Asks every shard, and now and then counts the codes."""
        loaded = self._latest()
        if not self._count_if_due(loaded):
            table = statements.codes_table(loaded.stamp)
            self._server.rows(f"SELECT count() FROM {table} WHERE id = 0")  # by the primary key
        return loaded.content

    def near(self, queries: Sequence[Query]) -> tuple[Content, list[Answer]]:
        """See `Codes`. Features are not used."""
        loaded = self._latest()
        self._count_if_due(loaded)
        answers: dict[int, Answer] = {}
        together: dict[Scope, list[int]] = {}
        for number, query in enumerate(queries):
            together.setdefault(query.scope, []).append(number)
        for scope, numbers in together.items():
            for part in _parts(numbers, TOGETHER):
                answers.update(self._search(loaded, scope, {n: queries[n] for n in part}))
        return loaded.content, [answers[number] for number in range(len(queries))]

    def close(self) -> None:
        """See `Codes`."""

    def _latest(self) -> _Loaded:
        """Return the latest version; it never goes back."""
        now_s = time.monotonic()
        if self._loaded is not None and now_s - self._read_s < REFRESH_S:
            return self._loaded
        loaded = read_version(self._server)
        if loaded is None:
            raise GalleryNotFoundError(
                "nothing has been loaded",
                where=self.where,
                remedy="load a gallery: edge-runtime serve load GALLERY URL",
            )
        before = self._loaded
        if before is not None and loaded.number < before.number:
            raise RemoteError(
                f"this host has version {loaded.number} of the codes, after {before.number}",
                where=self.where,
                remedy="load the gallery again",
            )
        if before is None or before.stamp != loaded.stamp:
            self._counted_s = 0.0
        self._loaded, self._read_s = loaded, now_s
        return loaded

    def _count_if_due(self, loaded: _Loaded) -> bool:
        """Count the codes if that was long ago, and return whether they were counted."""
        if time.monotonic() - self._counted_s <= COUNT_S and self._counted_s:
            return False
        self._count(loaded)
        return True

    def _count(self, loaded: _Loaded) -> None:
        self._server.check()
        table = statements.codes_table(loaded.stamp)
        count = int(self._server.rows(f"SELECT count() FROM {table}")[0][0])
        if count != loaded.content.codes:
            raise RemoteError(
                f"{count} of {loaded.content.codes} codes are there",
                where=self.where,
                remedy="load the gallery again",
            )
        self._counted_s = time.monotonic()

    def _search(
        self, loaded: _Loaded, scope: Scope, queries: dict[int, Query]
    ) -> Iterator[tuple[int, Answer]]:
        """Yield the answer of each query, asking for more rows where these do not decide."""
        bits = loaded.content.bits
        radius = bits if scope.radius is None else scope.radius
        take = VIEWS * scope.k * (1 if scope.near is None else 4)
        while queries:
            statement = statements.nearest(
                loaded.stamp,
                ((number, query.code) for number, query in queries.items()),
                take,
                radius,
                has_bit_count=self._server.has_bit_count,
                where=_band(scope.near),
            )
            found: dict[int, list[_Row]] = {number: [] for number in queries}
            for number, distance, row_id, picture in self._server.rows(statement):
                found[int(number)].append(_Row(int(distance), int(row_id), int(picture)))
            for rows in found.values():
                rows.sort(key=lambda row: (row.distance, row.id))
            details = self._details(
                loaded,
                {row.id for rows in found.values() for row in _first_rows(rows, scope)},
            )
            for number, rows in found.items():
                matches = _best(rows, details, scope, complete=len(rows) < take)
                if matches is not None:
                    del queries[number]
                    yield number, Answer(matches)
            take *= 4

    def _details(self, loaded: _Loaded, ids: set[int]) -> dict[int, _Details]:
        found = {}
        for part in _parts(sorted(ids), IDS_TOGETHER):
            for row in self._server.rows(statements.details(loaded.stamp, part)):
                values = [float("nan") if value is None else float(value) for value in row[2:]]
                found[int(row[0])] = _Details(row[1], (values[0], values[1], values[2]))
        if len(found) != len(ids):
            raise RemoteError("codes have vanished during a search", where=self.where)
        return found


def read_version(server: ClickHouse) -> _Loaded | None:
    """Return the latest version that a host of `server` has; None before the first load."""
    exists = "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = "
    if server.rows(f"{exists}'{statements.VERSIONS}'")[0][0] in (0, "0"):
        return None
    rows = server.rows(
        f"SELECT number, stamp, model_id, bits, codes, labels FROM {statements.VERSIONS} "
        "ORDER BY number DESC LIMIT 1"
    )
    if not rows:
        return None
    number, stamp, model_id, bits, codes, labels = rows[0]
    content = Content(f"{number}-{stamp}", model_id, int(bits), int(codes), int(labels))
    return _Loaded(int(number), stamp, content)


def _parts(numbers: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]


def _band(near: QueryPosition | None) -> str:
    """Return a condition that holds for every row that `near` reaches, or ""."""
    if near is None or near.within_m is None:
        return ""
    degrees = np.degrees(near.within_m / EARTH_RADIUS_M) + 1e-6
    north = f"abs(latitude - ({near.position.latitude!r}))"
    return f"(isNaN(latitude) OR {north} <= {float(degrees)!r})"


def _first_rows(rows: list[_Row], scope: Scope) -> list[_Row]:
    """Return the rows whose details are needed: with a position all, else one per picture."""
    if scope.near is not None:
        return rows
    return [rows[i] for i in first_of_each(_pictures(rows))[: scope.k]]


def _pictures(rows: list[_Row]) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.array([row.picture for row in rows], np.int64)


def _best(
    rows: list[_Row], details: dict[int, _Details], scope: Scope, *, complete: bool
) -> tuple[Match, ...] | None:
    """Return the matches; None if rows that are not among these could belong to them.

    The same reasoning as in `edge_runtime.gallery.query`.
    """
    near, k = scope.near, scope.k
    if near is None:
        best = first_of_each(_pictures(rows))[:k]
        if len(best) < k and not complete:
            return None
        return tuple(_match(rows[i], details) for i in best)
    last = rows[-1].distance if rows else 0
    positions = np.array([details[row.id].position for row in rows]).reshape(-1, 3)
    if near.within_m is not None:
        reached = near.reaches(positions)
        rows = [row for row, kept in zip(rows, reached, strict=True) if kept]
        positions = positions[reached]
    penalties = near.penalties(positions)
    scores = penalties + np.array([row.distance for row in rows], np.float64)
    order = np.lexsort((np.array([row.id for row in rows], np.int64), scores))
    chosen = order[first_of_each(_pictures([rows[i] for i in order]))][:k]
    if not complete and (len(chosen) < k or scores[chosen[-1]] >= last):
        return None
    away_m = ground_distance_m(near.position, positions[chosen]).tolist()
    return tuple(
        replace(
            _match(rows[i], details),
            penalty=float(penalties[i]),
            meters=None if meters != meters else meters,
        )
        for i, meters in zip(chosen.tolist(), away_m, strict=True)
    )


def _match(row: _Row, details: dict[int, _Details]) -> Match:
    return Match(row.id, details[row.id].label, row.distance)
