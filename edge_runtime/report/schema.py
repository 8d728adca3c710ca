"""Every field of a report: its type, its unit (the end of its name) and its meaning.

null is not zero. It means that the machine does not report the value, or that it was not measured.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

SCHEMA_VERSION = 2
"""Incremented when a program for older reports would misread newer ones."""

UNITS = (
    "ms", "us", "s", "bytes", "c", "mhz", "share", "ratio", "count", "bits", "pixels", "version",
    "per_s", "macs",
)  # fmt: skip
"""The name of every number ends in one of these."""


def _about(text: str) -> Meta:
    return Meta(description=text)


class _Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of a report."""


class Program(_Part, frozen=True, kw_only=True):
    """The program that measured."""

    name: Annotated[str, _about("Name of the program that wrote the report.")]
    release: Annotated[str, _about("Version.")]
    commit: Annotated[str | None, _about("Commit of its source; null: not run from a checkout.")]
    modified: Annotated[bool | None, _about("Whether that source had uncommitted changes.")]
    arguments: Annotated[list[str], _about("The command line.")]


class DeviceInfo(_Part, frozen=True, kw_only=True):
    """The machine."""

    model: Annotated[str | None, _about("Model name from the firmware.")]
    soc: Annotated[str | None, _about("Name of the chip in the device tree.")]
    machine: Annotated[str, _about("Architecture: x86_64, aarch64.")]
    cpu: Annotated[str | None, _about("Name of the processor.")]
    features: Annotated[list[str], _about("Processor features that speed up a network.")]
    core_count: Annotated[int, _about("Number of cores that this process may use.")]
    memory_bytes: Annotated[int, _about("Size of main memory.")]
    system: Annotated[str, _about("Operating system and kernel.")]
    python: Annotated[str, _about("Version of Python.")]
    packages: Annotated[dict[str, str], _about("Version of each package that the pipeline uses.")]
    governor: Annotated[
        str | None, _about("CPU frequency governor. The profiler never changes it.")
    ]
    clock_limit_mhz: Annotated[
        float | None, _about("Highest clock frequency that the governor may choose.")
    ]
    emulated: Annotated[
        bool, _about("The program runs in an emulator, so its times are meaningless.")
    ]


class EngineInfo(_Part, frozen=True, kw_only=True):
    """The engine that ran the network."""

    name: Annotated[str, _about("compiled or portable.")]
    reason: Annotated[str, _about("Why this engine was chosen.")]
    thread_count: Annotated[int, _about("CPU threads for the network.")]
    target: Annotated[str | None, _about("Device that the bundle was compiled for.")]
    precision: Annotated[str | None, _about("Arithmetic of the compiled network.")]


class ModelDetails(_Part, frozen=True, kw_only=True):
    """The hash network."""

    id: Annotated[str, _about("SHA-256 of the ONNX file.")]
    name: Annotated[str, _about("Name of the model.")]
    release: Annotated[str, _about("Version.")]
    code_bits: Annotated[int, _about("Length of a code.")]
    input_pixels: Annotated[int, _about("Side of the square input image.")]
    file_bytes: Annotated[int, _about("Size of the file that the engine runs.")]


class GalleryDetails(_Part, frozen=True, kw_only=True):
    """The gallery that was searched."""

    item_count: Annotated[int, _about("Number of enrolled codes.")]
    label_count: Annotated[int, _about("Number of labels.")]


class InputDetails(_Part, frozen=True, kw_only=True):
    """The images that were queried."""

    kind: Annotated[str, _about("photos, clip or camera.")]
    name: Annotated[str, _about("Name of the folder, file or camera.")]
    photo_count: Annotated[
        int | None, _about("Number of photos, queried in rotation; null: no photos.")
    ]
    width_pixels: Annotated[int | None, _about("Width of the first image.")]
    height_pixels: Annotated[int | None, _about("Height of the first image.")]


class ProtocolDetails(_Part, frozen=True, kw_only=True):
    """The measurement settings."""

    quick: Annotated[bool, _about("Few samples: for orientation only, not for publication.")]
    cold_start_count: Annotated[
        int, _about("Number of new processes that measured the cold start.")
    ]
    warmup_count: Annotated[int, _about("Number of frames before the first sample.")]
    least_sample_count: Annotated[int, _about("Minimum number of samples.")]
    least_s: Annotated[float, _about("Minimum duration. Both minimums apply.")]
    pace: Annotated[
        str,
        _about(
            "one by one: the next image is loaded after the last result; paced: each image is due "
            "at a fixed time, and waiting counts (no coordinated omission); camera: as delivered."
        ),
    ]
    pace_per_s: Annotated[float | None, _about("Images per second if paced.")]
    gate: Annotated[
        bool, _about("Whether the change gate skipped the hashing of unchanged images.")
    ]
    clock: Annotated[str, _about("Clock that the times were read from.")]


class ColdStart(_Part, frozen=True, kw_only=True):
    """From process start to the first result, with all files in the page cache."""

    process_ms: Annotated[float, _about("From process creation to the first line of Python.")]
    imports_ms: Annotated[float, _about("Importing the packages.")]
    engine_ms: Annotated[float, _about("Loading the network.")]
    gallery_ms: Annotated[float, _about("Opening the gallery.")]
    first_result_ms: Annotated[float, _about("The first image, from its file to its result.")]
    total_ms: Annotated[float, _about("Sum of all parts.")]


class Summary(_Part, frozen=True, kw_only=True):
    """The times of one stage; percentiles by nearest rank."""

    sample_count: Annotated[int, _about("Number of samples.")]
    min_ms: Annotated[float, _about("Smallest.")]
    mean_ms: Annotated[float, _about("Mean.")]
    std_ms: Annotated[float, _about("Standard deviation.")]
    p50_ms: Annotated[float, _about("Median.")]
    p90_ms: Annotated[float, _about("90th percentile.")]
    p95_ms: Annotated[float, _about("95th percentile.")]
    p99_ms: Annotated[float, _about("99th percentile.")]
    max_ms: Annotated[float, _about("Largest.")]


class Samples(_Part, frozen=True, kw_only=True):
    """All samples, in order."""

    at_s: Annotated[list[float], _about("Time of each sample, from the first one.")]
    stages_ms: Annotated[
        dict[str, list[float | None]],
        _about("By stage, one value per sample; null: the stage did not run (closed gate)."),
    ]
    yardstick_ms: Annotated[
        list[float],
        _about(
            "Time of the calibration loop after each frame: the machine's speed at that moment."
        ),
    ]


class Warm(_Part, frozen=True, kw_only=True):
    """The pipeline of the daemon when everything is loaded."""

    elapsed_s: Annotated[float, _about("Duration of the measurement.")]
    frames_per_s: Annotated[float, _about("Results per second.")]
    dropped_count: Annotated[int, _about("Camera frames dropped because the pipeline was busy.")]
    fault_count: Annotated[int, _about("Frames that failed.")]
    sustained_ratio: Annotated[
        float | None,
        _about(
            "Median query of the last 30 s divided by that of the first 30 s. Above 1: the board "
            "slows down as it gets warm. null: shorter than a minute."
        ),
    ]
    stages: Annotated[
        dict[str, Summary],
        _about(
            "capture: waiting for the camera; decode: bytes to pixels; wait: in the queue; fit: "
            "preprocessing to the network's input size; gate: comparison with the last hashed "
            "frame; hash: the network; pack: bits to words; lookup: search in the gallery; decide: "
            "the vote; publish: to the sinks; query: fit to decide; end_to_end: from capture (if "
            "paced: from the due time) to published."
        ),
    ]
    samples: Annotated[Samples, _about("The raw values.")]


class Usage(_Part, frozen=True, kw_only=True):
    """Memory of a process at one time (Linux: /proc/PID/smaps_rollup)."""

    rss_bytes: Annotated[int, _about("Resident set: pages in main memory.")]
    pss_bytes: Annotated[int, _about("Proportional set: a page shared by n processes counts 1/n.")]
    uss_bytes: Annotated[int, _about("Unique set: memory that would be free if the process ended.")]
    private_dirty_bytes: Annotated[
        int, _about("Pages that only this process has written; they need memory or swap.")
    ]


class MemoryParts(_Part, frozen=True, kw_only=True):
    """The parts of a running process's resident memory; they sum to the total."""

    interpreter_bytes: Annotated[int, _about("Python and the imported modules.")]
    libraries_bytes: Annotated[int, _about("Shared libraries, without the compiled network.")]
    model_bytes: Annotated[
        int, _about("The network: its library, or the growth while it was loaded.")
    ]
    gallery_bytes: Annotated[int, _about("Codes, labels and the database cache.")]
    working_set_bytes: Annotated[int, _about("Growth during queries: images and buffers.")]


class Memory(_Part, frozen=True, kw_only=True):
    """Main memory. Each phase is the median over the processes of the cold start."""

    start: Annotated[Usage, _about("Python only.")]
    imports: Annotated[Usage, _about("After importing the packages.")]
    engine: Annotated[Usage, _about("After loading the network.")]
    gallery: Annotated[Usage, _about("After opening the gallery.")]
    run: Annotated[Usage, _about("After some queries.")]
    parts: Annotated[MemoryParts, _about("The parts of `run`.")]
    peak_rss_bytes: Annotated[int, _about("Largest resident memory of any of these processes.")]
    growth_bytes: Annotated[
        int | None,
        _about(
            "Resident memory of the measuring process: median of the last tenth of the run minus "
            "that of the second tenth; null: the run is too short."
        ),
    ]


class Moment(_Part, frozen=True, kw_only=True):
    """The board at one time."""

    at_s: Annotated[float, _about("Time from the first sample; negative: before it.")]
    temperature_c: Annotated[float | None, _about("Temperature of the hottest sensor.")]
    clock_mhz: Annotated[float | None, _about("Clock frequency of the fastest core.")]
    throttling: Annotated[
        list[str] | None, _about("Throttling reported by the firmware (Raspberry Pi); empty: none.")
    ]
    rss_bytes: Annotated[int, _about("Resident memory of the measuring process.")]


class Conditions(_Part, frozen=True, kw_only=True):
    """The environment of the run."""

    moments: Annotated[list[Moment], _about("Readings before, during and after the run, in order.")]
    others_cores_ratio: Annotated[
        float | None, _about("Average number of cores that other programs used.")
    ]
    stolen_share: Annotated[
        float | None,
        _about("Share of CPU time that the host of a virtual machine gave to other guests."),
    ]
    waiting_share: Annotated[
        float | None,
        _about("Share of time in which the pipeline was ready to run but had no core."),
    ]
    swapped_bytes: Annotated[
        int | None, _about("Data that the whole machine moved to and from swap.")
    ]


class Operator(_Part, frozen=True, kw_only=True):
    """One operator of the network."""

    name: Annotated[str, _about("Name in the network.")]
    kind: Annotated[str, _about("Kind of operator.")]
    p50_ms: Annotated[float, _about("Median time per call.")]
    time_share: Annotated[float, _about("Share of the time of all operators.")]
    macs: Annotated[int | None, _about("Multiply-adds per call by the textbook formula.")]
    peak_share: Annotated[
        float | None,
        _about("Share of the multiply-adds that the threads' cores can do in this time."),
    ]


class Operators(_Part, frozen=True, kw_only=True):
    """The operators of one engine."""

    engine: Annotated[str, _about("Name of the engine.")]
    call_count: Annotated[int, _about("Number of measured calls.")]
    total_ms: Annotated[float, _about("Sum of the medians.")]
    equal_share: Annotated[
        float | None,
        _about("Share of code bits equal to the profiled engine's; null: this is that engine."),
    ]
    peak_macs_per_s: Annotated[
        float | None,
        _about("Float32 multiply-adds per second of one core, in registers, measured."),
    ]
    operators: Annotated[list[Operator], _about("In order of execution.")]


class Overhead(_Part, frozen=True, kw_only=True):
    """The cost of measuring."""

    frame_us: Annotated[
        float, _about("Median time per frame for storing it and for the calibration loop.")
    ]
    watch_share: Annotated[float, _about("Share of time spent on reading the board's sensors.")]
    p50_share: Annotated[
        float, _about("Both as a share of the median frame: the apparent slowdown.")
    ]
    p50_ratio: Annotated[
        float | None, _about("Median with measuring divided by median without, interleaved.")
    ]
    low_ratio: Annotated[float | None, _about("Lower end of its 95 % interval.")]
    high_ratio: Annotated[float | None, _about("Upper end of its 95 % interval.")]


class Flag(_Part, frozen=True, kw_only=True):
    """A reason why the run is not a valid measurement."""

    name: Annotated[str, _about("emulated, throttled, swapped, shared or incomplete.")]
    detail: Annotated[str, _about("What was observed.")]


class Verdict(_Part, frozen=True, kw_only=True):
    """One value and its budget, both in the unit at the end of the name."""

    name: Annotated[str, _about("Name of the budget.")]
    value: Annotated[float | None, _about("Measured value; null: not measured.")]
    budget: Annotated[float, _about("Upper limit.")]
    source: Annotated[str, _about("Origin of the budget.")]
    met: Annotated[
        bool | None, _about("Whether the value is within the budget; null: not measured.")
    ]

    def word(self, measurement: bool) -> str:
        """Return the verdict as text.

        `measurement`: whether the run is a valid measurement. Otherwise it cannot meet a budget.
        """
        if self.met is None:
            return "not measured"
        if not self.met:
            return "missed"
        return "met" if measurement else "within budget, but the run is not valid"


class Report(_Part, frozen=True, kw_only=True):
    """Speed, use of time and memory, and the verdict on the budget."""

    schema_version: Annotated[int, _about("Version of this schema.")]
    made_at: Annotated[str, _about("Start of the run, ISO 8601.")]
    ended: Annotated[str, _about('"finished", or why the run ended early.')]
    measurement: Annotated[bool, _about("Complete and without flags: a valid measurement.")]
    met: Annotated[bool, _about("A valid measurement that meets every budget.")]
    brands: Annotated[list[Flag], _about("Why the run is not a valid measurement; empty: it is.")]
    budget: Annotated[list[Verdict], _about("Every value that has a budget.")]
    program: Annotated[Program, _about("The program that measured.")]
    device: Annotated[DeviceInfo, _about("The machine.")]
    engine: Annotated[EngineInfo, _about("The engine that ran the network.")]
    model: Annotated[ModelDetails, _about("The hash network.")]
    gallery: Annotated[GalleryDetails, _about("The gallery that was searched.")]
    input: Annotated[InputDetails, _about("The images that were queried.")]
    protocol: Annotated[ProtocolDetails, _about("The measurement settings.")]
    cold: Annotated[ColdStart | None, _about("Cold start, medians; null: ended before it.")]
    cold_starts: Annotated[list[ColdStart], _about("All cold starts.")]
    warm: Annotated[Warm | None, _about("The pipeline when everything is loaded.")]
    memory: Annotated[Memory | None, _about("Size of main memory.")]
    conditions: Annotated[Conditions | None, _about("The environment of the run.")]
    operators: Annotated[list[Operators], _about("The operators of the network, by engine.")]
    overhead: Annotated[Overhead | None, _about("The cost of measuring.")]
