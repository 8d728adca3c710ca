"""Prometheus metrics: stage times as histograms, everything else read when it is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edge_runtime import __version__
from edge_runtime.camera.recovery import State
from edge_runtime.daemon.service import Service
from edge_runtime.daemon.status import status
from edge_runtime.types import Frame, QueryResult, Recognition

BUCKETS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Seconds."""


class Metrics:
    """What `/metrics` answers with."""

    def __init__(self, service: Service) -> None:
        self._registry = CollectorRegistry()
        self._histogram = Histogram(
            "edge_stage_seconds",
            "Time of each stage of the path, and of all of it from capture to events (end_to_end).",
            ["stage"],
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._stages: dict[str, Any] = {}
        self._registry.register(_Reader(service))

    def see(self, _frame: Frame, result: QueryResult, _held: Recognition | None) -> None:
        """Called on the path's thread after each frame."""
        for stage, ms in result.stage_ms.items():
            histogram = self._stages.get(stage)
            if histogram is None:
                histogram = self._stages[stage] = self._histogram.labels(stage)
            histogram.observe(ms / 1e3)

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self._registry)


class _Reader(Collector):
    """Reads the daemon's own counters at each scrape."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterable[Metric]:
        now = status(self._service)
        info = GaugeMetricFamily(
            "edge_info", "What runs here.", labels=["version", "engine", "model"]
        )
        info.add_metric([__version__, now["engine"]["name"], now["model"]["id"][:12]], 1)
        yield info
        state = GaugeMetricFamily(
            "edge_camera_state", "1 for the state it is in.", labels=["state"]
        )
        for name in State:
            state.add_metric([name], float(now["camera"]["state"] == name))
        yield state
        for what, text, value in (
            ("frames", "Frames that went along the path.", now["frames"]),
            ("faults", "Frames that could not be judged.", now["faults"]),
            ("events", "Labels that came or left.", now["events"]),
            ("frames_dropped", "Frames that nobody took in time.", now["camera"]["dropped"]),
            ("frames_damaged", "Frames that could not be decoded.", now["camera"]["damaged"]),
            ("frames_skipped", "Frames passed over to keep the rate.", now["camera"]["skipped"]),
            ("frames_hashed", "Frames that the network saw.", now["gate"]["hashed"]),
            ("frames_unchanged", "Frames that needed no network.", now["gate"]["unchanged"]),
            (
                "camera_restarts",
                "Times the camera was opened anew.",
                now["camera"]["restarts"],
            ),
        ):
            yield CounterMetricFamily(f"edge_{what}", text, value=value)
        for what, text, value in (
            ("ready", "1 if recognitions are being made.", float(now["ready"])),
            ("frame_age_seconds", "Since the newest frame was captured.", now["frame_age_s"]),
            ("uptime_seconds", "Since the daemon started.", now["uptime_s"]),
            ("resident_memory_bytes", "Resident set size.", now["rss_bytes"]),
            ("temperature_celsius", "The hottest thermal zone.", now["board"]["temperature_c"]),
            ("slow", "1 if the pace is reduced: hot or throttled.", float(now["board"]["slow"])),
            ("gallery_items", "Enrolled codes.", now["gallery"]["codes"]),
            ("gallery_labels", "Enrolled labels.", now["gallery"]["labels"]),
            ("gallery_generation", "Committed changes.", now["gallery"]["generation"]),
            ("camera_hung", "Calls that hang in its driver.", now["camera"]["hung"]),
        ):
            if value is not None:
                yield GaugeMetricFamily(f"edge_{what}", text, value=value)
        if now["board"]["throttling"] is not None:
            throttled = float(bool(now["board"]["throttling"]))
            yield GaugeMetricFamily("edge_throttled", "1 if the firmware holds back.", throttled)
        yield from _sinks(now["sinks"])


def _sinks(sinks: dict[str, dict[str, Any]]) -> Iterable[Metric]:
    events = CounterMetricFamily(
        "edge_sink_events", "Events by what became of them.", labels=["sink", "fate"]
    )
    waiting = GaugeMetricFamily("edge_sink_waiting", "Events in the queue.", labels=["sink"])
    for name, counts in sinks.items():
        for fate in ("delivered", "dropped", "failed"):
            events.add_metric([name, fate], counts[fate])
        waiting.add_metric([name], counts["waiting"])
    yield events
    yield waiting
