"""The tables of a report that describe the run: what ran, on what, with what input."""

from __future__ import annotations

from typing import Annotated

from edge_runtime.report.table import Table, about


class Program(Table, frozen=True, kw_only=True):
    """The program that measured."""

    name: Annotated[str, about("Name of the program that wrote the report.")]
    release: Annotated[str, about("Version.")]
    commit: Annotated[str | None, about("Commit of its source; null: not run from a checkout.")]
    modified: Annotated[bool | None, about("Whether that source had uncommitted changes.")]
    arguments: Annotated[list[str], about("The command line.")]


class DeviceInfo(Table, frozen=True, kw_only=True):
    """The machine."""

    model: Annotated[str | None, about("Model name from the firmware.")]
    soc: Annotated[str | None, about("Name of the chip in the device tree.")]
    machine: Annotated[str, about("Architecture: x86_64, aarch64.")]
    cpu: Annotated[str | None, about("Name of the processor.")]
    features: Annotated[list[str], about("Processor features that speed up a network.")]
    core_count: Annotated[int, about("Number of cores that this process may use.")]
    memory_bytes: Annotated[int, about("Size of main memory.")]
    system: Annotated[str, about("Operating system and kernel.")]
    python: Annotated[str, about("Version of Python.")]
    packages: Annotated[dict[str, str], about("Version of each package that the pipeline uses.")]
    governor: Annotated[str | None, about("CPU frequency governor. The profiler never changes it.")]
    clock_limit_mhz: Annotated[
        float | None, about("Highest clock frequency that the governor may choose.")
    ]
    emulated: Annotated[
        bool, about("The program runs in an emulator, so its times are meaningless.")
    ]


class EngineInfo(Table, frozen=True, kw_only=True):
    """The engine that ran the network."""

    name: Annotated[str, about("compiled or portable.")]
    reason: Annotated[str, about("Why this engine was chosen.")]
    thread_count: Annotated[int, about("CPU threads for the network.")]
    target: Annotated[str | None, about("Device that the bundle was compiled for.")]
    precision: Annotated[str | None, about("Arithmetic of the compiled network.")]


class ModelDetails(Table, frozen=True, kw_only=True):
    """The hash network."""

    id: Annotated[str, about("SHA-256 of the ONNX file.")]
    name: Annotated[str, about("Name of the model.")]
    release: Annotated[str, about("Version.")]
    code_bits: Annotated[int, about("Length of a code.")]
    input_pixels: Annotated[int, about("Side of the square input image.")]
    file_bytes: Annotated[int, about("Size of the file that the engine runs.")]


class GalleryDetails(Table, frozen=True, kw_only=True):
    """The gallery that was searched."""

    item_count: Annotated[int, about("Number of enrolled codes.")]
    label_count: Annotated[int, about("Number of labels.")]


class InputDetails(Table, frozen=True, kw_only=True):
    """The images that were queried."""

    kind: Annotated[str, about("photos, clip or camera.")]
    name: Annotated[str, about("Name of the folder, file or camera.")]
    photo_count: Annotated[
        int | None, about("Number of photos, queried in rotation; null: no photos.")
    ]
    width_pixels: Annotated[int | None, about("Width of the first image.")]
    height_pixels: Annotated[int | None, about("Height of the first image.")]


class ProtocolDetails(Table, frozen=True, kw_only=True):
    """The measurement settings."""

    quick: Annotated[bool, about("Few samples: for orientation only, not for publication.")]
    cold_start_count: Annotated[int, about("Number of new processes that measured the cold start.")]
    warmup_count: Annotated[int, about("Number of frames before the first sample.")]
    least_sample_count: Annotated[int, about("Minimum number of samples.")]
    least_s: Annotated[float, about("Minimum duration. Both minimums apply.")]
    pace: Annotated[
        str,
        about(
            "one by one: the next image is loaded after the last result; paced: each image is due "
            "at a fixed time, and waiting counts (no coordinated omission); camera: as delivered."
        ),
    ]
    pace_per_s: Annotated[float | None, about("Images per second if paced.")]
    gate: Annotated[bool, about("Whether the change gate skipped the hashing of unchanged images.")]
    clock: Annotated[str, about("Clock that the times were read from.")]
