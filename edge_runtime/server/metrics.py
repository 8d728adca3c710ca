"""Prometheus metrics of the server, read at each scrape."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edge_runtime import __version__
from edge_runtime.server.worker import Worker
from edge_runtime.system.memory import peak_rss_bytes


class Metrics:
    """The content of `/metrics`."""

    def __init__(self, worker: Worker) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Reader(worker))

    def text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self._registry)


class _Reader(Collector):
    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def collect(self) -> Iterable[Metric]:
        work = self._worker.work
        content = work.content
        info = GaugeMetricFamily(
            "edge_server_info",
            "Version of the program, and of what is searched.",
            labels=["version", "content", "model"],
        )
        if content is not None:
            info.add_metric([__version__, content.version, content.model_id[:12]], 1)
        yield info
        for what, text, value in (
            ("queries", "Codes that were looked up.", work.queries),
            ("searches", "Passes over the codes; each answers one or more queries.", work.searches),
            ("failed", "Queries that ended in an error.", work.failed),
            ("refused", "Queries for which the queue had no room.", work.refused),
            ("search_seconds", "Time spent searching.", work.seconds),
        ):
            yield CounterMetricFamily(f"edge_server_{what}", text, value=value)
        for what, text, number in (
            ("waiting", "Queries that wait.", self._worker.waiting),
            ("codes", "Codes that are searched.", content.codes if content else 0),
            ("labels", "Labels that are searched.", content.labels if content else 0),
            ("failing", "1 if the last search failed.", int(bool(work.fault))),
            ("peak_memory_bytes", "Largest resident set size.", peak_rss_bytes()),
        ):
            yield GaugeMetricFamily(f"edge_server_{what}", text, value=number)
