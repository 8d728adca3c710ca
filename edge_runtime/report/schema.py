"""Every field of a report: its type, its unit (the end of its name) and what it means.

null is not zero: it says that this machine does not tell, or that it was not measured.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

SCHEMA_VERSION = 2
"""Raised whenever a program that reads the older reports would misread the newer ones."""

UNITS = (
    "ms", "us", "s", "bytes", "c", "mhz", "share", "ratio", "count", "bits", "pixels", "version",
    "per_s", "macs",
)  # fmt: skip
"""How the name of a number ends."""


def _about(text: str) -> Meta:
    return Meta(description=text)


class _Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the report."""


class Program(_Part, frozen=True, kw_only=True):
    """What measured."""

    name: Annotated[str, _about("The program that made the report.")]
    release: Annotated[str, _about("Its version.")]
    commit: Annotated[str | None, _about("Commit of its source; null: not run from a checkout.")]
    modified: Annotated[bool | None, _about("Whether that source had uncommitted changes.")]
    arguments: Annotated[list[str], _about("The command line.")]


class DeviceInfo(_Part, frozen=True, kw_only=True):
    """The machine."""

    model: Annotated[str | None, _about("As its firmware names it.")]
    soc: Annotated[str | None, _about("The chip, as the device tree names it.")]
    machine: Annotated[str, _about("Architecture: x86_64, aarch64.")]
    cpu: Annotated[str | None, _about("The processor.")]
    features: Annotated[list[str], _about("What the processor can do that speeds up a network.")]
    core_count: Annotated[int, _about("Cores that this process may use.")]
    memory_bytes: Annotated[int, _about("Main memory.")]
    system: Annotated[str, _about("Operating system and kernel.")]
    python: Annotated[str, _about("Version of Python.")]
    packages: Annotated[dict[str, str], _about("Version of each package that the path uses.")]
    governor: Annotated[str | None, _about("How the kernel chooses the clock. Never changed here.")]
    clock_limit_mhz: Annotated[float | None, _about("The highest clock that it may choose.")]
    emulated: Annotated[bool, _about("An emulator runs the program: its times mean nothing.")]


class EngineInfo(_Part, frozen=True, kw_only=True):
    """What ran the network."""

    name: Annotated[str, _about("compiled or portable.")]
    reason: Annotated[str, _about("Why it was chosen.")]
    thread_count: Annotated[int, _about("CPU threads for the network.")]
    target: Annotated[str | None, _about("The device that the bundle was compiled for.")]
    precision: Annotated[str | None, _about("The arithmetic of the compiled network.")]


class ModelFacts(_Part, frozen=True, kw_only=True):
    """The hash network."""

    id: Annotated[str, _about("SHA-256 of its ONNX file.")]
    name: Annotated[str, _about("Its name.")]
    release: Annotated[str, _about("Its version.")]
    code_bits: Annotated[int, _about("Length of its codes.")]
    input_pixels: Annotated[int, _about("Side of the square picture that it takes.")]
    file_bytes: Annotated[int, _about("Size of the file that the engine runs.")]


class GalleryFacts(_Part, frozen=True, kw_only=True):
    """What was looked up in."""

    item_count: Annotated[int, _about("Enrolled codes.")]
    label_count: Annotated[int, _about("Labels.")]


class InputFacts(_Part, frozen=True, kw_only=True):
    """What was looked at."""

    kind: Annotated[str, _about("photos, clip or camera.")]
    name: Annotated[str, _about("Which.")]
    photo_count: Annotated[int | None, _about("Photos taken in turn; null: not photos.")]
    width_pixels: Annotated[int | None, _about("Width of the first picture.")]
    height_pixels: Annotated[int | None, _about("Height of the first picture.")]


class ProtocolFacts(_Part, frozen=True, kw_only=True):
    """How it was measured."""

    quick: Annotated[bool, _about("Few samples: a look, not for quoting.")]
    cold_start_count: Annotated[int, _about("Fresh processes for the cold start.")]
    warmup_count: Annotated[int, _about("Frames before the first sample.")]
    least_sample_count: Annotated[int, _about("At least this many samples ...")]
    least_s: Annotated[float, _about("... and for at least this long.")]
    pace: Annotated[
        str,
        _about(
            "one by one: the next picture is fetched when the last one is answered; paced: at its "
            "time, and waiting for its turn counts (no coordinated omission); camera: as it comes."
        ),
    ]
    pace_per_s: Annotated[float | None, _about("Pictures a second when paced.")]
    gate: Annotated[bool, _about("Whether unchanged pictures were let pass without hashing.")]
    clock: Annotated[str, _about("What times were read from.")]


class ColdStart(_Part, frozen=True, kw_only=True):
    """From nothing to the first answer; files in the page cache."""

    process_ms: Annotated[float, _about("From the request for a process to Python's first line.")]
    imports_ms: Annotated[float, _about("Loading the packages.")]
    engine_ms: Annotated[float, _about("Loading the network.")]
    gallery_ms: Annotated[float, _about("Opening the gallery.")]
    first_result_ms: Annotated[float, _about("The first picture, from its file to its answer.")]
    total_ms: Annotated[float, _about("All of it.")]


class Summary(_Part, frozen=True, kw_only=True):
    """A stage in numbers; percentiles by nearest rank."""

    sample_count: Annotated[int, _about("Samples.")]
    min_ms: Annotated[float, _about("Smallest.")]
    mean_ms: Annotated[float, _about("Mean.")]
    std_ms: Annotated[float, _about("Standard deviation.")]
    p50_ms: Annotated[float, _about("Median.")]
    p90_ms: Annotated[float, _about("90 % are no larger.")]
    p95_ms: Annotated[float, _about("95 % are no larger.")]
    p99_ms: Annotated[float, _about("99 % are no larger.")]
    max_ms: Annotated[float, _about("Largest.")]


class Samples(_Part, frozen=True, kw_only=True):
    """Every sample, in order."""

    at_s: Annotated[list[float], _about("When each was taken, from the first one on.")]
    stages_ms: Annotated[
        dict[str, list[float | None]],
        _about("By stage, one value a sample; null: the stage was not run (a gate let it pass)."),
    ]
    yardstick_ms: Annotated[
        list[float],
        _about("The same small work after every frame: how fast the machine itself was just then."),
    ]


class Warm(_Part, frozen=True, kw_only=True):
    """The daemon's path when all is loaded."""

    elapsed_s: Annotated[float, _about("Seconds measured.")]
    frames_per_s: Annotated[float, _about("Pictures answered a second.")]
    dropped_count: Annotated[int, _about("Frames of a camera that came too soon.")]
    fault_count: Annotated[int, _about("Frames that could not be judged.")]
    sustained_ratio: Annotated[
        float | None,
        _about(
            "Median query of the last 30 s over that of the first 30 s; null: under a minute. "
            "Above 1: the board slows down as it gets warm."
        ),
    ]
    stages: Annotated[
        dict[str, Summary],
        _about(
            "capture: waiting for the camera; decode: to pixels; wait: for its turn; fit: to the "
            "network's size; gate: has it changed; hash: the network; pack: bits to words; lookup: "
            "the gallery; decide: the vote; publish: to the sinks; query: fit to decide; "
            "end_to_end: from capture (when paced: from when it was due) to published."
        ),
    ]
    samples: Annotated[Samples, _about("The raw figures.")]


class Usage(_Part, frozen=True, kw_only=True):
    """Memory of a process at one moment (Linux: /proc/PID/smaps_rollup)."""

    rss_bytes: Annotated[int, _about("Resident: what is in main memory.")]
    pss_bytes: Annotated[int, _about("Proportional: pages shared by n processes count 1/n.")]
    uss_bytes: Annotated[int, _about("Unique: what ending the process would free.")]
    private_dirty_bytes: Annotated[int, _about("Written, by it alone: needs memory or swap.")]


class MemoryParts(_Part, frozen=True, kw_only=True):
    """Where the resident memory of a running process goes; the parts make up the whole."""

    interpreter_bytes: Annotated[int, _about("Python and the modules it has loaded.")]
    libraries_bytes: Annotated[int, _about("Shared libraries, the compiled network apart.")]
    model_bytes: Annotated[int, _about("The network: its library or what loading it added.")]
    gallery_bytes: Annotated[int, _about("Codes, labels, and the database's cache.")]
    working_set_bytes: Annotated[int, _about("What answering has added: pictures and buffers.")]


class Memory(_Part, frozen=True, kw_only=True):
    """Main memory; phases are medians over the fresh processes of the cold start."""

    start: Annotated[Usage, _about("Python alone.")]
    imports: Annotated[Usage, _about("With the packages loaded.")]
    engine: Annotated[Usage, _about("With the network loaded.")]
    gallery: Annotated[Usage, _about("With the gallery open.")]
    run: Annotated[Usage, _about("After some answers.")]
    parts: Annotated[MemoryParts, _about("The last one, attributed.")]
    peak_rss_bytes: Annotated[int, _about("The most that a fresh process ever took.")]
    growth_bytes: Annotated[
        int | None,
        _about(
            "Resident memory of the measuring process, last tenth of the run over its second tenth "
            "(medians); null: too short to say."
        ),
    ]


class Moment(_Part, frozen=True, kw_only=True):
    """The board at one moment."""

    at_s: Annotated[float, _about("From the first sample on; negative: before it.")]
    temperature_c: Annotated[float | None, _about("The hottest sensor.")]
    clock_mhz: Annotated[float | None, _about("The fastest core's clock.")]
    throttling: Annotated[
        list[str] | None, _about("What the firmware reports (Raspberry Pi); empty: nothing.")
    ]
    rss_bytes: Annotated[int, _about("Resident memory of the measuring process.")]


class Conditions(_Part, frozen=True, kw_only=True):
    """What surrounded the run."""

    moments: Annotated[list[Moment], _about("Before, during and after, in order.")]
    others_cores_ratio: Annotated[
        float | None, _about("Cores that other programs kept busy, on average.")
    ]
    stolen_share: Annotated[
        float | None, _about("Of the time that a virtual machine's host gave to others.")
    ]
    waiting_share: Annotated[
        float | None,
        _about("Of the time in which the path could have run but another had its core."),
    ]
    swapped_bytes: Annotated[int | None, _about("Moved to and from swap by the whole machine.")]


class Operator(_Part, frozen=True, kw_only=True):
    """One step of the network."""

    name: Annotated[str, _about("Its name in the network.")]
    kind: Annotated[str, _about("What it is.")]
    p50_ms: Annotated[float, _about("Median time of a call.")]
    time_share: Annotated[float, _about("Of the time of all of them.")]
    macs: Annotated[int | None, _about("Multiply-adds of a call, by the textbook.")]
    peak_share: Annotated[
        float | None,
        _about("Of the multiply-adds that the threads' cores could have done meanwhile."),
    ]


class Operators(_Part, frozen=True, kw_only=True):
    """An engine, step by step."""

    engine: Annotated[str, _about("Which.")]
    call_count: Annotated[int, _about("Calls measured.")]
    total_ms: Annotated[float, _about("Sum of the medians.")]
    equal_share: Annotated[
        float | None,
        _about("Bits of a code that equal the measured engine's; null: this is that engine."),
    ]
    peak_macs_per_s: Annotated[
        float | None,
        _about("Float32 multiply-adds a second that one core can do in registers, measured."),
    ]
    operators: Annotated[list[Operator], _about("In the order that they run in.")]


class Overhead(_Part, frozen=True, kw_only=True):
    """What measuring itself cost."""

    frame_us: Annotated[
        float, _about("Spent per frame on keeping it and on the yardstick: median.")
    ]
    watch_share: Annotated[float, _about("Of the time, spent on watching the board.")]
    p50_share: Annotated[float, _about("Both, per median frame: how much slower it looks.")]
    p50_ratio: Annotated[
        float | None, _about("Medians with and without, in turns: the same asked of the clock.")
    ]
    low_ratio: Annotated[float | None, _about("Its 95 % interval begins here ...")]
    high_ratio: Annotated[float | None, _about("... and ends here.")]


class Brand(_Part, frozen=True, kw_only=True):
    """Why these figures are no measurement."""

    name: Annotated[str, _about("emulated, throttled, swapped, shared or incomplete.")]
    detail: Annotated[str, _about("What was seen.")]


class Verdict(_Part, frozen=True, kw_only=True):
    """One figure against its budget; both in the unit that the name ends with."""

    name: Annotated[str, _about("The budget's name.")]
    value: Annotated[float | None, _about("Measured; null: not measured.")]
    budget: Annotated[float, _about("At most this.")]
    source: Annotated[str, _about("Whose budget.")]
    met: Annotated[bool | None, _about("null: not measured.")]

    def word(self, measurement: bool) -> str:
        """The verdict for people; figures that are no `measurement` cannot meet a budget."""
        if self.met is None:
            return "not measured"
        if not self.met:
            return "missed"
        return "met" if measurement else "met, but by no measurement"


class Report(_Part, frozen=True, kw_only=True):
    """How fast it is here, where time and memory go, and whether that is within the budget."""

    schema_version: Annotated[int, _about("Of this description.")]
    made_at: Annotated[str, _about("When it began, ISO 8601.")]
    ended: Annotated[str, _about('"finished", or what cut it short.')]
    measurement: Annotated[bool, _about("Whole and unbranded: it may be quoted.")]
    met: Annotated[bool, _about("A measurement, with every budget met.")]
    brands: Annotated[list[Brand], _about("Why it is no measurement; empty: it is one.")]
    budget: Annotated[list[Verdict], _about("Every figure that has a budget.")]
    program: Annotated[Program, _about("What measured.")]
    device: Annotated[DeviceInfo, _about("The machine.")]
    engine: Annotated[EngineInfo, _about("What ran the network.")]
    model: Annotated[ModelFacts, _about("The hash network.")]
    gallery: Annotated[GalleryFacts, _about("What was looked up in.")]
    input: Annotated[InputFacts, _about("What was looked at.")]
    protocol: Annotated[ProtocolFacts, _about("How it was measured.")]
    cold: Annotated[ColdStart | None, _about("Cold start, medians; null: cut short before.")]
    cold_starts: Annotated[list[ColdStart], _about("Every one of them.")]
    warm: Annotated[Warm | None, _about("The path when all is loaded.")]
    memory: Annotated[Memory | None, _about("Main memory.")]
    conditions: Annotated[Conditions | None, _about("What surrounded the run.")]
    operators: Annotated[list[Operators], _about("The network step by step, by engine.")]
    overhead: Annotated[Overhead | None, _about("What measuring itself cost.")]
