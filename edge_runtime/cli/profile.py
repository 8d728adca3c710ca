"""`edge-runtime profile`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_runtime.cli.common import (
    camera_password,
    console,
    engine_options,
    gallery_option,
    json_option,
    password_file_option,
    progress_bar,
    terminable,
)
from edge_runtime.errors import EXIT_CHECK_FAILED, InputError, ReportError

if TYPE_CHECKING:
    from edge_runtime.camera.base import Source
    from edge_runtime.engine import Engine
    from edge_runtime.profiler.run import Protocol

PROC = Path("/proc/self/smaps")


@click.command("profile")
@gallery_option
@engine_options
@click.option("--camera", help="Measure with this camera or video file, as in edge-runtime run.")
@password_file_option
@click.option(
    "--rate",
    type=click.FloatRange(0.01, 1000),
    help="Images per second, each measured from its due time.  [default: one by one]",
)
@click.option("--gate", is_flag=True, help="Do not hash unchanged images.")
@click.option(
    "--quick", is_flag=True, help="Measure 256 samples and 10 s instead of 1,024 and 60 s."
)
@click.option("--samples", type=click.IntRange(1, 10**6), help="Minimum number of samples.")
@click.option(
    "--seconds", type=click.FloatRange(0, 86_400), help="Minimum duration. Both minimums apply."
)
@click.option(
    "--cold-starts",
    type=click.IntRange(1, 100),
    help="Number of cold starts.  [default: 5; quick: 3]",
)
@click.option(
    "--budgets",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A TOML file with a table [budgets].  [default: the bundle's]",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the report to this file. It is updated during the run.",
)
@json_option
@click.argument("photos", nargs=-1, type=click.Path(path_type=Path), metavar="[PHOTO|FOLDER...]")
def command(
    gallery: Path,
    model: Path | None,
    threads: int,
    camera: str | None,
    password_file: str | None,
    rate: float | None,
    gate: bool,
    quick: bool,
    samples: int | None,
    seconds: float | None,
    cold_starts: int | None,
    budgets: Path | None,
    out: Path | None,
    as_json: bool,
    photos: tuple[Path, ...],
) -> int:
    """Measure every stage of the pipeline, cold start and memory, and check the budgets.

    Without photos and camera, the enrolled photos that still exist are used. The exit code is 9 if
    the run is over budget, or if it is not a valid measurement (emulated, throttled, swapped,
    disturbed by other programs).
    """
    from edge_runtime.engine import open_engine
    from edge_runtime.profiler.run import Profile
    from edge_runtime.report.budget import read_budgets
    from edge_runtime.report.file import check_writable, to_json, write_report

    _needs_proc()
    from_file = read_budgets(budgets) if budgets else None
    password = camera_password(camera, password_file)
    source, kind, count = _source(camera, password, photos, gallery, rate)
    engine = open_engine(model, threads=threads)
    limits, origin = (
        (from_file, str(budgets.name)) if from_file and budgets else _bundle_budgets(engine)
    )
    if out:
        check_writable(out)
    with progress_bar("profiling", 1.0) as advance, terminable():
        done = [0.0]

        def progress(share: float) -> None:
            advance(share - done[0])
            done[0] = share

        profile = Profile(
            engine,
            source,
            _protocol(quick, samples, seconds, cold_starts, rate, gate),
            gallery if gallery.exists() else None,
            kind=kind,
            photos=count,
            budgets=limits,
            budget_source=origin,
            progress=progress,
            save=(lambda report: write_report(out, report)) if out else None,
        )
        report = profile.run()
    try:
        if out:
            write_report(out, report)
    finally:  # print the results even if the disk is full
        if as_json:
            sys.stdout.write(to_json(report).decode())
        elif report.warm is not None:
            from edge_runtime.report.text import show

            show(report, console())
    if profile.cause is not None:
        raise profile.cause
    return 0 if report.met else EXIT_CHECK_FAILED


def _needs_proc() -> None:
    if not PROC.exists():
        raise ReportError(
            "this system has no /proc, from which memory and CPU use are read",
            where=sys.platform,
            remedy="measure on the board (make device-test TARGET=rpi4 HOST=pi@board), or on Linux",
        )


def _protocol(
    quick: bool,
    samples: int | None,
    seconds: float | None,
    cold_starts: int | None,
    rate: float | None,
    gate: bool,
) -> Protocol:
    from edge_runtime.profiler.run import QUICK, Protocol

    base = QUICK if quick else Protocol()
    fewer = samples is not None and samples < base.samples
    fewer |= cold_starts is not None and cold_starts < base.cold_starts
    shorter = seconds is not None and seconds < base.seconds
    return replace(
        base,
        quick=quick or fewer or shorter,
        cold_starts=cold_starts or base.cold_starts,
        samples=base.samples if samples is None else samples,
        seconds=base.seconds if seconds is None else seconds,
        warmup=base.warmup if samples is None else min(base.warmup, samples),
        per_s=rate,
        gate=gate,
    )


def _source(
    camera: str | None,
    password: str,
    photos: Sequence[Path],
    gallery: Path,
    rate: float | None,
) -> tuple[Source, str, int | None]:
    """Return the source of images, its kind, and the number of photos."""
    from edge_runtime.camera import CameraOptions, parse_source
    from edge_runtime.camera.folder import FolderSource
    from edge_runtime.image.decode import find_photos

    options = CameraOptions(loop=True, password=password)
    if camera is not None and photos:
        raise InputError(
            "cannot be combined with photos", where="--camera", remedy="give one of them"
        )
    if camera is not None:
        source = parse_source(camera, options)
        if source.live and rate is not None:
            raise InputError(
                "a camera sets its own rate",
                where="--rate",
                remedy="leave it out, or give photos or a video file",
            )
        kind = "camera" if source.live else "clip"
        return source, kind, None
    files = [
        photo for path in photos for photo in (find_photos(path) if path.is_dir() else [path])
    ] or _enrolled_photos(gallery)
    if not files:
        raise ReportError(
            "no photos to measure with", remedy="give some: edge-runtime profile PHOTO..."
        )
    for file in files:
        if not file.is_file():
            raise InputError("no such photo", where=file, remedy="check the path")
    return FolderSource(files, options), "photos", len(files)


def _enrolled_photos(path: Path, limit: int = 50) -> list[Path]:
    from edge_runtime.gallery import Gallery

    if not path.exists():
        return []
    with Gallery(path, read_only=True) as gallery:
        sources = gallery.sources(range(1, limit + 1))
    return [Path(source) for source in sources.values() if Path(source).is_file()]


def _bundle_budgets(engine: Engine) -> tuple[dict[str, float], str]:
    """Return the budgets in the bundle of the engine's network, and their origin.

    There are none without a bundle, or if the bundle cannot be read, which the engine has already
    reported.
    """
    from edge_runtime.bundle import bundle_budgets, is_bundle
    from edge_runtime.report.budget import checked
    from edge_runtime.trust.manifest import MANIFEST

    path = Path(engine.model.path)
    folder = (
        path if path.is_dir() else path.parent
    )  # the portable engine runs the ONNX file in the bundle
    if not is_bundle(folder):
        return {}, ""
    target, budgets = bundle_budgets(folder)
    return checked(budgets, folder / MANIFEST), f"the bundle for {target}"
