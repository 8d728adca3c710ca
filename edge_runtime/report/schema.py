"""Every field of a report: its type, its unit (the end of its name) and its meaning.

null is not zero. It means that the machine does not report the value, or that it was not measured.
"""

from __future__ import annotations

from typing import Annotated

from edge_runtime.report.setup import (
    DeviceInfo,
    EngineInfo,
    GalleryDetails,
    InputDetails,
    ModelDetails,
    Program,
    ProtocolDetails,
)
from edge_runtime.report.table import Table, about

SCHEMA_VERSION = 2
"""Incremented when a program for older reports would misread newer ones."""


class ColdStart(Table, frozen=True, kw_only=True):
    """From process start to the first result, with all files in the page cache."""

    process_ms: Annotated[float, about("From process creation to the first line of Python.")]
    imports_ms: Annotated[float, about("Importing the packages.")]
    engine_ms: Annotated[float, about("Loading the network.")]
    gallery_ms: Annotated[float, about("Opening the gallery.")]
    first_result_ms: Annotated[float, about("The first image, from its file to its result.")]
    total_ms: Annotated[float, about("Sum of all parts.")]


class Summary(Table, frozen=True, kw_only=True):
    """The times of one stage; percentiles by nearest rank."""

    sample_count: Annotated[int, about("Number of samples.")]
    min_ms: Annotated[float, about("Smallest.")]
    mean_ms: Annotated[float, about("Mean.")]
    std_ms: Annotated[float, about("Standard deviation.")]
    p50_ms: Annotated[float, about("Median.")]
    p90_ms: Annotated[float, about("90th percentile.")]
    p95_ms: Annotated[float, about("95th percentile.")]
    p99_ms: Annotated[float, about("99th percentile.")]
    max_ms: Annotated[float, about("Largest.")]


class Samples(Table, frozen=True, kw_only=True):
    """All samples, in order."""

    at_s: Annotated[list[float], about("Time of each sample, from the first one.")]
    stages_ms: Annotated[
        dict[str, list[float | None]],
        about("By stage, one value per sample; null: the stage did not run (closed gate)."),
    ]
    yardstick_ms: Annotated[
        list[float],
        about("Time of the calibration loop after each frame: the machine's speed at that moment."),
    ]


class Warm(Table, frozen=True, kw_only=True):
    """The pipeline of the daemon when everything is loaded."""

    elapsed_s: Annotated[float, about("Duration of the measurement.")]
    frames_per_s: Annotated[float, about("Results per second.")]
    dropped_count: Annotated[int, about("Camera frames dropped because the pipeline was busy.")]
    fault_count: Annotated[int, about("Frames that failed.")]
    sustained_ratio: Annotated[
        float | None,
        about(
            "Median query of the last 30 s divided by that of the first 30 s. Above 1: the board "
            "slows down as it gets warm. null: shorter than a minute."
        ),
    ]
    stages: Annotated[
        dict[str, Summary],
        about(
            "capture: waiting for the camera; decode: bytes to pixels; wait: in the queue; fit: "
            "preprocessing to the network's input size; gate: comparison with the last hashed "
            "frame; hash: the network; pack: bits to words; lookup: search in the gallery; decide: "
            "the vote; publish: to the sinks; query: fit to decide; end_to_end: from capture (if "
            "paced: from the due time) to published."
        ),
    ]
    samples: Annotated[Samples, about("The raw values.")]


class Usage(Table, frozen=True, kw_only=True):
    """Memory of a process at one time (Linux: /proc/PID/smaps_rollup)."""

    rss_bytes: Annotated[int, about("Resident set: pages in main memory.")]
    pss_bytes: Annotated[int, about("Proportional set: a page shared by n processes counts 1/n.")]
    uss_bytes: Annotated[int, about("Unique set: memory that would be free if the process ended.")]
    private_dirty_bytes: Annotated[
        int, about("Pages that only this process has written; they need memory or swap.")
    ]


class MemoryParts(Table, frozen=True, kw_only=True):
    """The parts of a running process's resident memory; they sum to the total."""

    interpreter_bytes: Annotated[int, about("Python and the imported modules.")]
    libraries_bytes: Annotated[int, about("Shared libraries, without the compiled network.")]
    model_bytes: Annotated[
        int, about("The network: its library, or the growth while it was loaded.")
    ]
    gallery_bytes: Annotated[int, about("Codes, labels and the database cache.")]
    working_set_bytes: Annotated[int, about("Growth during queries: images and buffers.")]


class Memory(Table, frozen=True, kw_only=True):
    """Main memory. Each phase is the median over the processes of the cold start."""

    start: Annotated[Usage, about("Python only.")]
    imports: Annotated[Usage, about("After importing the packages.")]
    engine: Annotated[Usage, about("After loading the network.")]
    gallery: Annotated[Usage, about("After opening the gallery.")]
    run: Annotated[Usage, about("After some queries.")]
    parts: Annotated[MemoryParts, about("The parts of `run`.")]
    peak_rss_bytes: Annotated[int, about("Largest resident memory of any of these processes.")]
    growth_bytes: Annotated[
        int | None,
        about(
            "Resident memory of the measuring process: median of the last tenth of the run minus "
            "that of the second tenth; null: the run is too short."
        ),
    ]


class Moment(Table, frozen=True, kw_only=True):
    """The board at one time."""

    at_s: Annotated[float, about("Time from the first sample; negative: before it.")]
    temperature_c: Annotated[float | None, about("Temperature of the hottest sensor.")]
    clock_mhz: Annotated[float | None, about("Clock frequency of the fastest core.")]
    throttling: Annotated[
        list[str] | None, about("Throttling reported by the firmware (Raspberry Pi); empty: none.")
    ]
    rss_bytes: Annotated[int, about("Resident memory of the measuring process.")]


class Conditions(Table, frozen=True, kw_only=True):
    """The environment of the run."""

    moments: Annotated[list[Moment], about("Readings before, during and after the run, in order.")]
    others_cores_ratio: Annotated[
        float | None, about("Average number of cores that other programs used.")
    ]
    stolen_share: Annotated[
        float | None,
        about("Share of CPU time that the host of a virtual machine gave to other guests."),
    ]
    waiting_share: Annotated[
        float | None,
        about("Share of time in which the pipeline was ready to run but had no core."),
    ]
    swapped_bytes: Annotated[
        int | None, about("Data that the whole machine moved to and from swap.")
    ]


class Operator(Table, frozen=True, kw_only=True):
    """One operator of the network."""

    name: Annotated[str, about("Name in the network.")]
    kind: Annotated[str, about("Kind of operator.")]
    p50_ms: Annotated[float, about("Median time per call.")]
    time_share: Annotated[float, about("Share of the time of all operators.")]
    macs: Annotated[int | None, about("Multiply-adds per call by the textbook formula.")]
    peak_share: Annotated[
        float | None,
        about("Share of the multiply-adds that the threads' cores can do in this time."),
    ]


class Operators(Table, frozen=True, kw_only=True):
    """The operators of one engine."""

    engine: Annotated[str, about("Name of the engine.")]
    call_count: Annotated[int, about("Number of measured calls.")]
    total_ms: Annotated[float, about("Sum of the medians.")]
    equal_share: Annotated[
        float | None,
        about("Share of code bits equal to the profiled engine's; null: this is that engine."),
    ]
    peak_macs_per_s: Annotated[
        float | None,
        about("Float32 multiply-adds per second of one core, in registers, measured."),
    ]
    operators: Annotated[list[Operator], about("In order of execution.")]


class Overhead(Table, frozen=True, kw_only=True):
    """The cost of measuring."""

    frame_us: Annotated[
        float, about("Median time per frame for storing it and for the calibration loop.")
    ]
    watch_share: Annotated[float, about("Share of time spent on reading the board's sensors.")]
    p50_share: Annotated[
        float, about("Both as a share of the median frame: the apparent slowdown.")
    ]
    p50_ratio: Annotated[
        float | None, about("Median with measuring divided by median without, interleaved.")
    ]
    low_ratio: Annotated[float | None, about("Lower end of its 95 % interval.")]
    high_ratio: Annotated[float | None, about("Upper end of its 95 % interval.")]


class Flag(Table, frozen=True, kw_only=True):
    """A reason why the run is not a valid measurement."""

    name: Annotated[str, about("emulated, throttled, swapped, shared or incomplete.")]
    detail: Annotated[str, about("What was observed.")]


class Verdict(Table, frozen=True, kw_only=True):
    """One value and its budget, both in the unit at the end of the name."""

    name: Annotated[str, about("Name of the budget.")]
    value: Annotated[float | None, about("Measured value; null: not measured.")]
    budget: Annotated[float, about("Upper limit.")]
    source: Annotated[str, about("Origin of the budget.")]
    met: Annotated[
        bool | None, about("Whether the value is within the budget; null: not measured.")
    ]

    def word(self, measurement: bool) -> str:
        """Return the verdict as text.

        `measurement`: whether the run is a valid measurement. Otherwise it can neither meet nor
        miss a budget.
        """
        if self.met is None:
            return "not measured"
        if not measurement:
            return "withheld: the run is not valid"
        return "met" if self.met else "missed"


class Report(Table, frozen=True, kw_only=True):
    """Speed, use of time and memory, and the verdict on the budget."""

    schema_version: Annotated[int, about("Version of this schema.")]
    made_at: Annotated[str, about("Start of the run, ISO 8601.")]
    ended: Annotated[str, about('"finished", or why the run ended early.')]
    measurement: Annotated[bool, about("Complete and without flags: a valid measurement.")]
    met: Annotated[bool, about("A valid measurement that meets every budget.")]
    brands: Annotated[list[Flag], about("Why the run is not a valid measurement; empty: it is.")]
    budget: Annotated[list[Verdict], about("Every value that has a budget.")]
    program: Annotated[Program, about("The program that measured.")]
    device: Annotated[DeviceInfo, about("The machine.")]
    engine: Annotated[EngineInfo, about("The engine that ran the network.")]
    model: Annotated[ModelDetails, about("The hash network.")]
    gallery: Annotated[GalleryDetails, about("The gallery that was searched.")]
    input: Annotated[InputDetails, about("The images that were queried.")]
    protocol: Annotated[ProtocolDetails, about("The measurement settings.")]
    cold: Annotated[ColdStart | None, about("Cold start, medians; null: ended before it.")]
    cold_starts: Annotated[list[ColdStart], about("All cold starts.")]
    warm: Annotated[Warm | None, about("The pipeline when everything is loaded.")]
    memory: Annotated[Memory | None, about("Memory use.")]
    conditions: Annotated[Conditions | None, about("The environment of the run.")]
    operators: Annotated[list[Operators], about("The operators of the network, by engine.")]
    overhead: Annotated[Overhead | None, about("The cost of measuring.")]
