"""Prometheus metrics: histograms of stage times, and counters read at each scrape."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from edge_runtime import __version__
from edge_runtime.camera.recovery import State
from edge_runtime.daemon.service import Service
from edge_runtime.daemon.status import status
from edge_runtime.daemon.watcher import Observation
from edge_runtime.types import Event

if TYPE_CHECKING:
    from edge_runtime.history.archive import Archive

BUCKETS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Upper bounds in seconds."""
_BUCKETS_MS = tuple(1e3 * bound for bound in BUCKETS)

MOST_LABELS = 200
"""Labels that are counted by name. Each costs time series in the database of Prometheus."""
OTHER = "other"
"""Counts the rest."""


class _StageTimes:
    """Times of one stage. Counted on the daemon's thread for every frame, so it must be cheap."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        """By bucket; the last one has no upper bound."""
        self.total_ms = 0.0


class Metrics:
    """The content of `/metrics`."""

    def __init__(self, service: Service, history: Archive | None = None) -> None:
        self._registry = CollectorRegistry()
        self._stages: dict[str, _StageTimes] = {}
        self._events = Counter(
            "edge_label_events",
            f"Times a label came into view; after {MOST_LABELS} labels the rest is {OTHER}.",
            ["label", "camera", "region"],
            registry=self._registry,
        )
        self._labels: set[str] = set()
        self._registry.register(_Reader(service, history, self._stages))

    def observe(self, observation: Observation) -> None:
        """Record the stage times of a result. Called on the daemon's thread."""
        stages = self._stages
        for stage, ms in observation.result.stage_ms.items():
            times = stages.get(stage)
            if times is None:
                times = stages[stage] = _StageTimes()
            times.counts[bisect_left(_BUCKETS_MS, ms)] += 1
            times.total_ms += ms

    def listen(self, event: Event) -> None:
        """Count an event. Called on the daemon's thread."""
        if event.kind != "enter":
            return
        if len(self._labels) < MOST_LABELS:
            self._labels.add(event.label)
        label = event.label if event.label in self._labels else OTHER
        self._events.labels(label, event.camera, event.region or "").inc()

    def text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self._registry)


class _Reader(Collector):
    """Reads the daemon's counters at each scrape."""

    def __init__(
        self, service: Service, history: Archive | None, stages: dict[str, _StageTimes]
    ) -> None:
        self._service = service
        self._history = history
        self._stages = stages

    def collect(self) -> Iterable[Metric]:
        now = status(self._service)
        info = GaugeMetricFamily(
            "edge_info", "Version, engine and model.", labels=["version", "engine", "model"]
        )
        info.add_metric([__version__, now["engine"]["name"], now["model"]["id"][:12]], 1)
        yield info
        yield _histogram(self._stages)
        yield from _cameras(now["cameras"])
        for what, text, value in (
            ("frames", "Processed frames.", now["frames"]),
            ("faults", "Frames that could not be processed.", now["faults"]),
            ("events", "Events: labels that came into view or left it.", now["events"]),
        ):
            yield CounterMetricFamily(f"edge_{what}", text, value=value)
        for what, text, value in (
            ("ready", "1 if frames are being recognized.", float(now["ready"])),
            (
                "frame_age_seconds",
                "Seconds since the latest frame was captured.",
                now["frame_age_s"],
            ),
            ("uptime_seconds", "Seconds since the daemon started.", now["uptime_s"]),
            ("resident_memory_bytes", "Resident set size.", now["rss_bytes"]),
            (
                "temperature_celsius",
                "Temperature of the hottest thermal zone.",
                now["board"]["temperature_c"],
            ),
            (
                "slow",
                "1 if the frame rate is reduced because the device is hot or throttled.",
                float(now["board"]["slow"]),
            ),
            (
                "gallery_items",
                "Enrolled codes; a picture has one per view.",
                now["gallery"]["codes"],
            ),
            ("gallery_labels", "Enrolled labels.", now["gallery"]["labels"]),
            (
                "gallery_generation",
                "Committed changes of the gallery.",
                now["gallery"]["generation"],
            ),
        ):
            if value is not None:
                yield GaugeMetricFamily(f"edge_{what}", text, value=value)
        if now["board"]["throttling"] is not None:
            throttled = float(bool(now["board"]["throttling"]))
            yield GaugeMetricFamily(
                "edge_throttled", "1 if the firmware throttles the CPU.", throttled
            )
        yield from _sinks(now["sinks"])
        if now["fleet"] is not None:
            yield from _fleet(now["fleet"])
        if self._history is not None:
            yield from _history(self._history)
        restarts = CounterMetricFamily(
            "edge_thread_restarts", "Restarts of a helper thread that failed.", labels=["thread"]
        )
        for name, thread in now["threads"].items():
            restarts.add_metric([name], thread["restarts"])
        yield restarts


def _histogram(stages: dict[str, _StageTimes]) -> Metric:
    histogram = HistogramMetricFamily(
        "edge_stage_seconds",
        "Duration of each stage; end_to_end is from capture to events.",
        labels=["stage"],
    )
    bounds = [*map(str, BUCKETS), "+Inf"]
    for stage, times in stages.copy().items():
        counts = list(accumulate(times.counts))
        histogram.add_metric([stage], list(zip(bounds, counts, strict=True)), times.total_ms / 1e3)
    return histogram


def _cameras(cameras: list[dict[str, Any]]) -> Iterable[Metric]:
    state = GaugeMetricFamily(
        "edge_camera_state", "1 for the current state of the camera.", labels=["camera", "state"]
    )
    for camera in cameras:
        for name in State:
            state.add_metric([camera["name"], name], float(camera["state"] == name))
    yield state
    for what, text, key in (
        ("frames_dropped", "Frames dropped because the daemon was busy.", "dropped"),
        ("frames_damaged", "Frames that could not be decoded.", "damaged"),
        ("frames_skipped", "Frames skipped to keep the configured rate.", "skipped"),
        ("camera_restarts", "Times the camera was reopened.", "restarts"),
    ):
        counter = CounterMetricFamily(f"edge_{what}", text, labels=["camera"])
        for camera in cameras:
            counter.add_metric([camera["name"]], camera[key])
        yield counter
    hung = GaugeMetricFamily(
        "edge_camera_hung", "Calls that hang in the camera driver.", labels=["camera"]
    )
    for camera in cameras:
        hung.add_metric([camera["name"]], camera["hung"])
    yield hung
    for what, text, key in (
        ("frames_hashed", "Frames hashed by the network.", "hashed"),
        ("frames_unchanged", "Frames not hashed, since the scene had not changed.", "unchanged"),
    ):
        counter = CounterMetricFamily(f"edge_{what}", text, labels=["camera", "region"])
        for camera in cameras:
            for region in camera["regions"]:
                counter.add_metric([camera["name"], region["name"] or ""], region["gate"][key])
        yield counter


def _history(history: Archive) -> Iterable[Metric]:
    counts = history.counts()
    for what, text, value in (
        ("events", "Events in the history.", counts.events),
        ("bytes", "Size of the history's content.", counts.bytes),
        ("failing", "1 if nothing can be stored now.", float(bool(history.fault))),
    ):
        yield GaugeMetricFamily(f"edge_history_{what}", text, value=value)
    for what, text, value in (
        ("stored", "Events stored since the start.", counts.stored),
        ("dropped", "Events that could not be stored.", counts.dropped),
    ):
        yield CounterMetricFamily(f"edge_history_{what}", text, value=value)


def _fleet(fleet: dict[str, Any]) -> Iterable[Metric]:
    for what, text, value in (
        ("version", "The fleet's signed version that was applied last.", fleet["version"]),
        ("newest_version", "The newest signed version that this board knows.", fleet["newest"]),
        ("pending", "Pictures that this board proposes.", fleet["pending"]),
        ("ready", "1 if the last look for a version succeeded.", float(fleet["ready"])),
    ):
        if value is not None:
            yield GaugeMetricFamily(f"edge_fleet_{what}", text, value=value)


def _sinks(sinks: dict[str, dict[str, Any]]) -> Iterable[Metric]:
    events = CounterMetricFamily("edge_sink_events", "Events by outcome.", labels=["sink", "fate"])
    waiting = GaugeMetricFamily(
        "edge_sink_waiting", "Events waiting in the queue.", labels=["sink"]
    )
    for name, counts in sinks.items():
        for fate in ("delivered", "dropped", "failed"):
            events.add_metric([name, fate], counts[fate])
        waiting.add_metric([name], counts["waiting"])
    yield events
    yield waiting
