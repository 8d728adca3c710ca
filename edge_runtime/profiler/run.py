"""Profile the pipeline on this machine: time per stage, memory, and the verdict on the budget.

The daemon's own loop (`edge_runtime.daemon.Daemon`) is measured, with the stages that it records
anyway. Cold starts are measured in new processes.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import median

import cv2
from msgspec.structs import replace

from edge_runtime.camera.base import Source
from edge_runtime.daemon.watcher import Observation
from edge_runtime.engine import Engine
from edge_runtime.errors import EdgeRuntimeError, ReportError, StorageError
from edge_runtime.gallery import Gallery
from edge_runtime.image.change_gate import ChangeGate
from edge_runtime.image.preprocess import preprocess
from edge_runtime.profiler import metadata
from edge_runtime.profiler.cold_start import (
    Run,
    cold_start_medians,
    memory_summary,
    run_cold_start,
)
from edge_runtime.profiler.conditions import BoardMonitor, conditions, counters, flags_of
from edge_runtime.profiler.driver import Driver
from edge_runtime.profiler.operators import CALLS, operators
from edge_runtime.profiler.overhead import overhead
from edge_runtime.profiler.recorder import Recorder
from edge_runtime.recognition.pipeline import Pipeline
from edge_runtime.report.budget import figure, judge
from edge_runtime.report.schema import SCHEMA_VERSION, Conditions, Flag, Operators, Overhead, Report
from edge_runtime.report.setup import GalleryDetails, InputDetails, ProtocolDetails
from edge_runtime.sinks import JsonSink, Outbox
from edge_runtime.types import Frame

SAVE_INTERVAL_S = 10.0
"""Interval at which the unfinished report is passed to `save`."""
RUNNING = "never: the program or the machine died"
"""`Report.ended` in a report that was saved during the run."""


@dataclass(frozen=True)
class Protocol:
    """The extent of a measurement."""

    quick: bool = False
    cold_starts: int = 5
    warmup: int = 50
    samples: int = 1024
    """Minimum number of samples."""
    seconds: float = 60.0
    """Minimum duration. Both minimums apply."""
    per_s: float | None = None
    """Images per second; None: one by one, or as the camera delivers them."""
    gate: bool = False


QUICK = Protocol(quick=True, cold_starts=3, warmup=16, samples=256, seconds=10.0)


@dataclass
class Profile:
    """One run. `run` returns the report, even if the run ended early (see `cause`)."""

    engine: Engine
    source: Source
    protocol: Protocol = field(default_factory=Protocol)
    gallery: Path | None = None
    """None: an empty gallery."""
    kind: str = "photos"
    photos: int | None = None
    budgets: Mapping[str, float] = field(default_factory=dict)
    budget_source: str = ""
    progress: Callable[[float], None] = lambda _share: None
    """Called with the completed share, 0 to 1."""
    save: Callable[[Report], None] | None = None
    """Called with the unfinished report every `SAVE_INTERVAL_S`."""
    cause: BaseException | None = None
    """The error that ended the run early."""

    def run(self) -> Report:
        """Measure. After an error or Ctrl-C, the report covers the run until then; see `cause`."""
        self._begin()
        try:
            with _scratch() as scratch:
                self._measure(Path(scratch))
            self._ended = "finished"
        except (EdgeRuntimeError, KeyboardInterrupt) as error:
            self.cause = error
            self._ended = f"early: {error}" if str(error) else "early: interrupted"
        return self.report()

    def _begin(self) -> None:
        self._began_at = datetime.now().astimezone().isoformat(timespec="seconds")
        self._ended = RUNNING
        self._program, self._device = metadata.program(), metadata.device()
        self._gallery = GalleryDetails(item_count=0, label_count=0)
        self._frame: Frame | None = None
        self._recorder = Recorder()
        self._lost = (0, 0)
        self._pace = ""
        self._conditions: Conditions | None = None
        self._growth: int | None = None
        self._cold: list[Run] = []
        self._operators: list[Operators] = []
        self._overhead: Overhead | None = None

    def _measure(self, scratch: Path) -> None:
        path = self.gallery or scratch / "empty.sqlite"
        with (
            Gallery(path, self.engine.model, create=self.gallery is None) as gallery,
            (scratch / "events").open("w") as stream,
        ):
            self._gallery = metadata.gallery_details(gallery)
            gate = ChangeGate() if self.protocol.gate else None
            outbox = Outbox(JsonSink(stream))
            driver = Driver(
                Pipeline(self.engine, gallery, gate=gate),
                self.source,
                outbox,
                per_s=self.protocol.per_s,
            )
            self._pace = driver.pace
            try:
                self._warm(driver)
            finally:
                driver.close()
                outbox.close()
        assert self._frame is not None
        square = preprocess(self._frame.image, self.engine.model.input.size)
        calls = min(CALLS, self.protocol.samples)
        self._operators = list(operators(self.engine, square, calls))
        photo = scratch / "photo.jpg"
        cv2.imwrite(str(photo), self._frame.image)
        for number in range(self.protocol.cold_starts):
            self._cold.append(run_cold_start(self.engine, path, photo))
            self.progress(0.8 + 0.2 * (number + 1) / self.protocol.cold_starts)

    def _store_first_frame(self, observation: Observation) -> None:
        self._frame = self._frame or observation.frame

    def _warm(self, driver: Driver) -> None:
        protocol, daemon = self.protocol, driver.daemon
        daemon.observers.append(self._store_first_frame)
        for _ in range(protocol.warmup or 1):
            driver.process_one()
        if self._frame is None:
            raise ReportError(daemon.last_error or "no frame could be processed")
        daemon.observers[:] = [self._recorder]
        monitor = BoardMonitor(0.5 if protocol.quick else 1.0)
        lost = daemon.camera.dropped, daemon.faults
        before, saved_s = counters(), time.monotonic()
        began_s = saved_s
        monitor.begin()
        try:
            while (done := self._completed_share(began_s)) < 1:
                driver.process_one()
                self._lost = daemon.camera.dropped - lost[0], daemon.faults - lost[1]
                self.progress(0.75 * done)
                if self.save and time.monotonic() - saved_s > SAVE_INTERVAL_S:
                    self._conditions = conditions(monitor, before, counters())
                    self.save(self.report())
                    saved_s = time.monotonic()
        finally:
            monitor.end()
            self._conditions = conditions(monitor, before, counters())
        self._growth = _growth(
            [moment.rss_bytes for moment in monitor.moments], self._recorder.size_bytes
        )
        self._overhead = overhead(driver, self._recorder, monitor)
        self.progress(0.8)

    def _completed_share(self, began_s: float) -> float:
        """Return the completed share of samples or time, whichever is smaller."""
        protocol = self.protocol
        elapsed_s = time.monotonic() - began_s
        time_share = elapsed_s / protocol.seconds if protocol.seconds else 1.0
        return min(len(self._recorder) / max(protocol.samples, 1), time_share)

    def report(self) -> Report:
        """Return the report on the run so far."""
        size = self._frame.image.shape if self._frame is not None else (None, None)
        cold, all_cold = cold_start_medians(self._cold) if self._cold else (None, [])
        report = Report(
            schema_version=SCHEMA_VERSION,
            made_at=self._began_at,
            ended=self._ended,
            measurement=False,
            met=False,
            brands=self._flags(),
            budget=[],
            program=self._program,
            device=self._device,
            engine=metadata.engine_info(self.engine),
            model=metadata.model_details(self.engine),
            gallery=self._gallery,
            input=InputDetails(
                kind=self.kind,
                name=self.source.name,
                photo_count=self.photos,
                width_pixels=size[1],
                height_pixels=size[0],
            ),
            protocol=self._protocol(),
            cold=cold,
            cold_starts=all_cold,
            warm=self._recorder.warm(dropped=self._lost[0], faults=self._lost[1])
            if len(self._recorder)
            else None,
            memory=memory_summary(self._cold, self._growth) if self._cold else None,
            conditions=self._conditions,
            operators=self._operators,
            overhead=self._overhead,
        )
        budget = judge(partial(figure, report), self.budgets, self.budget_source)
        measurement = not report.brands
        return replace(
            report,
            budget=budget,
            measurement=measurement,
            met=measurement and all(line.met is not False for line in budget),
        )

    def _flags(self) -> list[Flag]:
        flags = []
        if self._ended != "finished":
            flags.append(Flag(name="incomplete", detail=f"the run ended {self._ended}"))
        if self._conditions is not None:
            flags += flags_of(
                self._conditions,
                emulated=self._device.emulated,
                full_load=self._pace == "one by one",
            )
        elif self._device.emulated:
            flags += [Flag(name="emulated", detail="ran in an emulator")]
        return flags

    def _protocol(self) -> ProtocolDetails:
        protocol = self.protocol
        return ProtocolDetails(
            quick=protocol.quick,
            cold_start_count=protocol.cold_starts,
            warmup_count=protocol.warmup,
            least_sample_count=protocol.samples,
            least_s=protocol.seconds,
            pace=self._pace,
            pace_per_s=protocol.per_s,
            gate=protocol.gate,
            clock="time.monotonic and time.perf_counter (CLOCK_MONOTONIC)",
        )


def _scratch() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="edge-profile-")
    except OSError as error:
        raise StorageError(
            f"cannot create a temporary folder: {error.strerror}",
            remedy="set TMPDIR to a folder with free space",
        ) from error


def _growth(rss: list[int], recorder_bytes: int) -> int | None:
    """Return the growth from the second to the last tenth, without the recorder's own."""
    tenth = len(rss) // 10
    if tenth < 2:
        return None
    early, late = rss[tenth : 2 * tenth], rss[-tenth:]
    return round(median(late) - median(early) - 0.85 * recorder_bytes)
