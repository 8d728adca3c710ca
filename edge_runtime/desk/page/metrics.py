"""Prometheus metrics of a desk and its fleet, read at each scrape."""

from __future__ import annotations

import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edge_runtime.desk.boards import boards_of
from edge_runtime.desk.run import Running

MOST_BOARDS = 5000
"""Boards with time series of their own."""


class Metrics:
    """The content of `/metrics`."""

    def __init__(self, running: Running) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Reader(running))

    def text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self._registry)


class _Reader(Collector):
    def __init__(self, running: Running) -> None:
        self._running = running

    def collect(self) -> Iterable[Metric]:
        work, desk, line = self._running.work, self._running.desk, self._running.line
        repository = desk.repository()
        counts = desk.store.count_proposals()
        for what, text, value in (
            ("version", "The version that boards see.", self._running.version),
            ("pending_proposals", "Proposals that wait for a decision.", counts["pending"]),
            ("broker_connected", "1 if the broker is connected.", bool(line and line.connected)),
            ("faults", "Steps that fail now.", len(work.faults)),
            (
                "root_expires_seconds",
                "When the root expires, in seconds since 1970.",
                repository.root.signed.expires.timestamp(),
            ),
            (
                "timestamp_expires_seconds",
                "When the timestamp expires, in seconds since 1970.",
                repository.timestamp.signed.expires.timestamp(),
            ),
        ):
            yield GaugeMetricFamily(f"edge_desk_{what}", text, value=float(value))
        taken = CounterMetricFamily(
            "edge_desk_proposals", "Proposals by what became of them.", labels=["fate"]
        )
        for fate in ("new", "known", "again", "refused"):
            taken.add_metric([fate], getattr(work, fate))
        yield taken
        yield from self._boards()

    def _boards(self) -> Iterable[Metric]:
        boards = boards_of(self._running.desk.store)
        yield GaugeMetricFamily(
            "edge_fleet_boards", "Boards that ever reported.", value=len(boards)
        )
        now = time.time()
        for what, text, values in (
            ("version", "Version of the board.", [b.version for b in boards]),
            ("versions_behind", "Versions that the board lacks.", [b.behind for b in boards]),
            ("seen_seconds", "Seconds since its last report.", [now - b.last_seen for b in boards]),
            ("pending", "Enrollments without a decision.", [b.pending for b in boards]),
            ("complaints", "Corrections by people.", [b.complaints for b in boards]),
            ("failing", "1 if it reports an error.", [bool(b.error) for b in boards]),
        ):
            gauge = GaugeMetricFamily(f"edge_fleet_board_{what}", text, labels=["board"])
            for board, value in list(zip(boards, values, strict=True))[:MOST_BOARDS]:
                gauge.add_metric([board.name], float(value))
            yield gauge
