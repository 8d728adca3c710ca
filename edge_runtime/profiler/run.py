"""How fast is it here, where do time and memory go, and is that within the budget?

What is timed is the daemon's own loop (`edge_runtime.daemon.Daemon`) with its stages where the
daemon has them; cold figures come from fresh processes.
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
from edge_runtime.engine import Engine
from edge_runtime.errors import EdgeRuntimeError, ReportError, StorageError
from edge_runtime.gallery import Gallery
from edge_runtime.image.change_gate import ChangeGate
from edge_runtime.image.preprocess import preprocess
from edge_runtime.profiler import facts
from edge_runtime.profiler.cold import Run, cold_start, cold_starts, memory_of
from edge_runtime.profiler.conditions import Watch, brands_of, conditions, counters
from edge_runtime.profiler.driver import Driver
from edge_runtime.profiler.operators import CALLS, operators
from edge_runtime.profiler.overhead import overhead
from edge_runtime.profiler.warm import Recorder
from edge_runtime.recognition.pipeline import Pipeline
from edge_runtime.report.budget import figure, judge
from edge_runtime.report.schema import (
    SCHEMA_VERSION,
    Brand,
    Conditions,
    GalleryFacts,
    InputFacts,
    Operators,
    Overhead,
    ProtocolFacts,
    Report,
)
from edge_runtime.sinks import JsonSink, Outbox
from edge_runtime.types import Frame, QueryResult, Recognition

KEEP_S = 10.0
"""How often an unfinished report is handed to `keep`."""
RUNNING = "never: the program or the machine died"
"""What a report says that was kept while the run went on."""


@dataclass(frozen=True)
class Protocol:
    """How much is measured."""

    quick: bool = False
    cold_starts: int = 5
    warmup: int = 50
    samples: int = 1024
    """At least this many ..."""
    seconds: float = 60.0
    """... and for at least this long."""
    per_s: float | None = None
    """Pictures a second; None: one by one, or as the camera gives them."""
    gate: bool = False


QUICK = Protocol(quick=True, cold_starts=3, warmup=16, samples=256, seconds=10.0)


@dataclass
class Profile:
    """One run; `run` makes the report, also of a run that was cut short (`cause`)."""

    engine: Engine
    source: Source
    protocol: Protocol = field(default_factory=Protocol)
    gallery: Path | None = None
    """None: an empty one."""
    kind: str = "photos"
    photos: int | None = None
    budgets: Mapping[str, float] = field(default_factory=dict)
    budget_source: str = ""
    progress: Callable[[float], None] = lambda _share: None
    """Hears the share done, 0 to 1."""
    keep: Callable[[Report], None] | None = None
    """Handed the unfinished report now and then."""
    cause: BaseException | None = None
    """Why the run was cut short."""

    def run(self) -> Report:
        """Measure. Errors and Ctrl-C end the measuring, not the report; see `cause`."""
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
        self._made_at = datetime.now().astimezone().isoformat(timespec="seconds")
        self._ended = RUNNING
        self._program, self._device = facts.program(), facts.device()
        self._gallery = GalleryFacts(item_count=0, label_count=0)
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
            self._gallery = facts.gallery_facts(gallery)
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
            self._cold.append(cold_start(self.engine, path, photo))
            self.progress(0.8 + 0.2 * (number + 1) / self.protocol.cold_starts)

    def _look(self, frame: Frame, _result: QueryResult, _held: Recognition | None) -> None:
        self._frame = self._frame or frame

    def _warm(self, driver: Driver) -> None:
        protocol, daemon = self.protocol, driver.daemon
        daemon.observers.append(self._look)
        for _ in range(protocol.warmup or 1):
            driver.one()
        if self._frame is None:
            raise ReportError(daemon.last_error or "no frame could be judged")
        daemon.observers[:] = [self._recorder]
        watch = Watch(0.5 if protocol.quick else 1.0)
        lost = daemon.camera.dropped, daemon.faults
        before, kept_s = counters(), time.monotonic()
        began_s = kept_s
        watch.begin()
        try:
            while (done := self._share(began_s)) < 1:
                driver.one()
                self._lost = daemon.camera.dropped - lost[0], daemon.faults - lost[1]
                self.progress(0.75 * done)
                if self.keep and time.monotonic() - kept_s > KEEP_S:
                    self._conditions = conditions(watch, before, counters())
                    self.keep(self.report())
                    kept_s = time.monotonic()
        finally:
            watch.end()
            self._conditions = conditions(watch, before, counters())
        self._growth = _growth(
            [moment.rss_bytes for moment in watch.moments], self._recorder.size_bytes
        )
        self._overhead = overhead(driver, self._recorder, watch)
        self.progress(0.8)

    def _share(self, began_s: float) -> float:
        """Of the samples and of the time."""
        protocol = self.protocol
        elapsed_s = time.monotonic() - began_s
        of_time = elapsed_s / protocol.seconds if protocol.seconds else 1.0
        return min(len(self._recorder) / max(protocol.samples, 1), of_time)

    def report(self) -> Report:
        """What is known so far."""
        size = self._frame.image.shape if self._frame is not None else (None, None)
        cold, every = cold_starts(self._cold) if self._cold else (None, [])
        report = Report(
            schema_version=SCHEMA_VERSION,
            made_at=self._made_at,
            ended=self._ended,
            measurement=False,
            met=False,
            brands=self._brands(),
            budget=[],
            program=self._program,
            device=self._device,
            engine=facts.engine_info(self.engine),
            model=facts.model_facts(self.engine),
            gallery=self._gallery,
            input=InputFacts(
                kind=self.kind,
                name=self.source.name,
                photo_count=self.photos,
                width_pixels=size[1],
                height_pixels=size[0],
            ),
            protocol=self._protocol(),
            cold=cold,
            cold_starts=every,
            warm=self._recorder.warm(dropped=self._lost[0], faults=self._lost[1])
            if len(self._recorder)
            else None,
            memory=memory_of(self._cold, self._growth) if self._cold else None,
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

    def _brands(self) -> list[Brand]:
        brands = []
        if self._ended != "finished":
            brands.append(Brand(name="incomplete", detail=f"it ended {self._ended}"))
        if self._conditions is not None:
            brands += brands_of(
                self._conditions,
                emulated=self._device.emulated,
                full_load=self._pace == "one by one",
            )
        elif self._device.emulated:
            brands += [Brand(name="emulated", detail="an emulator ran it")]
        return brands

    def _protocol(self) -> ProtocolFacts:
        protocol = self.protocol
        return ProtocolFacts(
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
            f"no temporary folder can be made: {error.strerror}",
            remedy="name one with room in it: TMPDIR=/path",
        ) from error


def _growth(rss: list[int], kept_bytes: int) -> int | None:
    """The last tenth over the second tenth, less what the recorder itself took in between."""
    tenth = len(rss) // 10
    if tenth < 2:
        return None
    early, late = rss[tenth : 2 * tenth], rss[-tenth:]
    return round(median(late) - median(early) - 0.85 * kept_bytes)
